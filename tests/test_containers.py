"""Opening video files: titles in any encoding, and files that dfer wrote itself."""

import os
import re
import threading
from pathlib import Path

import av
import pytest
from drawn_videos import moving_bar

import dfercli
from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.errors import DataError
from dfercli.video.annotated import write_annotated
from dfercli.video.containers import LENIENT, av_errors, is_own_output, open_container
from dfercli.video.decode import VideoReader
from dfercli.video.frames import Frame
from dfercli.video.probe import probe_video
from dfercli.video.seek import find_landing
from dfercli.video.write import write_video

TITLES = {"latin-1": "Café".encode("latin-1"), "gbk": "你好".encode("gbk")}
CODECS = {".mp4": "libx264", ".mkv": "libx264", ".avi": "mpeg4", ".mov": "mpeg4"}


def titled(path, title, seconds=1):
    """A video with this title. An encoder would refuse to write it, so its bytes are patched in."""
    placeholder = b"~" * len(title)
    with av.open(str(path), "w") as container:
        container.metadata["title"] = placeholder.decode()
        stream = container.add_stream(CODECS[path.suffix], rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.metadata["title"] = placeholder.decode()
        for image in moving_bar(10 * seconds, step=0):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert placeholder in content
    path.write_bytes(content.replace(placeholder, title))
    return path


def remuxed(video, target):
    """The same packets and metadata in another container."""
    with av.open(str(video)) as source, av.open(str(target), "w") as container:
        container.metadata.update(source.metadata)
        copy = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)


@pytest.mark.parametrize("encoding", TITLES)
@pytest.mark.parametrize("suffix", CODECS)
def test_a_title_in_any_encoding_is_no_obstacle(tmp_path, suffix, encoding):
    path = titled(tmp_path / f"titled{suffix}", TITLES[encoding], seconds=8)
    if LENIENT:  # the versions of PyAV that need the option
        with pytest.raises(UnicodeDecodeError):
            av.open(str(path))
    assert len(list(VideoReader(path))) == 80
    facts = probe_video(path)
    assert facts is not None
    assert facts.seconds == pytest.approx(8, abs=0.2)
    find_landing(path, 0, 7.0, lambda: None, MAX_PIXELS)
    assert not is_own_output(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfercli.video.decode.open_decord", lambda path: None)
        frames = list(VideoReader(path))
    out = tmp_path / "annotated.mp4"
    assert write_annotated(out, iter(frames), sound_of=path) == 80


def test_only_one_place_opens_videos_with_pyav():
    package = Path(dfercli.__file__).parent
    places = {
        str(path.relative_to(package)): re.findall(r"\bav\.open\((?!.*\"w\")", path.read_text())
        for path in package.rglob("*.py")
    }
    assert {path: len(found) for path, found in places.items() if found} == {
        "video/containers.py": 1
    }


def test_an_annotated_video_is_recognised_in_another_container_too(tmp_path):
    images = list(moving_bar(5))
    frames = [Frame(i, i / 10, image) for i, image in enumerate(images)]
    write_annotated(tmp_path / "annotated.mp4", iter(frames), sound_of=None)
    write_video(tmp_path / "recorded.mp4", images, 10)
    assert is_own_output(tmp_path / "annotated.mp4")
    assert not is_own_output(tmp_path / "recorded.mp4")
    for suffix in (".mkv", ".mov"):
        copy = tmp_path / f"copy{suffix}"
        remuxed(tmp_path / "annotated.mp4", copy)
        assert is_own_output(copy)
    (tmp_path / "text.mp4").write_text("no video")
    assert not is_own_output(tmp_path / "text.mp4")
    assert not is_own_output(tmp_path / "missing.mp4")


def test_what_pyav_says_becomes_one_line_with_the_file(tmp_path):
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(DataError, match=r"text\.mp4: not a readable video \(Invalid data"):
        open_container(tmp_path / "text.mp4")
    with pytest.raises(DataError, match=r"gone\.mp4: not a readable video \(No such file"):
        open_container(tmp_path / "gone.mp4")
    with pytest.raises(ZeroDivisionError), av_errors(tmp_path):
        raise ZeroDivisionError  # a bug stays a bug


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    found = []
    reading = threading.Thread(target=lambda: found.append(probe_video(pipe)), daemon=True)
    reading.start()
    reading.join(timeout=20)
    assert found == [None]
    with pytest.raises(DataError, match="not a regular file"):
        open_container(pipe)
