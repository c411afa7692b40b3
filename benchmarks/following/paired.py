"""Processor time of two checkouts in turn: `benchmarks/tracking.py --beside OTHER`."""

import os
import subprocess
import sys
from pathlib import Path

# Follows videos whose names come line by line; answers with seconds of processor time.
WORKER = """
import sys, tempfile, time
from pathlib import Path
import cv2
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.run import run
from dfercli.progress import LogProgress
cv2.setNumThreads(1)
with tempfile.TemporaryDirectory() as folder:
    for number, line in enumerate(sys.stdin):
        config = PreprocessConfig(
            sources=(line.rstrip("\\n"),), out=Path(folder) / str(number), detector="yunet",
            detector_weights=Path(sys.argv[1]), workers=0,
        )
        begun = time.process_time()
        run(config, LogProgress())
        print(time.process_time() - begun, flush=True)
"""


class Checkout:
    """A checkout of this project that follows videos in its own process.

    Args:
        tree: Its folder.
        weights: YuNet's ONNX file.
    """

    def __init__(self, tree: Path, weights: Path) -> None:
        # The path may also hold packages that only one of them needs.
        places = [str(tree.absolute()), os.environ.get("PYTHONPATH", "")]
        self._tree = tree
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(weights.absolute())],
            cwd=tree,  # where -c imports from first
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def seconds(self, video: Path) -> float:
        """Processor time of following a video."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{video.absolute()}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._tree} does not follow {video}")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def ratio_of(here: Checkout, other: Checkout, video: Path, turns: int) -> float:
    """How much longer `here` takes than `other`, by the least of each, which is disturbed least."""
    pairs = [(here.seconds(video), other.seconds(video)) for _ in range(turns)]
    return min(own for own, _ in pairs) / min(before for _, before in pairs)
