"""What preprocess does with damaged and odd files: makes them from one video, prints the outcomes.

python benchmarks/odd_files.py ../shared/media/videos/single_face.mp4 --detector haar
"""

import argparse
import os
import random
import shutil
import tempfile
import zipfile
from pathlib import Path

import av
import cv2
import numpy as np

from dfercli.config import PreprocessConfig
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
from dfercli.video.decode import VideoReader
from dfercli.video.write import write_video


def remuxed(video: Path, target: Path, **options: str) -> Path:
    """Copy the video stream to another container."""
    with av.open(str(video)) as source, av.open(str(target), "w", options=options) as container:
        stream = source.streams.video[0]
        copy = container.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
    return target


def encoded(frames: list[np.ndarray], target: Path, codec: str, pixels: str, rate: int) -> Path:
    """Encode frames with another codec."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())
    return target


def audio_only(target: Path) -> Path:
    """One second of silence without a video stream."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target


def make_odd_files(video: Path, folder: Path) -> None:
    """Twenty-four files, each with something unusual."""
    frames = [frame.image for frame in VideoReader(video)]
    small = [cv2.resize(image, (320, 180)) for image in frames]
    rng = random.Random(1)
    (folder / "01-zero-bytes.mp4").touch()
    (folder / "02-text.mp4").write_text("not a video\n" * 50)
    (folder / "03-random-bytes.mp4").write_bytes(rng.randbytes(50_000))
    with zipfile.ZipFile(folder / "04-zip-archive.mp4", "w") as archive:
        archive.writestr("a.txt", "a" * 1000)
    fast = remuxed(video, folder / "fast.mp4", movflags="faststart").read_bytes()
    (folder / "fast.mp4").unlink()
    slow = remuxed(video, folder / "slow.mp4").read_bytes()
    (folder / "slow.mp4").unlink()
    (folder / "05-index-cut-off.mp4").write_bytes(slow[: len(slow) // 2])
    (folder / "06-second-half-cut-off.mp4").write_bytes(fast[: len(fast) * 6 // 10])
    noisy = bytearray(fast)
    middle = slice(len(fast) // 2, len(fast) // 2 + len(fast) // 10)
    noisy[middle] = rng.randbytes(middle.stop - middle.start)
    (folder / "07-noise-in-the-middle.mp4").write_bytes(noisy)
    header = bytearray(fast)
    header[:64] = bytes(64)
    (folder / "08-header-zeroed.mp4").write_bytes(header)
    audio_only(folder / "09-audio-only.mp4")
    (folder / "10-empty-frames").mkdir()
    for number in range(3):
        (folder / "10-empty-frames" / f"{number}.jpg").touch()
    (folder / "11-broken-link.mp4").symlink_to(folder / "nowhere.mp4")
    os.mkfifo(folder / "12-named-pipe.mp4")
    write_video(folder / "13-one-frame.mp4", frames[:1], 25)
    write_video(folder / "14-no-face.mp4", [np.full((180, 320, 3), 90, np.uint8)] * 20, 25)
    write_video(folder / "15-sixteen-pixels.mp4", [i[:16, :16] for i in small], 25)
    write_video(folder / "16-face-too-small.mp4", [i[::3, ::3] for i in small], 25)
    write_video(folder / "17-face-too-short.mp4", [*frames[:3], *[frames[0] * 0] * 40], 25)
    write_video(folder / "18-odd-sides.mp4", [i[:179, :319] for i in small], 25)
    encoded(small[:30], folder / "19-animated.gif", "gif", "rgb8", 25)
    encoded(small, folder / "20-mpeg4.avi", "mpeg4", "yuv420p", 25)
    stream = remuxed(video, folder / "stream.ts").read_bytes()
    (folder / "stream.ts").unlink()
    (folder / "21-starts-again.ts").write_bytes(stream * 2)
    matroska = remuxed(video, folder / "whole.mkv").read_bytes()
    (folder / "whole.mkv").unlink()
    (folder / "22-cut-off.mkv").write_bytes(matroska[: len(matroska) // 2])
    cv2.imwrite(str(folder / "picture.jpg"), frames[0][..., ::-1])
    shutil.move(folder / "picture.jpg", folder / "23-a-jpeg.mp4")
    shutil.copyfile(video, folder / "24-name with spaces, ümlaut & 'quotes'.mp4")


def main() -> None:
    """Print a line for each file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--detector-weights", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "odd"
        folder.mkdir()
        make_odd_files(arguments.video, folder)
        config = PreprocessConfig(
            sources=(str(folder),),
            out=Path(name) / "faces",
            detector=arguments.detector,
            detector_weights=arguments.detector_weights,
        )
        result = run(config, LogProgress())
        outcomes = {
            Path(failure.source).name: f"failed: {failure.reason}" for failure in result.failures
        }
        for clip in result.clips:
            outcomes[Path(clip.source).name] = (
                f"{clip.num_frames} crops, {clip.start_seconds:.2f} to {clip.end_seconds:.2f} s"
            )
        for warning in result.warnings:
            source, _, text = warning.partition(": ")
            outcomes[Path(source).name] += f"; warning: {text}"
        for file, outcome in sorted(outcomes.items()):
            print(f"{file:45} {outcome}")


if __name__ == "__main__":
    main()
