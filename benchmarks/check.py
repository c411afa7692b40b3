"""The small benchmarks in one command, compared with `baseline.json`: has anything become slower?

Takes a few minutes and needs nothing downloaded. Only ratios are compared, each measured in one
run: against the published arithmetic, or against the same work done the plain way. A ratio below
0.8 of its baseline is said and ends the script with 1; below 1 of it may be noise.

    python benchmarks/check.py            # compare
    python benchmarks/check.py --write    # make what was measured the baseline
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dfercli.bench import run as bench
from dfercli.config import BenchConfig, ModelConfig
from dfercli.inference.loaded_model import ready
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.progress import LogProgress

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.8
RUNS = 5
WINDOWS, FRAMES, STEP = 9, 16, 4  # windows a quarter apart share three quarters of their frames


def ratio(slow: Callable[[], object], fast: Callable[[], object]) -> float:
    """How many times longer `slow` takes, by medians of runs by turns after one to warm up."""
    seconds: dict[str, list[float]] = {"slow": [], "fast": []}
    for number in range(RUNS + 1):
        for name, work in (("slow", slow), ("fast", fast)):
            begun = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - begun)
    return statistics.median(seconds["slow"]) / statistics.median(seconds["fast"])


def shared_frames() -> float:
    """Windows a quarter apart: each frame encoded for every window, against once."""
    config = ModelConfig(clip="ViT-B-32-quickgelu/random", num_frames=FRAMES)
    model = ready(new_model(config, SEVEN, 1), "", device="cpu", precision="32")
    count = FRAMES + STEP * (WINDOWS - 1)
    size = model.image_size
    frames = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    clips = np.arange(FRAMES) + STEP * np.arange(WINDOWS)[:, None]

    return ratio(
        lambda: model.probabilities(frames[clips]),
        lambda: model.probabilities_of_clips(frames, clips),
    )


def start_up() -> float:
    """`dfer --help` in units of starting Python with NumPy: the larger, the quicker it starts."""
    numpy = [sys.executable, "-c", "import numpy"]
    ours = [sys.executable, "-c", "from dfercli.cli.app import main; main()", "--help"]
    return ratio(
        lambda: subprocess.run(numpy, check=True),
        lambda: subprocess.run(ours, check=True, stdout=subprocess.DEVNULL),
    )


def measure() -> dict[str, float]:
    """All ratios; the larger, the better."""
    config = BenchConfig(batch_sizes=(1,), train_batch=1, runs=RUNS, device="cpu", precision="32")
    result = bench.run(config, LogProgress())
    assert result.loading is not None
    assert result.training is not None
    return {
        "loading against PIL": result.loading.ratio_to_reference,
        "inference in float32 against published": result.inference[0].ratio_to_reference,
        "training in float32 against published": result.training.ratio_to_reference,
        "frames shared by windows": shared_frames(),
        "start of dfer --help": start_up(),
    }


def main() -> int:
    """Print a table; 1 where something became slower."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="Write the baseline.")
    arguments = parser.parse_args()
    begun = time.monotonic()
    measured = measure()
    if arguments.write:
        rounded = {name: round(value, 2) for name, value in measured.items()}
        BASELINE.write_text(json.dumps(rounded, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    slower = [name for name, value in measured.items() if value < TOLERANCE * baseline[name]]
    for name, value in measured.items():
        mark = "  SLOWER" if name in slower else ""
        print(f"{name:42} {value:6.2f}   baseline {baseline[name]:6.2f}{mark}")
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
