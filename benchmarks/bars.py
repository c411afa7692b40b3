"""The bars of speed on a CPU, all in one command, in pairs, in under twelve minutes.

Prints the kind of machine, then measures by turns: one clip, eight clips and a training step
against the published arithmetic, by default and in float32; one clip in 8 bits; an epoch against
its steps; the start of `dfer --help` and the first result of `dfer predict` on 2.4 s of a video.
ViT-B/32 with random weights. Exits with 1 if a bar for this kind of machine is missed.

    python benchmarks/bars.py [--video VIDEO] [--json bars.json] [--only NAME …]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from first_result import DFER, predict, random_checkpoint

from dfercli.bench import run as bench
from dfercli.config import (
    AnswerPrecision,
    BenchConfig,
    DataConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)
from dfercli.inference.arithmetic import Arithmetic, arithmetic_here, has_int8_instructions
from dfercli.labels import SEVEN
from dfercli.progress import LogProgress
from dfercli.training import fit
from dfercli.training import run as train

RUNS = 3
EPOCHS, CLIPS_OF_EACH, BATCH, FRAMES = 2, 2, 4, 16
HELP_RUNS = 7


@dataclass(frozen=True)
class Bar:
    """One measurement and its bar.

    Attributes:
        name: Of the measurement.
        value: The measured value.
        asked: The bar; None where this kind of machine has none.
        at_most: Whether the bar is an upper bound.
    """

    name: str
    value: float
    asked: float | None
    at_most: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bar is met."""
        if self.asked is None:
            return True
        return self.value <= self.asked if self.at_most else self.value >= self.asked


def against_published(machine: Arithmetic, clip: str) -> Iterator[Bar]:
    """Ratios to the published arithmetic, by default; if bfloat16 is faster, in float32, too."""
    fast = machine.prefers_bfloat16
    asked = {"one clip": 2.7, "eight clips": 2.5, "training step": 1.9}
    by_default = _ratios(clip, "auto", ("inference", "training"))
    for name, value in by_default.items():
        yield Bar(f"{name}, default ({machine_choice(fast)})", value, asked[name] if fast else None)
    if fast:
        for name, value in _ratios(clip, "32", ("inference", "training")).items():
            yield Bar(f"{name}, float32", value, None)
            yield Bar(f"{name}, default by float32", by_default[name] / value, 1.0)


def machine_choice(fast: bool) -> str:
    """The precision that `auto` takes."""
    return "bf16-mixed" if fast else "32"


def _ratios(clip: str, precision: AnswerPrecision, parts: tuple[Any, ...]) -> dict[str, float]:
    config = BenchConfig(parts=parts, clip=clip, runs=RUNS, device="cpu", precision=precision)
    found = bench.run(config, LogProgress())
    named = dict(zip(("one clip", "eight clips"), found.inference, strict=False))
    if found.training is not None:
        named["training step"] = found.training
    for name, speed in named.items():
        print(
            f"  {name}: {speed.seconds:.2f} s, published {speed.reference_seconds:.2f} s, "
            f"{speed.share_of_peak or 0:.0%} of the rate of large products in {speed.precision}",
            flush=True,
        )
    return {name: speed.ratio_to_reference for name, speed in named.items()}


def in_8_bits(machine: Arithmetic, clip: str) -> Iterator[Bar]:
    """One clip in 8-bit integers."""
    config = BenchConfig(
        parts=("inference",),
        clip=clip,
        batch_sizes=(1,),
        runs=RUNS,
        device="cpu",
        precision="int8",
    )
    found = bench.run(config, LogProgress())
    value = found.inference[0].ratio_to_reference
    asked = 4.5 if has_int8_instructions() and machine.prefers_bfloat16 else None
    yield Bar("one clip, int8", value, asked)


def epoch(_: Arithmetic, clip: str) -> Iterator[Bar]:
    """The wall time of an epoch over that of its steps; saving and measuring are separate."""
    with tempfile.TemporaryDirectory(prefix="dfer-epoch-") as name, _timed_steps() as spent:
        folder = Path(name)
        config = TrainConfig(
            dataset=str(_made_up_clips(folder)),
            out=folder,
            name="run",
            select="last",
            accelerator="cpu",
            compile=False,
            model=ModelConfig(clip=clip, num_frames=FRAMES),
            optim=OptimConfig(epochs=EPOCHS, batch_size=BATCH),
            data=DataConfig(validation=0.0, test_share=0.0),
        )
        train.run(config, LogProgress())
    steps, epochs = sum(spent.steps), spent.epochs
    print(
        f"  steps {steps:.1f} s, waiting for frames {epochs - steps:.2f} s, "
        f"end of epochs (saving) {spent.ends:.1f} s",
        flush=True,
    )
    yield Bar("epoch by its steps", epochs / steps, 1.05, at_most=True)
    yield Bar("epoch with saving by its steps", (epochs + spent.ends) / steps, None)


@dataclass
class _Spent:
    """Seconds of each step, of epochs without their ends, and of the ends."""

    steps: list[float] = field(default_factory=list)
    epochs: float = 0.0
    ends: float = 0.0


@contextmanager
def _timed_steps() -> Iterator[_Spent]:
    """Time `fit`, without the first epoch, which starts the readers."""
    spent, seen = _Spent(), [0]
    update, run_epoch, end_epoch = fit.update_weights, fit._run_epoch, fit._end_epoch

    def step(*given: Any, **named: Any) -> Any:
        begun = time.monotonic()
        done = update(*given, **named)
        if seen[0]:
            spent.steps.append(time.monotonic() - begun)
        return done

    def one_epoch(*given: Any, **named: Any) -> Any:
        begun = time.monotonic()
        done = run_epoch(*given, **named)
        spent.epochs += (time.monotonic() - begun) if seen[0] else 0.0
        return done

    def end(*given: Any, **named: Any) -> Any:
        begun = time.monotonic()
        done = end_epoch(*given, **named)
        spent.ends += (time.monotonic() - begun) if seen[0] else 0.0
        seen[0] += 1
        return done

    fit.update_weights, fit._run_epoch, fit._end_epoch = step, one_epoch, end
    try:
        yield spent
    finally:
        fit.update_weights, fit._run_epoch, fit._end_epoch = update, run_epoch, end_epoch


def _made_up_clips(folder: Path) -> Path:
    """A face store of noise."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from stores import write_store

    rng = np.random.default_rng(1)

    def frames() -> Any:
        coarse = rng.integers(0, 256, (FRAMES, 28, 28, 3), dtype=np.uint8)
        return np.stack([cv2.resize(one, (224, 224)) for one in coarse])

    clips = [
        (f"{label}-{number}", label, None, frames())
        for label in SEVEN
        for number in range(CLIPS_OF_EACH)
    ]
    return write_store(folder / "faces", clips, SEVEN)


def start(_: Arithmetic, __: str) -> Iterator[Bar]:
    """`dfer --help`, by turns with starting Python and NumPy."""
    commands = ((sys.executable, "-c", "import numpy"), (*DFER, "--help"))
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(HELP_RUNS + 1):
        for command, own in zip(commands, seconds, strict=True):
            begun = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if number:
                own.append(time.monotonic() - begun)
    numpy, ours = map(statistics.median, seconds)
    print(f"  dfer --help {ours:.2f} s, Python with NumPy {numpy:.2f} s", flush=True)
    yield Bar("dfer --help by Python with NumPy", ours / numpy, 1 / (0.8 * 0.39), at_most=True)


def first_result(video: Path) -> Callable[[Arithmetic, str], Iterator[Bar]]:
    """`dfer predict` on 2.4 s of a video."""

    def measure(_: Arithmetic, clip: str) -> Iterator[Bar]:
        with tempfile.TemporaryDirectory(prefix="dfer-first-") as folder:
            checkpoint = random_checkpoint(Path(folder) / "checkpoint", clip)
            runs = [predict(checkpoint, video)[0] for _ in range(RUNS + 2)][1:]
        print(f"  {', '.join(f'{one:.2f}' for one in runs)} s", flush=True)
        yield Bar("dfer predict on 2.4 s, seconds", statistics.median(runs), 6.0, at_most=True)

    return measure


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--video", type=Path, help="for the first result, which is skipped without one"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--clip", default="ViT-B-32-quickgelu/random", help="a toy to try this")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[Arithmetic, str], Iterator[Bar]]] = {
        "published": against_published,
        "int8": in_8_bits,
        "epoch": epoch,
        "help": start,
    }
    if options.video is not None:
        parts["first"] = first_result(options.video)
    if unknown := set(options.only) - parts.keys():
        parser.error(f"--only takes {', '.join(parts)}, got {', '.join(sorted(unknown))}")
    begun, machine = time.monotonic(), arithmetic_here()
    print(
        f"{machine.processor}, {machine.threads} threads, torch {machine.torch}; one core "
        f"{machine.float32_gflops:.0f} billion operations a second in float32, "
        f"{machine.bfloat16_gflops:.0f} in bfloat16: auto takes "
        f"{machine_choice(machine.prefers_bfloat16)}",
        flush=True,
    )
    bars: list[Bar] = []
    for name, measure in parts.items():
        if options.only and name not in options.only:
            continue
        print(f"{name} (at {time.monotonic() - begun:.0f} s)", flush=True)
        bars += measure(machine, options.clip)
    for bar in bars:
        asked = (
            ""
            if bar.asked is None
            else f"{'at most' if bar.at_most else 'at least'} {bar.asked:.2f}"
        )
        print(f"{bar.name:40} {bar.value:7.2f}  {asked:14} {'' if bar.holds else 'MISSED'}")
    print(f"{time.monotonic() - begun:.0f} s")
    if options.json:
        told = {bar.name: {"value": bar.value, "asked": bar.asked} for bar in bars}
        options.json.write_text(json.dumps({"machine": vars(machine), "bars": told}, indent=1))
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
