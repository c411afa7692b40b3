"""Starting in the middle of a file decodes fewer frames, and the same ones."""

import av
import pytest
from drawn_videos import moving_bar

from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.video import decode, seek
from dfercli.video.decode import VideoReader
from dfercli.video.frames import Selection
from dfercli.video.write import write_video

COUNT = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """2.4 seconds with a key frame every 0.4."""
    path = tmp_path_factory.mktemp("seek") / "bar.mp4"
    write_video(path, moving_bar(COUNT, step=1), 25, gop_seconds=0.4)
    return path


@pytest.fixture(autouse=True)
def short_files_count(monkeypatch):
    monkeypatch.setattr(decode, "open_decord", lambda path: None)
    monkeypatch.setattr(seek, "WORTH_SECONDS", 0.5)


def remuxed(source, target, shift_seconds=0.0):
    with av.open(str(source)) as opened, av.open(str(target), "w") as container:
        stream = opened.streams.video[0]
        copy = container.add_stream_from_template(stream)
        for packet in opened.demux(stream):
            if packet.dts is not None:
                packet.pts += round(shift_seconds / packet.time_base)
                packet.dts += round(shift_seconds / packet.time_base)
                packet.stream = copy
                container.mux(packet)
    return target


def from_second(path, start, monkeypatch, *, seeks=True):
    """The frames from `start` on, and the number of decoded frames."""
    with monkeypatch.context() as patch:
        if not seeks:
            patch.setattr(decode, "find_landing", lambda *arguments: None)
        decoded = []
        patch.setattr(decode.Clock, "next", _counting(decode.Clock.next, decoded))
        reader = VideoReader(path, Selection(start_seconds=start))
        frames = list(reader)
    return frames, len(decoded), reader


def _counting(method, calls):
    def count(self, seconds):
        calls.append(seconds)
        return method(self, seconds)

    return count


def same(frames, others):
    return len(frames) == len(others) and all(
        one.index == other.index
        and one.pts_seconds == pytest.approx(other.pts_seconds, abs=1e-6)
        and (one.image == other.image).all()
        for one, other in zip(frames, others, strict=True)
    )


@pytest.mark.parametrize("name", ["bar.mp4", "bar.mkv", "late.mkv"])
def test_frames_after_a_seek_have_their_numbers_times_and_pictures(
    video, tmp_path, name, monkeypatch
):
    path = tmp_path / name
    remuxed(video, path, shift_seconds=10.0 if name == "late.mkv" else 0.0)
    frames, decoded, reader = from_second(path, 1.5, monkeypatch)
    whole, all_decoded, _ = from_second(path, 1.5, monkeypatch, seeks=False)
    assert frames[0].index == 38
    assert same(frames, whole)
    assert decoded <= 40
    assert all_decoded == COUNT
    assert (reader.fps, reader.warnings) == (25.0, [])


def test_decoding_begins_at_the_start_where_frame_numbers_are_unsure(video, tmp_path, monkeypatch):
    stream = remuxed(video, tmp_path / "bar.ts")
    one_group = tmp_path / "one_group.mp4"
    write_video(one_group, moving_bar(COUNT, step=1), 25, gop_seconds=10)
    for path in (stream, one_group):
        frames, decoded, _ = from_second(path, 1.5, monkeypatch)
        assert (frames[0].index, decoded) == (38, COUNT)


def test_packets_that_announce_other_frames_are_not_trusted(video, monkeypatch):
    real = seek.decode_from

    def every_second(container, stream, landing):
        return (f for n, f in enumerate(real(container, stream, landing)) if n % 2 == 0)

    monkeypatch.setattr(seek, "decode_from", every_second)
    assert seek.find_landing(video, 0, 1.5, lambda: None, MAX_PIXELS) is None


def test_a_matroska_file_that_begins_late_is_not_cut_short(video, tmp_path):
    reader = VideoReader(remuxed(video, tmp_path / "late.mkv", shift_seconds=10.0))
    assert [frame.index for frame in reader] == list(range(COUNT))
    assert reader.warnings == []
