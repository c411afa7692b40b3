from pathlib import Path

import av
import numpy as np
import pytest

from dfercli.errors import ArtifactError, DataError
from dfercli.video.write import write_video


def grey_ramp(count, height=48, width=64):
    return (np.full((height, width, 3), 8 * number, np.uint8) for number in range(count))


def test_written_video_has_the_frames_the_rate_and_the_values(tmp_path):
    path = tmp_path / "ramp.mp4"
    assert write_video(path, grey_ramp(12), 30000 / 1001) == 12
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == pytest.approx(29.97, abs=0.01)
    assert [abs(int(frame.mean()) - 8 * number) <= 3 for number, frame in enumerate(frames)] == [
        True
    ] * 12
    assert [entry.name for entry in tmp_path.iterdir()] == ["ramp.mp4"]


def test_the_same_frames_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 255, (12, 12, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
    frames = [np.roll(blocks, 3 * number, axis=1) for number in range(20)]
    written = set()
    for _ in range(10):  # one in two to twelve differed with x264's own settings
        write_video(tmp_path / "a.mp4", frames, 10)
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1


def test_odd_sides_are_padded_not_refused(tmp_path):
    write_video(tmp_path / "odd.mp4", grey_ramp(3, height=47, width=63), 10)
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (64, 48)


def test_no_frames_and_mixed_sizes_leave_no_file(tmp_path):
    with pytest.raises(DataError, match="no frame"):
        write_video(tmp_path / "none.mp4", iter(()), 25)
    mixed = [np.zeros((16, 16, 3), np.uint8), np.zeros((18, 16, 3), np.uint8)]
    with pytest.raises(DataError, match="frame 1 is"):
        write_video(tmp_path / "mixed.mp4", mixed, 25)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_an_artifact_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(ArtifactError, match="cannot write"):
        write_video(Path(blocked / "x.mp4"), grey_ramp(1), 25)
