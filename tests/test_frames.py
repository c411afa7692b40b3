import pytest

from dfercli.data.frames import list_frames
from dfercli.errors import DataError


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def test_unpadded_frame_names_are_in_natural_order(tmp_path):
    touch(tmp_path / "00001", *(f"{number}.jpg" for number in range(12)))
    names = [path.name for path in list_frames(tmp_path / "00001")]
    assert names == [f"{number}.jpg" for number in range(12)]


def test_prefixed_frame_names_are_in_natural_order(tmp_path):
    touch(tmp_path / "c", "frame_10.png", "frame_9.png", "frame_9b.png")
    names = [path.name for path in list_frames(tmp_path / "c")]
    assert names == ["frame_9.png", "frame_9b.png", "frame_10.png"]


def test_other_files_and_hidden_ones_are_skipped(tmp_path):
    touch(tmp_path / "c", "1.JPG", "2.bmp", "notes.txt", ".3.jpg", "Thumbs.db")
    assert [path.name for path in list_frames(tmp_path / "c")] == ["1.JPG", "2.bmp"]


def test_a_missing_folder_names_the_clip(tmp_path):
    with pytest.raises(DataError, match="clip 00007: no folder of frames"):
        list_frames(tmp_path / "00007")


def test_an_empty_folder_names_the_clip(tmp_path):
    touch(tmp_path / "00008", "notes.txt")
    with pytest.raises(DataError, match="clip 00008: no frame in"):
        list_frames(tmp_path / "00008")
