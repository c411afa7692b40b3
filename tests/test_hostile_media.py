"""Pictures and videos of strangers: too large, empty, unknown, lying, with times out of order."""

import resource
import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from drawn_videos import moving_bar

from dfercli.artifacts.face_parts import read_parsing
from dfercli.artifacts.pictures import decode_picture
from dfercli.config import PreprocessConfig
from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.data.loading import read_frame
from dfercli.descriptions.captions import _read_frame as read_frame_for_captions
from dfercli.errors import DataError, TooLargeError
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
from dfercli.video import decode, decord_file
from dfercli.video.camera import Camera
from dfercli.video.decode import VideoReader
from dfercli.video.images import ImageReader, read_image
from dfercli.video.probe import probe_video
from dfercli.video.reorder import pictures_with_times
from dfercli.video.write import write_video

SIDE = 320  # of the videos here; a bound of SIDE * SIDE - 1 pixels refuses them
BOUND = SIDE * SIDE - 1
SUFFIXES = (".mp4", ".mkv", ".avi", ".ts", ".gif", ".webm")
CODECS = {".gif": ("gif", "rgb8"), ".avi": ("mpeg4", "yuv420p"), ".webm": ("libvpx", "yuv420p")}


def encoded(path, images, fps=25, options=None):
    codec, pixels = CODECS.get(path.suffix, ("libx264", "yuv420p"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = pixels
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def grey(count=3, side=SIDE):
    return [np.full((side, side, 3), 90, np.uint8)] * count


def png_header(width, height):
    """A PNG that claims this size and holds nothing."""
    whole = bytearray(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())
    whole[16:24] = struct.pack(">II", width, height)
    whole[29:33] = struct.pack(">I", zlib.crc32(bytes(whole[12:29])))
    return bytes(whole)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_that_are_too_large_are_refused_before_one_is_decoded(tmp_path, suffix, monkeypatch):
    path = encoded(tmp_path / f"large{suffix}", moving_bar(20, SIDE, SIDE))
    assert len(list(VideoReader(path, max_pixels=SIDE * SIDE))) == 20

    def decode_nothing(*arguments):
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(decode, "open_decord", decode_nothing)
    monkeypatch.setattr(decode, "pictures_with_times", decode_nothing)
    with pytest.raises(TooLargeError, match=r"320 x 320 are 102,400 pixels.*102,399.*--max-pixels"):
        VideoReader(path, max_pixels=BOUND)


def test_a_file_whose_frames_are_larger_than_it_says_is_refused(tmp_path):
    path = encoded(tmp_path / "lies.mp4", grey(side=640))
    content = path.read_bytes()
    for form, factor in ((">HH", 1), (">II", 1 << 16)):
        large = struct.pack(form, 640 * factor, 640 * factor)
        assert large in content
        content = content.replace(large, struct.pack(form, 64 * factor, 64 * factor))
    path.write_bytes(content)
    with pytest.raises(DataError):
        list(VideoReader(path, max_pixels=BOUND))


def test_frames_that_become_too_large_are_not_decoded(tmp_path):
    small, large = (encoded(tmp_path / f"{n}.ts", grey(10, n)) for n in (64, 1280))
    (tmp_path / "grows.ts").write_bytes(small.read_bytes() + large.read_bytes())
    reader = VideoReader(tmp_path / "grows.ts", max_pixels=BOUND)
    frames = list(reader)
    assert {frame.image.shape for frame in frames} == {(64, 64, 3)}
    assert "damaged after frame" in reader.warnings[0]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_pictures_of_each_kind_are_measured_by_their_header(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), grey()[0])
    assert read_image(path, SIDE * SIDE).shape == (SIDE, SIDE, 3)
    with pytest.raises(TooLargeError, match=r"320 x 320 are 102,400 pixels.*--max-pixels"):
        read_image(path, BOUND)


@pytest.mark.parametrize(
    "reads",
    [read_image, read_frame, read_parsing, read_frame_for_captions],
    ids=["sources", "training", "parsing", "captions"],
)
def test_a_picture_bomb_takes_no_memory(tmp_path, reads):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(30_000, 30_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLargeError, match=r"bomb\.png: 30000 x 30000 are 900,000,000 pixels"):
        reads(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_only_one_place_decodes_pictures():
    package = Path(decode.__file__).parents[1]
    places = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(word in path.read_text() for word in ("cv2.imdecode", "cv2.imread", "Image.open("))
    }
    # The benchmark times the published code's way of reading, on its own files.
    assert places == {"artifacts/pictures.py", "bench/reference.py"}


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0"])
def test_the_beginning_of_a_picture_is_no_picture(content):
    for length in (0, 10, 100):
        assert decode_picture(content + bytes(length), Path("a")) is None


def test_a_stream_without_a_decoder(tmp_path):
    path = encoded(tmp_path / "unknown.mp4", grey())
    content = path.read_bytes()
    assert b"avc1" in content
    path.write_bytes(content.replace(b"avc1", b"zzzz"))
    with pytest.raises(DataError, match=r"unknown\.mp4: no decoder for this kind of video"):
        VideoReader(path)
    assert probe_video(path) is None


@pytest.mark.parametrize(
    "fault",
    [IndexError("too many indices"), RuntimeError("no"), AssertionError(), ValueError("shape")],
)
@pytest.mark.parametrize("call", ["__init__", "get_frame_timestamp", "next", "skip_frames"])
def test_pyav_takes_over_where_decord_fails(tmp_path, monkeypatch, call, fault):
    path = tmp_path / "bar.mp4"
    write_video(path, moving_bar(12), 25)

    def fail(self, *arguments):
        self._handle = None
        raise fault

    monkeypatch.setattr(decord_file.decord_module().VideoReader, call, fail)
    reader = VideoReader(path, decode.Selection(every=2))
    assert [frame.index for frame in reader] == [0, 2, 4, 6, 8, 10]


def test_a_video_in_which_decord_lists_no_frame(tmp_path, monkeypatch):
    path = tmp_path / "bar.mp4"
    write_video(path, moving_bar(5), 25)
    monkeypatch.setattr(
        decord_file.decord_module().VideoReader, "get_frame_timestamp", lambda *_: np.zeros((0, 2))
    )
    assert len(list(VideoReader(path))) == 5


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_times_of_an_avi_with_b_frames_are_even(tmp_path, monkeypatch, codec):
    monkeypatch.setitem(CODECS, ".avi", (codec, "yuv420p"))
    options = {"bf": "3", "b-pyramid": "normal", "refs": "4"}
    options = {"bf": "2"} if codec == "mpeg4" else options
    path = encoded(tmp_path / "b.avi", list(moving_bar(40)), options=options)
    reader = VideoReader(path)
    frames = list(reader)
    assert np.diff([frame.pts_seconds for frame in frames]) == pytest.approx([0.04] * 39)
    assert reader.warnings == []
    for frame, drawn in zip(frames, moving_bar(40), strict=True):
        assert np.abs(frame.image.astype(int) - drawn).mean() < 6


class _Picture:
    def __init__(self, time, side=64):
        self.time, self.width, self.height = time, side, side


def test_sorting_of_times_keeps_each_picture_and_holds_few_large_ones():
    pictures = [_Picture(time, side=8000) for time in (1, 3, 2, None, 4, 6, 5)]
    taken = 0

    def decoded():
        nonlocal taken
        for picture in pictures:
            taken += 1
            yield picture
        raise av.error.InvalidDataError(1, "damage")

    given = []
    ahead = []

    def take():
        for item in pictures_with_times(decoded(), "avi", has_b_frames=True):
            given.append(item)
            ahead.append(taken - len(given))

    with pytest.raises(av.error.InvalidDataError):
        take()
    assert max(ahead) <= 3
    assert [picture for picture, _ in given] == pictures
    assert [time for _, time in given] == [1, 2, 3, None, 4, 5, 6]


def test_a_source_that_is_too_large_is_a_failure_and_is_tried_again_with_another_bound(tmp_path):
    encoded(tmp_path / "large.mp4", grey(30))
    encoded(tmp_path / "small.mp4", grey(30, 64))
    out = tmp_path / "faces"
    config = PreprocessConfig(
        sources=(str(tmp_path),), out=out, detector="haar", workers=0, max_pixels=BOUND
    )
    failures = {Path(f.source).name: f for f in run(config, LogProgress()).failures}
    assert failures["large.mp4"].stage == "size"
    assert failures["large.mp4"].reason == (
        "320 x 320 are 102,400 pixels, expected at most 102,399 (--max-pixels)"
    )
    assert failures["small.mp4"].stage == "faces"
    again = run(replace(config, max_pixels=MAX_PIXELS), LogProgress())
    assert {f.stage for f in again.failures} == {"faces"}
    assert again.num_skipped == 1


def test_a_folder_names_the_pictures_that_are_too_large(tmp_path):
    for number, side in enumerate((64, SIDE, 64)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), grey(side=side)[0])
    reader = ImageReader(tmp_path, 25, max_pixels=BOUND)
    assert [frame.index for frame in reader] == [0, 2]
    assert "1.png: 320 x 320" in reader.warnings[0]


def test_a_stream_with_pictures_that_are_too_large_is_no_camera(tmp_path):
    path = encoded(tmp_path / "stream.mp4", grey())
    with pytest.raises(TooLargeError, match="320 x 320"):
        Camera(str(path), BOUND)
