"""Files that dfer wrote are no sources: a second run does not take the first one's copies."""

import pytest
from drawn_videos import moving_bar

from dfercli.errors import DataError
from dfercli.video.annotated import write_annotated
from dfercli.video.frames import Frame
from dfercli.video.sources import find_sources
from dfercli.video.write import write_video


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A video with two marked copies beside it."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "recorded.mp4", moving_bar(), 12)
    (folder / "ann").mkdir()
    for name in ("a.mp4", "b.mp4"):
        frames = (Frame(index, index / 12, image) for index, image in enumerate(moving_bar(5)))
        write_annotated(folder / "ann" / name, frames, sound_of=None)
    return folder


def test_own_copies_in_a_folder_are_left_out_with_one_line(copies):
    notes = []
    (source,) = find_sources((str(copies),), notes.append)
    assert source.path.name == "recorded.mp4"
    (note,) = notes
    assert note.startswith("left out 2 of 3 files: dfer wrote them")


def test_an_own_copy_alone_is_taken_and_several_are_refused(copies):
    (source,) = find_sources((str(copies / "ann" / "a.mp4"),))
    assert source.path.name == "a.mp4"
    with pytest.raises(DataError, match="all 2 videos were written by dfer itself"):
        find_sources((str(copies / "ann"),))
