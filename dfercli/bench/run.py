"""`dfer bench`: how fast this machine loads, recognises and trains, and what limits it.

Everything is compared with the published arithmetic (`bench_reference`), alternating in one run,
with random weights and made-up frames: ratios can be compared between machines, seconds cannot.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F

from dfercli.bench.loading import measure_loading
from dfercli.bench.machine import describe_machine, matrix_rate, peak_memory_mb, whole_float32
from dfercli.bench.reference import PublishedDferClip
from dfercli.bench.speed import Speed, by_turns
from dfercli.config import BenchConfig, ModelConfig, OptimConfig, Precision, TrainConfig
from dfercli.data.batches import Batch
from dfercli.errors import ConfigError
from dfercli.inference.devices import (
    precision_for_answers,
    precision_for_training,
    require_precision,
    resolve_device,
)
from dfercli.inference.fabric import make_fabric
from dfercli.inference.loaded_model import ready
from dfercli.inference.restore import new_model
from dfercli.labels import ELEVEN, SEVEN
from dfercli.models.clip_backbone import split_clip_name
from dfercli.models.cost import cost_of
from dfercli.models.dfer_clip import DferClip
from dfercli.models.optimizer import build_optimizer
from dfercli.progress import Progress, Task
from dfercli.training.step import set_up_training, update_weights

BENCH_SCHEMA = "dfer.bench/1"
TRAIN_BATCH = {"cuda": 48}  # of DFER-CLIP; elsewhere few, as a step would take minutes
FEW_CLIPS = 4
BACKWARD = 3  # a training step costs about three forward passes


@dataclass(frozen=True)
class BenchResult:
    """The measurements.

    Attributes:
        machine: Processor, cores, threads, versions.
        clip: The backbone.
        peak_gflops: Measured rate of large matrix products, by precision.
        loading: JPEG files to an augmented batch, by one process.
        inference: One per batch size.
        inference_parts: Seconds of the parts of recognising one clip.
        training: One step.
        memory_mb: Most memory that the process (on a GPU: the device) held with only ours.
        bottleneck: The limit of this machine, as text.
    """

    machine: dict[str, Any]
    clip: str
    peak_gflops: dict[str, float]
    loading: Speed | None
    inference: tuple[Speed, ...]
    inference_parts: dict[str, float]
    training: Speed | None
    memory_mb: float
    bottleneck: str

    def to_json(self) -> dict[str, Any]:
        """The output of `dfer bench --json`; the first batch size gives inference's own numbers."""
        table: dict[str, Any] = {
            "schema": BENCH_SCHEMA,
            "machine": self.machine,
            "clip": self.clip,
            "peak_gflops": self.peak_gflops,
            "memory_mb": self.memory_mb,
            "bottleneck": self.bottleneck,
        }
        if self.loading is not None:
            table["loading"] = self.loading.to_json()
        if self.inference:
            batches = [speed.to_json() for speed in self.inference]
            table["inference"] = {**batches[0], "batches": batches, "parts": self.inference_parts}
        if self.training is not None:
            table["training"] = self.training.to_json()
        return table


def run(config: BenchConfig, progress: Progress) -> BenchResult:
    """Measure.

    Raises:
        ConfigError: a device, a precision or a size that is not available.
        ArtifactError: weights that are missing.
    """
    if not config.batch_sizes or min(config.batch_sizes) < 1:
        raise ConfigError(f"--batch-sizes takes positive numbers, got {config.batch_sizes}")
    if config.precision == "int8" and "training" in config.parts:
        raise ConfigError("nothing is trained in int8", hint="--only inference")
    split_clip_name(config.clip)  # refuses a wrong name before measuring
    place = resolve_device(config.device)
    require_precision(config.precision, place)
    peak = {
        name: matrix_rate(place, dtype) / 1e9
        for name, dtype in (("32", torch.float32), ("bf16-mixed", torch.bfloat16))
    }
    memory_mb = _memory_of_ours(config, place)
    loading, training = None, None
    inference: tuple[Speed, ...] = ()
    parts: dict[str, float] = {}
    total = len(config.batch_sizes) * ("inference" in config.parts) + len(
        set(config.parts) - {"inference"}
    )
    with progress.task("Measuring", total=total * (config.runs + 1)) as task:
        if "loading" in config.parts:
            loading = measure_loading(config, place, task)
        if "inference" in config.parts:
            inference, parts = _measure_inference(config, place, peak, task)
        if "training" in config.parts:
            training = _measure_training(config, place, peak, task)
    return BenchResult(
        describe_machine(place),
        config.clip,
        peak,
        loading,
        inference,
        parts,
        training,
        memory_mb=memory_mb,
        bottleneck=_bottleneck(loading, inference, parts, training),
    )


def _new_model(config: BenchConfig) -> Any:
    labels = SEVEN if config.classes == "7" else ELEVEN
    return new_model(_model_config(config), labels, seed=1)


def _model_config(config: BenchConfig) -> ModelConfig:
    return ModelConfig(clip=config.clip, num_frames=config.num_frames)


def _frames(clips: int, config: BenchConfig, size: int) -> torch.Tensor:
    shape = (clips, config.num_frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def _measure_inference(
    config: BenchConfig, place: torch.device, peak: dict[str, float], task: Task
) -> tuple[tuple[Speed, ...], dict[str, float]]:
    restored, other = _new_model(config), _new_model(config)
    flops = cost_of(restored.module).flops_per_clip
    precision, mixed = precision_for_answers(config.precision, place, restored.module)
    model = ready(restored, "bench", device=config.device, precision=config.precision)
    reference = PublishedDferClip(other.module.to(place).eval())
    speeds = []
    for batch_size in config.batch_sizes:
        frames = _frames(batch_size, config, model.image_size).to(place)
        floats = frames.float() / 255

        def published(floats: torch.Tensor = floats) -> torch.Tensor:
            with torch.no_grad(), whole_float32():
                logits: torch.Tensor = reference(floats)
                return logits

        def ours(frames: torch.Tensor = frames) -> torch.Tensor:
            return model.logits(frames)

        ours_seconds, theirs = by_turns([ours, published], config.runs, place, task)
        rate = flops * batch_size / ours_seconds / 1e9
        speeds.append(
            Speed(batch_size, precision, ours_seconds, theirs, rate / _peak(peak, precision))
        )
    with torch.autocast(place.type, mixed, enabled=precision not in ("32", "int8")):
        return tuple(speeds), _parts(restored.module, config, place)


def _parts(module: DferClip, config: BenchConfig, place: torch.device) -> dict[str, float]:
    """How the time of one clip is spent; class texts are encoded only once."""
    frames = _frames(1, config, module.image_size)[0].to(place)
    with torch.inference_mode():
        features = module.frame_features(frames)[None].float()
        works: dict[str, Callable[[], object]] = {
            "image encoder": lambda: module.frame_features(frames),
            "temporal encoder": lambda: F.normalize(module.temporal(features), dim=-1),
            "class texts, once": module.encode_classes,
        }
        seconds = by_turns(list(works.values()), config.runs, place, None)
    return dict(zip(works, seconds, strict=True))


def _trainer(config: BenchConfig, place: torch.device) -> tuple[Callable[[], object], str, float]:
    """A training step as `dfer train` does it, its precision, and the FLOPs of a forward pass."""
    wanted = TrainConfig(
        model=_model_config(config),
        accelerator=cast(Any, place.type),
        precision=cast(Precision, config.precision),  # int8 was refused
    )
    precision = precision_for_training(wanted)
    devices = 1 if place.index is None else [place.index]
    fabric = make_fabric(place.type, devices, precision)
    module, optim = _new_model(config).module, OptimConfig()
    batch_size = _train_batch(config, place)
    flops = cost_of(module).flops_per_clip * batch_size
    model, optimizer = set_up_training(fabric, module, optim, precision)
    model.train()
    labels = torch.arange(batch_size) % len(module.context.tokens)
    frames = _frames(batch_size, config, module.image_size)
    batch = Batch(frames, labels, torch.arange(batch_size)).to(place)
    return lambda: update_weights(fabric, model, module, optimizer, optim, batch), precision, flops


def _train_batch(config: BenchConfig, place: torch.device) -> int:
    return config.train_batch or TRAIN_BATCH.get(place.type, FEW_CLIPS)


def _memory_of_ours(config: BenchConfig, place: torch.device) -> float:
    """The peak memory of our model, before a reference is built."""
    if "inference" in config.parts:
        model = ready(
            _new_model(config),
            "bench",
            device=config.device,
            precision=config.precision,
        )
        model.logits(_frames(max(config.batch_sizes), config, model.image_size))
        del model
    if "training" in config.parts:
        step, _, _ = _trainer(config, place)
        step()
    return peak_memory_mb(place)


def _measure_training(
    config: BenchConfig, place: torch.device, peak: dict[str, float], task: Task
) -> Speed:
    ours, precision, flops = _trainer(config, place)
    batch_size, other = _train_batch(config, place), _new_model(config).module
    reference = PublishedDferClip(other.to(place).train())
    plain = build_optimizer(other, OptimConfig())
    labels = (torch.arange(batch_size) % len(other.context.tokens)).to(place)
    floats = _frames(batch_size, config, other.image_size).to(place).float() / 255

    def published() -> None:
        with whole_float32():
            plain.zero_grad()
            F.cross_entropy(reference(floats), labels).backward()
            plain.step()

    seconds, theirs = by_turns([ours, published], config.runs, place, task)
    rate = BACKWARD * flops / seconds / 1e9
    return Speed(batch_size, precision, seconds, theirs, rate / _peak(peak, precision))


def _peak(peak: dict[str, float], precision: str) -> float:
    return peak["32" if precision in ("32", "int8") else "bf16-mixed"]


def _bottleneck(
    loading: Speed | None,
    inference: tuple[Speed, ...],
    parts: dict[str, float],
    training: Speed | None,
) -> str:
    said = []
    if inference:
        most = max((name for name in parts if "once" not in name), key=parts.__getitem__)
        share = parts[most] / sum(parts[name] for name in parts if "once" not in name)
        said.append(f"recognising: the {most}, {share:.0%} of the time of a clip")
    if training is not None and loading is not None:
        needed = training.clips_per_second / loading.clips_per_second
        if needed < 1:
            said.append(
                f"training: the model; one loading process is busy {needed:.0%} of the time"
            )
        else:
            said.append(f"training: loading, unless {np.ceil(needed):.0f} processes do it")
    return "; ".join(said) or "not measured: it takes inference, or loading and training"
