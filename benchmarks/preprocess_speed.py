"""Frames per second of preprocess, against decoding alone and against a plain loop.

Makes its own videos: pans and zooms over a picture with faces, at 720p and 1080p. Runs each of
these three times, interleaved, and takes the best:

- decode only: every frame with decord;
- plain loop: decode, detect on each frame at full size, crop, resize, write a JPEG;
- preprocess: all that `dfer preprocess` does with one file, worker process included.

    python benchmarks/preprocess_speed.py ../shared/media/images/multi_face.jpg \
        ../shared/weights/yunet_s_640_640.onnx
"""

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import decord
import numpy as np

from dfercli.config import PreprocessConfig
from dfercli.faces.yunet import YuNetDetector
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
from dfercli.video.images import read_image
from dfercli.video.write import write_video

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
RUNS = 3


def panned(picture: np.ndarray, width: int, height: int, frames: int) -> Iterator[np.ndarray]:
    """A slow pan and zoom over a picture."""
    scale = 1.15 * max(width / picture.shape[1], height / picture.shape[0])
    for number in range(frames):
        angle = 2 * np.pi * number / 150
        zoom = scale * (1 + 0.04 * np.sin(angle))
        shift = np.array([width / 2, height / 2]) - zoom * np.array(picture.shape[1::-1]) / 2
        shift += 0.04 * np.array([width * np.cos(angle), height * np.sin(angle)])
        matrix = np.column_stack([np.eye(2) * zoom, shift])
        yield cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def decode_only(path: Path) -> int:
    """Decode every frame."""
    reader = decord.VideoReader(str(path))
    for _ in range(len(reader)):
        reader.next().asnumpy()
    return len(reader)


def plain_loop(path: Path, weights: Path, out: Path) -> int:
    """Decode, detect on each frame, crop, write."""
    detector = YuNetDetector(weights)
    reader = decord.VideoReader(str(path))
    for number in range(len(reader)):
        image = reader.next().asnumpy()
        faces = detector.detect([image])[0]
        for row, (left, top, right, bottom) in enumerate(faces.box_xyxy_px.astype(int)):
            crop = image[max(top, 0) : bottom, max(left, 0) : right]
            small = cv2.cvtColor(cv2.resize(crop, (224, 224)), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(out / f"{number:06d}-{row}.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return len(reader)


def preprocess(path: Path, weights: Path, out: Path) -> int:
    """All that `dfer preprocess` does."""
    config = PreprocessConfig(sources=(str(path),), out=out, detector_weights=weights)
    return run(dataclasses.replace(config, detector="yunet"), LogProgress()).num_frames


def timed(work: Callable[[Path], int]) -> float:
    """Frames per second of one run in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        frames = work(Path(folder) / "out")
        return frames / (time.perf_counter() - begun)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--frames", type=int, default=900)
    arguments = parser.parse_args()
    picture = read_image(arguments.picture)
    weights = arguments.weights

    def plain(video: Path, out: Path) -> int:
        out.mkdir()
        return plain_loop(video, weights, out)

    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, yunet")
    with tempfile.TemporaryDirectory() as folder:
        for name, (width, height) in SIZES.items():
            video = Path(folder) / f"{name}.mp4"
            write_video(video, panned(picture, width, height, arguments.frames), 25, crf=23)
            rates: dict[str, list[float]] = {"decode": [], "plain": [], "preprocess": []}
            for _ in range(RUNS):
                rates["decode"].append(timed(lambda out, video=video: decode_only(video)))
                rates["plain"].append(timed(lambda out, video=video: plain(video, out)))
                rates["preprocess"].append(
                    timed(lambda out, video=video: preprocess(video, weights, out))
                )
            decode, loop, ours = (max(values) for values in rates.values())
            print(
                f"{name:6} decode {decode:.0f} fps, plain loop {loop:.0f} fps, preprocess "
                f"{ours:.0f} fps: {ours / decode:.2f} of decode, {ours / loop:.2f} x plain loop"
            )


if __name__ == "__main__":
    main()
