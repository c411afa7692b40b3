"""Training steps on a GPU against the published arithmetic and against the GPU's peak rate.

Random weights and made-up frames: it needs only PyTorch and this project. The reference gets its
frames on the device as float32; ours gets raw uint8 frames in pinned memory, which are copied to
and augmented on the device in another stream while the previous step runs. Prints the median of
the windows after warm-up; a batch that does not fit is split into pieces.

    python benchmarks/gpu_training.py --json gpu.json
    python benchmarks/gpu_training.py --device cpu --clip tiny-vit/random --batch-size 2 --steps 2
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dfercli.bench.machine import matrix_rate, wait_for
from dfercli.bench.reference import PublishedDferClip
from dfercli.config import AugmentConfig, ModelConfig, OptimConfig
from dfercli.data.augmentation import draw_augmentation
from dfercli.data.batches import Batch, prefetch_to_device
from dfercli.data.device_augmentation import RawClips
from dfercli.inference.devices import set_float32
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.models.cost import flop_counter
from dfercli.models.dfer_clip import DferClip
from dfercli.models.optimizer import build_optimizer

CLIPS = ("ViT-B-32-quickgelu/random", "ViT-B-16-quickgelu/random")
GOAL_RATIO, GOAL_SHARE = 6.0, 0.45
WARM_UP_STEPS = 3
MOST_PIECES = 16

Step = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Variant:
    """A way to train: what it adds to plain float32."""

    name: str
    bf16: bool = True
    fused: bool = True
    channels_last: bool = False
    compile: bool = False


REFERENCE = Variant("published arithmetic, fp32", bf16=False, fused=False)
BY_DEFAULT = Variant("ours, bf16 + fused + channels last (`dfer train`)", channels_last=True)
OURS = (
    Variant("ours, fp32", bf16=False),
    Variant("ours, bf16", fused=False),
    Variant("ours, bf16 + fused"),
    BY_DEFAULT,
    Variant("ours, bf16 + fused + compile", compile=True),
    Variant("ours, bf16 + fused + channels last + compile", channels_last=True, compile=True),
)


@dataclass(frozen=True)
class Row:
    """The cost of one variant.

    Attributes:
        clip: The backbone.
        variant: Its name.
        step_seconds: Median over the windows.
        windows_seconds: Seconds per step of each window.
        clips_per_second: At the median.
        ratio_to_reference: Clips per second over those of the reference.
        flops_per_step: Counted on the model; a multiplication with an addition counts as two.
        share_of_bf16: Share of the measured rate of large bf16 matrix products.
        peak_gb: Peak of allocated memory; None on a CPU.
        first_step_seconds: The first step, compilation included.
        pieces: Number of parts into which a batch was split.
    """

    clip: str
    variant: str
    step_seconds: float
    windows_seconds: tuple[float, ...]
    clips_per_second: float
    ratio_to_reference: float
    flops_per_step: int
    share_of_bf16: float
    peak_gb: float | None
    first_step_seconds: float
    pieces: int


@dataclass(frozen=True)
class Setting:
    """Sizes of the run."""

    device: torch.device
    batch_size: int
    frames: int
    steps: int
    windows: int


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[None]:
    """Mixed precision, or float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, variant: Variant, pieces: int
) -> Step:
    """One update of the weights with a batch."""

    def step(frames: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        for part, own in zip(frames.chunk(pieces), labels.chunk(pieces), strict=True):
            with autocast(frames.device, variant.bf16):
                loss = functional.cross_entropy(model(part).float(), own)
            (loss * len(own) / len(labels)).backward()
        optimizer.step()

    return step


def reference_batches(setting: Setting, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same float32 batch on the device, repeated."""
    shape = (setting.batch_size, setting.frames, 3, size, size)
    frames = torch.rand(shape, device=setting.device)
    labels = torch.arange(setting.batch_size, device=setting.device) % len(SEVEN)
    while True:
        yield frames, labels


def our_batches(setting: Setting, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Raw batches as reading processes deliver them, moved to the device as in `dfer train`."""
    rng = np.random.default_rng(0)
    shape = torch.Size([setting.frames, size, size, 3])
    count = setting.batch_size
    pixels = [torch.randint(0, 256, (count * shape.numel(),), dtype=torch.uint8) for _ in range(2)]
    if setting.device.type == "cuda":
        pixels = [own.pin_memory() for own in pixels]
    labels, clips = torch.arange(count) % len(SEVEN), torch.arange(count)

    def raw() -> Iterator[Batch]:
        for own in itertools.cycle(pixels):
            draws = [draw_augmentation(size, size, AugmentConfig(), rng) for _ in range(count)]
            frames = RawClips(own, (shape,) * count, tuple(draws), size)
            yield Batch(frames, labels, clips)

    for batch in prefetch_to_device(raw(), setting.device):
        yield batch.inputs(setting.device)["frames"], batch.labels


def flops_of(model: nn.Module, setting: Setting, size: int) -> int:
    """Floating-point operations of a training step, derived from steps of one and two clips.

    Fused attention computes its scores twice, and this counts both: 0.7 % of ViT-B/16.
    """
    counts = []
    for clips in (1, 2):
        frames = torch.zeros(
            clips, setting.frames, 3, size, size, dtype=torch.uint8, device=setting.device
        )
        with flop_counter() as counter, autocast(setting.device, True):
            model(frames).float().sum().backward()
        counts.append(counter.get_total_flops())
    model.zero_grad(set_to_none=True)
    per_clip = counts[1] - counts[0]
    return counts[0] + (setting.batch_size - 1) * per_clip


def build(clip: str, frames: int, device: torch.device) -> DferClip:
    """DFER-CLIP with random weights, and the class texts of DFEW."""
    config = ModelConfig(clip=clip, num_frames=frames)
    return cast(DferClip, new_model(config, SEVEN, seed=0).module).to(device).train()


def timed(
    step: Step, batches: Iterator[tuple[Tensor, Tensor]], setting: Setting
) -> tuple[float, list[float]]:
    """Seconds of the first step, and seconds per step of each window."""
    begun = time.perf_counter()
    step(*next(batches))
    wait_for(setting.device)
    first = time.perf_counter() - begun
    for _ in range(WARM_UP_STEPS):
        step(*next(batches))
    windows = []
    for _ in range(setting.windows):
        wait_for(setting.device)
        begun = time.perf_counter()
        for _ in range(setting.steps):
            step(*next(batches))
        wait_for(setting.device)
        windows.append((time.perf_counter() - begun) / setting.steps)
    return first, windows


def measure(
    variant: Variant, clip: str, setting: Setting, rate: float, reference: float | None
) -> Row:
    """Train with one variant; `reference` is the reference's clips per second."""
    device, is_reference = setting.device, variant is REFERENCE
    if device.type == "cuda":
        set_float32(exact=not variant.bf16)
    model = build(clip, setting.frames, device)
    size, flops = model.image_size, flops_of(model, setting, model.image_size)
    trained: nn.Module = PublishedDferClip(model) if is_reference else model
    fused = variant.fused and device.type == "cuda"
    optimizer = build_optimizer(model, OptimConfig(), fused=fused)
    if variant.channels_last:
        model.clip.visual.conv1.to(memory_format=torch.channels_last)
    if variant.compile:
        trained = cast(nn.Module, torch.compile(trained))
    pieces = 1
    while True:
        batches = (reference_batches if is_reference else our_batches)(setting, size)
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        try:
            step = training_step(trained, optimizer, variant, pieces)
            first, windows = timed(step, batches, setting)
            break
        except torch.OutOfMemoryError:
            if pieces >= min(MOST_PIECES, setting.batch_size):
                raise
        pieces *= 2
    seconds = statistics.median(windows)
    speed = setting.batch_size / seconds
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return Row(
        clip=clip,
        variant=variant.name,
        step_seconds=seconds,
        windows_seconds=tuple(windows),
        clips_per_second=speed,
        ratio_to_reference=speed / reference if reference else 1.0,
        flops_per_step=flops,
        share_of_bf16=flops / seconds / rate,
        peak_gb=peak,
        first_step_seconds=first,
        pieces=pieces,
    )


def print_rows(rows: list[Row]) -> None:
    """Print as Markdown."""
    heads = ("ms per step", "clips/s", "x reference", "% of bf16", "peak GB", "first step s")
    print(f"| backbone | variant | {' | '.join(heads)} | pieces |")
    print("|---|---|" + "---:|" * (len(heads) + 1))
    for row in rows:
        cells = (
            f"{1000 * row.step_seconds:.1f}",
            f"{row.clips_per_second:.1f}",
            f"{row.ratio_to_reference:.2f}",
            f"{100 * row.share_of_bf16:.1f}",
            "-" if row.peak_gb is None else f"{row.peak_gb:.1f}",
            f"{row.first_step_seconds:.1f}",
        )
        print(f"| {row.clip} | {row.variant} | {' | '.join(cells)} | {row.pieces} |", flush=True)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--clip", nargs="+", default=list(CLIPS))
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5, help="steps per window")
    parser.add_argument("--windows", type=int, default=7, help="at least 5 for a median")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="by default on CUDA only"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    setting = Setting(device, options.batch_size, options.frames, options.steps, options.windows)
    compiles = device.type == "cuda" if options.compile is None else options.compile
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rate = matrix_rate(device, torch.bfloat16)
    print(
        f"{name}, PyTorch {torch.__version__}; batch {setting.batch_size} x {setting.frames} "
        f"frames; bf16 matrix products {rate / 1e12:.2f} TFLOP/s\n"
    )
    rows: list[Row] = []
    for clip in options.clip:
        reference = measure(REFERENCE, clip, setting, rate, None)
        rows.append(reference)
        for variant in OURS:
            if compiles or not variant.compile:
                rows.append(measure(variant, clip, setting, rate, reference.clips_per_second))
    print_rows(rows)
    for clip in options.clip:
        own = [row for row in rows if row.clip == clip]
        plain = next(row for row in own if row.variant == BY_DEFAULT.name)
        best = max(own, key=lambda row: row.clips_per_second)
        print(f"\n{clip} (goals {GOAL_RATIO:g} at batch 48; {GOAL_SHARE:.0%} for ViT-B/16):")
        for kind, row in (("by default", plain), ("at best", best)):
            print(
                f"  {kind} {row.ratio_to_reference:.2f} times the reference, "
                f"{row.share_of_bf16:.0%} of the bf16 rate: {row.variant}"
            )
    if options.json:
        measured = {"device": name, "torch": torch.__version__, "bf16_flops_per_second": rate}
        sizes = {"batch_size": setting.batch_size, "frames": setting.frames}
        found = {**measured, **sizes, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(found, indent=1))
    return rows


if __name__ == "__main__":
    main()
