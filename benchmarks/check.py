"""The small benchmarks in one command, compared with `baseline.json`: did anything become slower?

Takes a few minutes and downloads nothing. Compares ratios only, each measured in one run: against
the published arithmetic, or against the same work done the plain way. A ratio below 0.8 of its
baseline is marked, and the script exits with 1; between 0.8 and 1 it may be noise.

Some machines multiply faster in float32, others in bfloat16, and the ratios differ with that. So
each kind has its own baseline, with the rates at which it was measured. The script exits with 2 if
this kind has none.

    python benchmarks/check.py            # compare
    python benchmarks/check.py --write    # write the measured ratios as the baseline
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dfercli.bench import run as bench
from dfercli.config import BenchConfig, ModelConfig
from dfercli.inference.arithmetic import Arithmetic, arithmetic_here
from dfercli.inference.loaded_model import ready
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.progress import LogProgress

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.8
RUNS = 5
WINDOWS, FRAMES, STEP = 9, 16, 4  # windows a quarter apart share three quarters of their frames


def ratio(slow: Callable[[], object], fast: Callable[[], object]) -> float:
    """How many times longer `slow` takes: medians of alternating runs after one to warm up."""
    seconds: dict[str, list[float]] = {"slow": [], "fast": []}
    for number in range(RUNS + 1):
        for name, work in (("slow", slow), ("fast", fast)):
            begun = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - begun)
    return statistics.median(seconds["slow"]) / statistics.median(seconds["fast"])


def shared_frames() -> float:
    """Windows a quarter apart: each frame encoded once per window, against once in all."""
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
    """The start of Python with NumPy over that of `dfer --help`: the larger, the faster."""
    numpy = [sys.executable, "-c", "import numpy"]
    ours = [sys.executable, "-c", "from dfercli.cli.start import main; main()", "--help"]
    return ratio(
        lambda: subprocess.run(numpy, check=True),
        lambda: subprocess.run(ours, check=True, stdout=subprocess.DEVNULL),
    )


def kind_of(machine: Arithmetic) -> str:
    """The kind of a machine, from its rates."""
    return "faster in bfloat16" if machine.prefers_bfloat16 else "no faster in bfloat16"


def measure(machine: Arithmetic) -> dict[str, float]:
    """All ratios; the larger, the better."""
    config = BenchConfig(batch_sizes=(1,), train_batch=1, runs=RUNS, device="cpu", precision="32")
    result = bench.run(config, LogProgress())
    assert result.loading is not None
    assert result.training is not None
    found = {
        "loading against PIL": result.loading.ratio_to_reference,
        "inference in float32 against published": result.inference[0].ratio_to_reference,
        "training in float32 against published": result.training.ratio_to_reference,
        "frames shared by windows": shared_frames(),
        "start of dfer --help": start_up(),
    }
    if machine.prefers_bfloat16:
        mixed = replace(config, parts=("inference", "training"), precision="bf16-mixed")
        result = bench.run(mixed, LogProgress())
        assert result.training is not None
        found["inference in bfloat16 against published"] = result.inference[0].ratio_to_reference
        found["training in bfloat16 against published"] = result.training.ratio_to_reference
    return found


def write_baseline(machine: Arithmetic, measured: dict[str, float]) -> None:
    """Write the measured ratios as the baseline of this kind of machine."""
    baselines = json.loads(BASELINE.read_text())
    baselines[kind_of(machine)] = {
        "processor": machine.processor,
        "float32_gflops": round(machine.float32_gflops),
        "bfloat16_gflops": round(machine.bfloat16_gflops),
        "ratios": {name: round(value, 2) for name, value in measured.items()},
    }
    BASELINE.write_text(json.dumps(baselines, indent=2) + "\n")


def main() -> int:
    """Measure and compare; see `compare` for the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="Write the baseline.")
    arguments = parser.parse_args()
    begun, machine = time.monotonic(), arithmetic_here()
    kind = kind_of(machine)
    print(
        f"{machine.processor}, {kind}: one core {machine.float32_gflops:.0f} billion operations a "
        f"second in float32, {machine.bfloat16_gflops:.0f} in bfloat16"
    )
    measured = measure(machine)
    if arguments.write:
        write_baseline(machine, measured)
    code = compare(measured, json.loads(BASELINE.read_text()).get(kind))
    print(f"{time.monotonic() - begun:.0f} s")
    return code


def compare(measured: dict[str, float], baseline: dict[str, Any] | None) -> int:
    """Print a table; 1 if something became slower, 2 if there is nothing to compare with."""
    if baseline is None:
        for name, value in measured.items():
            print(f"{name:42} {value:6.2f}")
        print("there is no baseline of this kind of machine yet: --write makes one")
        return 2
    code = 0
    for name, value in measured.items():
        expected = baseline["ratios"][name]
        is_slower = value < TOLERANCE * expected
        code = max(code, int(is_slower))
        print(f"{name:42} {value:6.2f}   baseline {expected:6.2f}{'  SLOWER' * is_slower}")
    return code


if __name__ == "__main__":
    sys.exit(main())
