"""Seconds to read a video with decord and with PyAV, through `dfer`'s reader, in turns.

Reads every frame of short videos, which decord may read, and a pan over a picture at 720p. Prints
wall and processor time of both, as medians; and how far their pictures are apart.

    python benchmarks/decoders.py ../shared/media/images/multi_face.jpg VIDEO [VIDEO …]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from preprocess_speed import panned

from dfercli.video import decode
from dfercli.video.images import read_image
from dfercli.video.write import write_video

RUNS = 7
FRAMES = 90  # of 720p: as many as decord may read (decode.DECORD_BYTES)


@contextmanager
def without_decord() -> Iterator[None]:
    """Let PyAV read every file, as where decord is not installed."""
    with mock.patch.object(decode, "open_decord", return_value=None):
        yield


def seconds_to_read(video: Path) -> tuple[float, float]:
    """Wall and processor time to read all frames."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in decode.VideoReader(video):
        pass
    return time.perf_counter() - wall, time.process_time() - processor


def pictures(video: Path) -> list[np.ndarray]:
    """All frames."""
    return [frame.image for frame in decode.VideoReader(video)]


def apart(video: Path) -> str:
    """How far the pictures of both are apart."""
    ours = pictures(video)
    with without_decord():
        other = pictures(video)
    if len(ours) != len(other):
        return f"{len(ours)} and {len(other)} frames"
    mean = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(ours, other, strict=True)])
    return f"{mean:.2f} of 255"


def compare(video: Path) -> None:
    """Print one row."""
    if not decode._probe(video, decode.MAX_PIXELS).suit_decord:
        print(f"| {video.name} | PyAV reads it: too large for decord, or of another kind |")
        return
    decord, pyav = [], []
    for _ in range(RUNS):
        decord.append(seconds_to_read(video))
        with without_decord():
            pyav.append(seconds_to_read(video))
    wall, processor = (
        tuple(statistics.median(run[kind] for run in runs) for runs in (decord, pyav))
        for kind in (0, 1)
    )
    print(
        f"| {video.name} | {wall[0]:.2f} / {wall[1]:.2f} | {wall[1] / wall[0]:.2f} "
        f"| {processor[0]:.2f} / {processor[1]:.2f} | {processor[1] / processor[0]:.2f} "
        f"| {apart(video)} |"
    )


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("videos", type=Path, nargs="*")
    arguments = parser.parse_args()
    print("| video | wall, s: decord / PyAV | ratio | processor, s | ratio | pictures apart |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "720p.mp4"
        picture = read_image(arguments.picture)
        write_video(drawn, panned(picture, 1280, 720, FRAMES), fps=25)
        for video in [drawn, *arguments.videos]:
            compare(video)


if __name__ == "__main__":
    main()
