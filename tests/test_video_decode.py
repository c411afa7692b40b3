"""Decoding: both decoders give the same frames and times, and damage leaves the rest."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from drawn_videos import moving_bar

from dfercli.errors import DataError
from dfercli.video import decode
from dfercli.video.cuts import CutFinder
from dfercli.video.decode import VideoReader
from dfercli.video.frames import Clock, Selection
from dfercli.video.images import ImageReader, are_numbered_frames, natural_key
from dfercli.video.prefetch import prefetched
from dfercli.video.write import write_video

COUNT = 40


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "bar.mp4"
    write_video(path, moving_bar(), 25, gop_seconds=0.4)
    return path


def read(path, **selection):
    reader = VideoReader(path, Selection(**selection))
    frames = list(reader)
    return reader, frames


def remuxed(video, target):
    with av.open(str(video)) as source, av.open(str(target), "w") as container:
        stream = source.streams.video[0]
        copy = container.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
    return target


@pytest.fixture
def without_decord(monkeypatch):
    monkeypatch.setattr(decode, "open_decord", lambda path: None)


def test_frames_have_indices_times_and_pictures(video):
    reader, frames = read(video)
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [frame.pts_seconds for frame in frames] == pytest.approx(np.arange(COUNT) / 25, abs=1e-4)
    assert reader.fps == 25.0
    assert reader.warnings == []
    for frame, drawn in zip(frames, moving_bar(), strict=True):
        assert np.abs(frame.image.astype(int) - drawn).mean() < 4


@pytest.mark.parametrize(
    "selection",
    [{}, {"every": 3}, {"fps": 10}, {"start_seconds": 0.5, "end_seconds": 1.0}, {"fps": 12.5}],
)
def test_both_decoders_select_the_same_frames(video, selection, request):
    _, with_decord = read(video, **selection)
    request.getfixturevalue("without_decord")
    _, with_av = read(video, **selection)
    assert [frame.index for frame in with_av] == [frame.index for frame in with_decord]
    for one, other in zip(with_av, with_decord, strict=True):
        assert one.pts_seconds == pytest.approx(other.pts_seconds, abs=1e-4)
        assert np.abs(one.image.astype(int) - other.image).mean() < 1


def test_a_video_of_ten_bits_has_the_same_pictures_with_and_without_decord(tmp_path, request):
    path = tmp_path / "ten.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p10le"
        for image in moving_bar(5, 120, 160):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    _, with_decord = read(path)
    request.getfixturevalue("without_decord")
    _, with_av = read(path)
    assert len(with_av) == 5
    for one, other in zip(with_av, with_decord, strict=True):
        assert (one.image == other.image).all()


@pytest.mark.parametrize(
    ("selection", "between"),
    [
        ({"fps": 2.5}, {3, 6, 9, 13, 16, 19}),
        ({"every": 10}, {3, 6, 9, 13, 16, 19}),
        ({"every": 3}, set()),
    ],
)
def test_frames_between_the_kept_ones_are_yielded_as_unwanted(video, selection, between, request):
    _, with_decord = read(video, **selection, between_seconds=0.12)
    request.getfixturevalue("without_decord")
    _, with_av = read(video, **selection, between_seconds=0.12)
    for frames in (with_decord, with_av):
        assert {frame.index for frame in frames if not frame.wanted and frame.index < 20} == between
        wanted = [frame.index for frame in frames if frame.wanted]
        assert wanted == [frame.index for frame in read(video, **selection)[1]]


def test_a_transport_stream_begins_with_its_first_frame(video, tmp_path):
    _, frames = read(remuxed(video, tmp_path / "bar.ts"))
    assert len(frames) == COUNT
    first = next(iter(moving_bar()))
    assert np.abs(frames[0].image.astype(int) - first).mean() < 4


def test_a_stream_that_starts_again_goes_on_in_time(video, tmp_path):
    stream = remuxed(video, tmp_path / "bar.ts").read_bytes()
    (tmp_path / "twice.ts").write_bytes(stream * 2)
    reader, frames = read(tmp_path / "twice.ts")
    assert len(frames) == 2 * COUNT
    assert (np.diff([frame.pts_seconds for frame in frames]) > 0).all()
    assert reader.warnings == ["1 timestamps were missing or went backwards"]


def test_damage_leaves_the_frames_before_it_and_a_warning(video, tmp_path):
    content = bytearray(video.read_bytes())
    with av.open(str(video)) as container:
        packets = [packet.pos for packet in container.demux(video=0) if packet.pos]
    # Lengths of the units inside the packets become nonsense from the 26th on.
    for position in packets[25:]:
        content[position : position + 8] = b"\xff" * 8
    (tmp_path / "damaged.mp4").write_bytes(content)
    reader, frames = read(tmp_path / "damaged.mp4")
    assert 15 <= len(frames) <= 26
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert "damaged after frame" in reader.warnings[0]
    _, every_second = read(tmp_path / "damaged.mp4", every=2)
    assert [frame.index for frame in every_second] == list(range(0, len(frames), 2))


def test_a_narrow_video_has_three_channels(tmp_path):
    write_video(tmp_path / "narrow.mp4", moving_bar(4, 16, 16), 25)
    _, frames = read(tmp_path / "narrow.mp4")
    assert [frame.image.shape for frame in frames] == [(16, 16, 3)] * 4


def test_an_animated_gif_is_a_video(tmp_path):
    with av.open(str(tmp_path / "bar.gif"), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "rgb8"
        for image in moving_bar(6):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="rgb8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    reader, frames = read(tmp_path / "bar.gif")
    assert len(frames) == 6
    assert reader.fps == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"some text\n" * 50, "not a readable video")],
)
def test_a_file_that_is_no_video_says_so(tmp_path, content, reason):
    (tmp_path / "file.mp4").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        VideoReader(tmp_path / "file.mp4")
    with pytest.raises(DataError, match="No such file"):
        VideoReader(tmp_path / "missing.mp4")


def test_sound_alone_has_no_video_stream(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="no video stream"):
        VideoReader(tmp_path / "sound.mp4")


def test_the_clock_only_goes_forwards():
    clock = Clock(10)
    times = [clock.next(time) for time in (0.0, 0.1, None, 0.15, 0.3, 0.0, 0.1)]
    assert (np.diff(times) > 0).all()
    assert times[:3] == pytest.approx([0.0, 0.1, 0.2])
    assert clock.repaired == 4


def test_numbered_frames_are_recognised_and_sorted():
    assert are_numbered_frames(["f1.jpg", "f2.jpg", "f10.jpg"])
    assert not are_numbered_frames(["1face.png", "3faces.png"])
    assert not are_numbered_frames(["f1.jpg"])
    assert sorted(["f10", "f2", "f1"], key=natural_key) == ["f1", "f2", "f10"]


def test_a_broken_picture_among_frames_is_a_warning(tmp_path):
    import cv2

    for number, image in enumerate(moving_bar(4)):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), image)
    (tmp_path / "2.jpg").write_bytes(b"\xff\xd8 broken")
    reader = ImageReader(tmp_path, fps=10.0)
    assert [(frame.index, frame.pts_seconds) for frame in reader] == [(0, 0.0), (1, 0.1), (3, 0.3)]
    assert "2.jpg: not a readable image" in reader.warnings[0]


def test_a_cut_is_found_and_motion_is_not_a_cut():
    finder = CutFinder()
    scene = list(moving_bar(10))
    other = [255 - image for image in moving_bar(10)]
    cuts = [finder.is_cut(image) for image in [*scene, *other, *scene]]
    assert [number for number, cut in enumerate(cuts) if cut] == [10, 20]


def test_prefetching_keeps_order_and_passes_errors_on():
    def items():
        yield from range(20)
        raise ValueError("broken")

    ahead = prefetched(items(), depth=3)
    assert [next(ahead) for _ in range(20)] == list(range(20))
    with pytest.raises(ValueError, match="broken"):
        next(ahead)


def test_pictures_can_be_written_after_the_decoders_were_loaded():
    program = (
        "import dfercli.video.decode, cv2, numpy as np;"
        "ok, png = cv2.imencode('.png', np.zeros((8, 8, 3), np.uint8));"
        "assert ok and cv2.imdecode(png, 1) is not None"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("av1.mkv", 125, (360, 640, 3)),
        ("face_rotated_by_metadata.mp4", 96, (360, 640, 3)),
        ("rotation_90.mov", 3, (568, 320, 3)),
        ("no_face.mp4", 95, (540, 960, 3)),
        ("corrupted.mp4", 28, (720, 1280, 3)),
        ("none_then_face_vfr.mov", 169, (540, 960, 3)),
    ],
)
def test_real_files_decode_alike_with_both_decoders(shared, name, count, shape, request):
    path = Path(shared) / "media" / "videos" / name
    first = [(frame.pts_seconds, frame.image.mean()) for frame in VideoReader(path)]
    assert len(first) == count
    request.getfixturevalue("without_decord")
    frames = list(VideoReader(path))
    assert frames[0].image.shape == shape
    second = [(frame.pts_seconds, frame.image.mean()) for frame in frames]
    assert np.abs(np.array(first) - np.array(second)).max() < 0.05
