"""Finding faces and predicting, compared with decoding alone; and memory over an hour.

Makes its own videos: five faces (a panned picture) for 600 frames of 720p and of 1080p, and one
face for five minutes of 720p (a short video, repeated). The rows take turns, decode-only first and
last; each is the median of its ratios to the decodings around it. Processes and their start count.
Takes about nine minutes on two cores with nothing else running.

    python benchmarks/faces_speed.py ../shared/media ../shared/weights/yunet_s_640_640.onnx

`--only speed` and `--only memory` run one part.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from preprocess_speed import panned

from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.config import ModelConfig
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.video.images import read_image
from dfercli.video.write import write_video

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
FRAMES = 600
MINUTES = 5
TURNS = {"short": 3, "long": 2}
SMALL = (320, 180)
PROGRAM = (
    "import resource, subprocess, sys;"
    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL,"
    " stderr=subprocess.DEVNULL);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
)


def enlarged(video: Path, width: int, height: int) -> Iterator[np.ndarray]:
    """The frames of a video in another size."""
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            yield cv2.resize(frame.to_ndarray(format="rgb24"), (width, height))


def looped(short: Path, target: Path, seconds: float) -> None:
    """Write the packets of `short` repeatedly."""
    with av.open(str(target), "w") as container:
        copy, shift = None, 0
        while True:
            with av.open(str(short)) as source:
                stream = source.streams.video[0]
                copy = copy or container.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = copy
                        container.mux(packet)
                shift += stream.duration
                if shift * stream.time_base >= seconds:
                    return


def decode_only(video: Path) -> None:
    """Decode every frame with decord, in its own process."""
    program = f"import decord; r = decord.VideoReader({str(video)!r})\n"
    program += "for _ in range(len(r)): r.next().asnumpy()"
    subprocess.run([sys.executable, "-c", program], check=True)


def dfer(*arguments: object) -> list[str]:
    """The command line of a `dfer` command."""
    program = "from dfercli.cli.start import main; main()"
    return [sys.executable, "-c", program, *map(str, arguments), "--quiet"]


def quietly(command: list[str]) -> None:
    """Run a command without its output."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def seconds_of(work: Callable[[], object]) -> float:
    """The seconds that some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def peak_megabytes(command: list[str]) -> float:
    """Peak memory of the largest process of a command."""
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(answer.stdout)


class Bench:
    """Videos, a model, and a folder for outputs."""

    def __init__(self, media: Path, weights: Path, folder: Path) -> None:
        self.media, self.folder = media, folder
        self.detector = ("--detector", "yunet", "--detector-weights", weights)
        self.model = folder / "model"
        model = new_model(ModelConfig(clip="tiny/random", num_frames=4), SEVEN, 1)
        save_checkpoint(self.model, model.module.state_dict(), model.card.to_json())
        self._runs = 0

    def preprocess(self, video: Path) -> list[str]:
        """The command that finds faces, into a new folder."""
        self._runs += 1
        out = self.folder / f"faces-{self._runs}"
        return dfer("preprocess", video, "--out", out, *self.detector)

    def predict(self, video: Path) -> list[str]:
        """The command that predicts, with a model like that of `dfer demo`."""
        self._runs += 1
        out = self.folder / f"table-{self._runs}.csv"
        return dfer("predict", video, "--model", self.model, "--out", out, *self.detector)

    def row(self, name: str, video: Path, turns: int, *works: tuple[str, Callable]) -> None:
        """Measure each work in turn against the decodings before and after it."""
        ratios: dict[str, list[float]] = {label: [] for label, _ in works}
        taken: dict[str, list[float]] = {label: [] for label, _ in works}
        before = seconds_of(lambda: decode_only(video))
        for _ in range(turns):
            for label, make in works:
                command = make(video)
                own = seconds_of(
                    lambda c=command: subprocess.run(c, check=True, stdout=subprocess.DEVNULL)
                )
                after = seconds_of(lambda: decode_only(video))
                ratios[label].append((before + after) / 2 / own)
                taken[label].append(own)
                before = after
        for label, values in ratios.items():
            print(
                f"{label} {name}: {statistics.median(values):.2f} of decode-only "
                f"({statistics.median(taken[label]):.1f} s, decoding {before:.1f} s; "
                f"{min(values):.2f} to {max(values):.2f})",
                flush=True,
            )

    def speed(self) -> None:
        """The rows of speed."""
        picture = read_image(self.media / "images" / "multi_face.jpg")
        for name, (width, height) in SIZES.items():
            video = self.folder / f"five-{name}.mp4"
            write_video(video, panned(picture, width, height, FRAMES), 25, crf=23)
            work = ("preprocess", self.preprocess)
            self.row(f"{name}, five faces, {FRAMES} frames", video, TURNS["short"], work)
        one, video = self.folder / "one.mp4", self.folder / "one-long.mp4"
        source = self.media / "videos" / "one_face_expressive_20s.mp4"
        write_video(one, enlarged(source, *SIZES["720p"]), 24000 / 1001, crf=23)
        looped(one, video, 60 * MINUTES - 5)
        works = (("preprocess", self.preprocess), ("predict", self.predict))
        self.row(f"720p, one face, {MINUTES} minutes", video, TURNS["long"], *works)

    def memory(self, minutes: int) -> None:
        """Peak memory of predict over a long and a short video of the same pictures."""
        picture = read_image(self.media / "images" / "single_face.jpg")
        short, long = self.folder / "short.mp4", self.folder / "hour.mp4"
        write_video(short, panned(picture, *SMALL, 100), 10)
        looped(short, long, 60 * minutes)
        peaks = {video: peak_megabytes(self.predict(video)) for video in (short, long)}
        print(
            f"memory of predict, the largest process: {peaks[short]:.0f} MB for ten seconds, "
            f"{peaks[long]:.0f} MB for {minutes} minutes: {peaks[long] - peaks[short]:+.0f} MB"
        )

    def imports(self) -> None:
        """The seconds that the imports of a worker take."""
        bare, whole = ("pass", "import dfercli.preprocessing.source_worker")
        seconds = [
            statistics.median(
                seconds_of(lambda c=code: subprocess.run([sys.executable, "-c", c], check=True))
                for _ in range(5)
            )
            for code in (bare, whole)
        ]
        print(f"imports of a worker: {seconds[1] - seconds[0]:.2f} s beside Python's own start")


def main() -> None:
    """Print all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--only", choices=("speed", "memory"))
    parser.add_argument("--minutes", type=int, default=60, help="Of the video for memory.")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, yunet")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(arguments.media.resolve(), arguments.weights.resolve(), Path(name))
        bench.imports()
        if arguments.only != "memory":
            bench.speed()
        if arguments.only != "speed":
            bench.memory(arguments.minutes)
    print(f"{time.perf_counter() - begun:.0f} s in all")


if __name__ == "__main__":
    main()
