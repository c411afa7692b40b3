"""The contact sheet and the annotated video of each source."""

from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from drawn_videos import write_drawn_video

from dfercli.artifacts.face_store import read_failures
from dfercli.config import PreprocessConfig
from dfercli.preprocessing import preview
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
from dfercli.video.annotated import write_annotated
from dfercli.video.decode import VideoReader

FAST = PreprocessConfig(detector="haar", min_face=80, workers=0, preview=True)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_drawn_video(tmp_path_factory.mktemp("drawn") / "face.mp4", seconds=1.0)


def preprocess(source, out, **changes):
    return run(replace(FAST, sources=(str(source),), out=out, **changes), LogProgress())


def times_in(store):
    (path,) = (store / "preview").glob("*.mp4")
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_an_annotated_video_has_the_times_of_a_source_of_variable_rate(video, tmp_path):
    frames = list(VideoReader(video))
    times = np.cumsum([0.0] + [0.04, 0.3] * 6)[: len(frames)]
    source = tmp_path / "vfr.mp4"
    timed = [replace(f, pts_seconds=float(t)) for f, t in zip(frames, times, strict=True)]
    write_annotated(source, timed, sound_of=None)
    preprocess(source, tmp_path / "faces")
    assert times_in(tmp_path / "faces") == pytest.approx(times, abs=1e-3)


def test_a_folder_of_pictures_of_several_sizes_has_a_preview_in_the_first_size(video, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for frame in VideoReader(video):
        height = 240 if frame.index < 6 else 320
        image = cv2.resize(frame.image[..., ::-1], (240, height))
        cv2.imwrite(str(folder / f"{frame.index:03d}.png"), image)
    result = preprocess(folder, tmp_path / "faces", fps=None)
    assert result.num_frames == 12
    assert len(times_in(tmp_path / "faces")) == 12
    assert len(list((tmp_path / "faces" / "preview").glob("*.jpg"))) == 1


def test_a_sheet_of_many_tracks_ends_and_says_how_many_more(video, tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "MOST_ROWS", 2)
    original = preview.write_preview

    def with_many_tracks(item, config, report):
        original(replace(item, clips=item.clips * 5), config, report)

    monkeypatch.setattr(preview, "write_preview", with_many_tracks)
    preprocess(video, tmp_path / "faces")
    (sheet,) = (tmp_path / "faces" / "preview").glob("*.jpg")
    height = cv2.imread(str(sheet)).shape[0]
    assert height == 2 * (preview.CELL_PX + preview.LABEL_PX) + preview.LABEL_PX


def test_a_preview_that_cannot_be_drawn_is_its_sources_failure(video, tmp_path, monkeypatch):
    def draw(item, config, report):
        raise preview.DataError("the source is gone")

    monkeypatch.setattr(preview, "write_preview", draw)
    result = run(replace(FAST, sources=(str(video),), out=tmp_path / "faces"), LogProgress())
    assert len(result.clips) == 1
    (failure,) = result.failures
    assert (failure.stage, failure.reason) == ("preview", "the source is gone")
    assert read_failures(tmp_path / "faces") == [failure]
