"""What `dfer predict` imports until its first result, when, and how long that takes.

Makes a checkpoint of ViT-B/32 with random weights and predicts 2.4 seconds of a video with it, each
time in a new process. The lines come from Python's `-X importtime`: the packages that take longest,
with all that they import, and the second of the run at which each was done. They include the
imports of the process that finds faces, which runs beside the first one.

    python benchmarks/first_result.py VIDEO [--runs 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.config import ModelConfig
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN

DFER = (sys.executable, "-c", "from dfercli.cli.start import main; main()")
SHOWN = 25
LEAST_MS = 30.0


@dataclass(frozen=True)
class Imported:
    """One import.

    Attributes:
        name: The module.
        ms: Milliseconds with all that it imports.
        depth: How many imports lead to it from the first one.
        done_at: Second of the run at which its import ended.
    """

    name: str
    ms: float
    depth: int
    done_at: float


def random_checkpoint(folder: Path, clip: str) -> Path:
    """A checkpoint with random weights."""
    restored = new_model(ModelConfig(clip=clip), SEVEN, seed=1)
    save_checkpoint(folder, restored.module.state_dict(), restored.card.to_json())
    return folder


def predict(checkpoint: Path, video: Path, *python: str) -> tuple[float, list[Imported]]:
    """Predict once: seconds until the process ends, and the imports if asked for."""
    command = [sys.executable, *python, *DFER[1:], "predict", str(video), "--end", "2.4"]
    command += ["--model", str(checkpoint), "--device", "cpu"]
    begun = time.monotonic()
    environment = {**os.environ, "DFER_OFFLINE": "1"}  # a search for the detector takes a second
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        found = []
        for line in process.stderr:
            if line.startswith("import time:") and "cumulative" not in line:
                found.append(_imported(line, time.monotonic() - begun))
        seconds = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(f"dfer predict ended with {process.returncode}")
    return seconds, found


def _imported(line: str, now: float) -> Imported:
    _, took, name = line.removeprefix("import time:").rstrip("\n").split("|")
    depth = (len(name) - len(name.lstrip()) - 1) // 2
    return Imported(name.strip(), float(took) / 1000, depth, now)


def print_imports(found: Sequence[Imported]) -> None:
    """Print the longest imports in the order in which they ended."""
    longest = sorted(found, key=lambda one: -one.ms)[:SHOWN]
    print(f"{'done at s':>10} {'ms':>8}  module, with all that it imports")
    for one in sorted(longest, key=lambda one: one.done_at):
        if one.ms >= LEAST_MS:
            print(f"{one.done_at:10.2f} {one.ms:8.0f}  {'  ' * one.depth}{one.name}")


def main() -> None:
    """Print medians and the imports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--clip", default="ViT-B-32-quickgelu/random")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dfer-first-") as folder:
        checkpoint = random_checkpoint(Path(folder) / "checkpoint", options.clip)
        runs = [predict(checkpoint, options.video)[0] for _ in range(options.runs + 1)][1:]
        _, found = predict(checkpoint, options.video, "-X", "importtime")
    print_imports(found)
    shown = ", ".join(f"{one:.1f}" for one in runs)
    print(f"2.4 s of video until the process ends: {statistics.median(runs):.2f} s ({shown})")


if __name__ == "__main__":
    main()
