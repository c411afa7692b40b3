"""`dfer bench`: how fast this machine loads, recognises and trains, and what bounds it.

Everything is measured beside the published arithmetic (`bench_reference`), by turns in one run,
with random weights and made-up frames: ratios can be compared between machines, seconds cannot.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from dfercli.config import AugmentConfig, BenchConfig, ModelConfig, OptimConfig, TrainConfig
from dfercli.data.augmentation import draw_augmentation
from dfercli.data.batches import Batch
from dfercli.data.clips import Clip
from dfercli.data.loading import ClipDataset, batch_loader, clip_frames
from dfercli.data.sampling import clip_rng, sample_train
from dfercli.errors import ConfigError
from dfercli.labels import ELEVEN, SEVEN
from dfercli.models.clip_backbone import split_clip_name
from dfercli.models.cost import cost_of
from dfercli.models.dfer_clip import DferClip
from dfercli.models.optimizer import build_optimizer, can_fuse
from dfercli.progress import Progress, Task
from dfercli.stages.bench_machine import describe_machine, peak_memory_mb
from dfercli.stages.bench_reference import PublishedDferClip, published_frames
from dfercli.stages.devices import (
    find_device,
    precision_for_answers,
    precision_for_training,
    require_precision,
)
from dfercli.stages.fit import update_weights
from dfercli.stages.inference import make_fabric
from dfercli.stages.loaded_model import LoadedModel, ready
from dfercli.stages.models_on_disk import new_model

BENCH_SCHEMA = "dfer.bench/1"
MATRIX_SIDE, MATRIX_RUNS = 2048, 20
CLIPS_ON_DISK, FRAMES_ON_DISK, FRAME_PX = 8, 32, 224
SETTINGS = AugmentConfig(brightness=0.5)  # those of DFEW
BACKWARD = 3  # a training step costs about three forward passes


@dataclass(frozen=True)
class Speed:
    """One measurement beside the reference.

    Attributes:
        batch_size: Clips at once.
        precision: Of ours; the reference is in float32.
        seconds: Median time of one batch.
        reference_seconds: The same of the reference.
        share_of_peak: Of the rate at which this machine multiplies large matrices in that
            precision; None where nothing is multiplied.
    """

    batch_size: int
    precision: str
    seconds: float
    reference_seconds: float
    share_of_peak: float | None = None

    @property
    def clips_per_second(self) -> float:
        """Of ours."""
        return self.batch_size / self.seconds

    @property
    def ratio_to_reference(self) -> float:
        """How many times faster than the reference."""
        return self.reference_seconds / self.seconds

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        derived = {
            "clips_per_second": self.clips_per_second,
            "ratio_to_reference": self.ratio_to_reference,
        }
        return {**asdict(self), **derived}


@dataclass(frozen=True)
class BenchResult:
    """What was measured.

    Attributes:
        machine: Processor, cores, threads, versions.
        clip: The backbone.
        peak_gflops: Measured rate of large matrix products, by precision.
        loading: JPEG files to an augmented batch, by one process.
        inference: One per batch size.
        inference_parts: Seconds of the parts of recognising one clip.
        training: One step.
        memory_mb: Most memory that the process (on a GPU: the device) has held.
        bottleneck: What bounds this machine, in words.
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
        """What `dfer bench --json` prints; the first batch size gives inference's own numbers."""
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
        ConfigError: a device, a precision or a size that is not to be had.
        ArtifactError: weights that are missing.
    """
    if not config.batch_sizes or min(config.batch_sizes) < 1:
        raise ConfigError(f"--batch-sizes takes positive numbers, got {config.batch_sizes}")
    split_clip_name(config.clip)  # refuses a wrong name before anything is measured
    place = find_device(config.device)
    require_precision(config.precision, place)
    peak = {
        name: matrix_rate(place, dtype)
        for name, dtype in (("32", torch.float32), ("bf16-mixed", torch.bfloat16))
    }
    loading, training = None, None
    inference: tuple[Speed, ...] = ()
    parts: dict[str, float] = {}
    total = len(config.batch_sizes) * ("inference" in config.parts) + len(
        set(config.parts) - {"inference"}
    )
    with progress.task("Measuring", total=total * (config.runs + 1)) as task:
        if "loading" in config.parts:
            loading = _measure_loading(config, task)
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
        memory_mb=peak_memory_mb(place),
        bottleneck=_bottleneck(loading, inference, parts, training),
    )


def matrix_rate(place: torch.device, dtype: torch.dtype) -> float:
    """Billions of operations per second of large matrix products: the best of several runs."""
    left, right = (torch.rand(MATRIX_SIDE, MATRIX_SIDE, device=place).to(dtype) for _ in range(2))
    (seconds,) = _by_turns([lambda: left @ right], MATRIX_RUNS, place, None, pick=min)
    return 2 * MATRIX_SIDE**3 / seconds / 1e9


def _by_turns(
    works: list[Callable[[], object]],
    runs: int,
    place: torch.device,
    task: Task | None,
    pick: Callable[[list[float]], float] = statistics.median,
) -> list[float]:
    """Median (or what else is picked) seconds of several works, by turns after one to warm up."""
    seconds: list[list[float]] = [[] for _ in works]
    for round_number in range(runs + 1):
        for number, work in enumerate(works):
            begun = time.perf_counter()
            work()
            if place.type == "cuda":
                torch.cuda.synchronize()
            if round_number > 0:
                seconds[number].append(time.perf_counter() - begun)
        if task is not None:
            task.advance()
    return [pick(values) for values in seconds]


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
    precision, _ = precision_for_answers(config.precision, place, restored.module)
    model = ready(restored, "bench", LoadedModel, device=config.device, precision=config.precision)
    reference = PublishedDferClip(other.module.to(place).eval())
    speeds = []
    for batch_size in config.batch_sizes:
        frames = _frames(batch_size, config, model.image_size).to(place)
        floats = frames.float() / 255

        def published(floats: torch.Tensor = floats) -> torch.Tensor:
            with torch.no_grad():
                return reference(floats)

        def ours(frames: torch.Tensor = frames) -> torch.Tensor:
            return model.logits(frames)

        ours_seconds, theirs = _by_turns([ours, published], config.runs, place, task)
        rate = flops * batch_size / ours_seconds / 1e9
        speeds.append(
            Speed(batch_size, precision, ours_seconds, theirs, rate / _peak(peak, precision))
        )
    return tuple(speeds), _parts(restored.module, config, place)


def _parts(module: DferClip, config: BenchConfig, place: torch.device) -> dict[str, float]:
    """Where the time of one clip goes; the class texts cost theirs once."""
    frames = _frames(1, config, module.image_size)[0].to(place)
    with torch.inference_mode():
        features = module.frame_features(frames)[None].float()
        works: dict[str, Callable[[], object]] = {
            "image encoder": lambda: module.frame_features(frames),
            "temporal encoder": lambda: F.normalize(module.temporal(features), dim=-1),
            "class texts, once": module._encode_classes,
        }
        seconds = _by_turns(list(works.values()), config.runs, place, None)
    return dict(zip(works, seconds, strict=True))


def _measure_training(
    config: BenchConfig, place: torch.device, peak: dict[str, float], task: Task
) -> Speed:
    wanted = TrainConfig(
        model=_model_config(config), accelerator=cast(Any, place.type), precision=config.precision
    )
    precision = precision_for_training(wanted)
    fabric = make_fabric(place.type, 1, precision)
    module, other = _new_model(config).module, _new_model(config).module
    flops = cost_of(module).flops_per_clip
    optim = OptimConfig()
    fused = can_fuse(fabric.device, precision)
    model, optimizer = fabric.setup(module, build_optimizer(module, optim, fused=fused))
    model.train()
    reference = PublishedDferClip(other.to(place).train())
    plain = build_optimizer(other, optim)
    frames = _frames(config.train_batch, config, module.image_size).to(place)
    labels = torch.arange(config.train_batch) % len(module.context.tokens)
    batch = Batch(frames, labels, torch.arange(config.train_batch))
    floats, places = frames.float() / 255, labels.to(place)

    def ours() -> None:
        update_weights(fabric, model, module, optimizer, optim, batch)

    def published() -> None:
        plain.zero_grad()
        F.cross_entropy(reference(floats), places).backward()
        plain.step()

    seconds, theirs = _by_turns([ours, published], config.runs, place, task)
    rate = BACKWARD * flops * config.train_batch / seconds / 1e9
    return Speed(config.train_batch, precision, seconds, theirs, rate / _peak(peak, precision))


def _measure_loading(config: BenchConfig, task: Task) -> Speed:
    """JPEG files to one augmented batch, by one process with one thread."""
    size = FRAME_PX
    with tempfile.TemporaryDirectory(prefix="dfer-bench-") as folder:
        clips = _write_clips(Path(folder))
        dataset = ClipDataset(
            clips,
            SEVEN,
            num_frames=config.num_frames,
            image_size=size,
            augmentation=SETTINGS,
            seed=1,
        )
        keys = [[(0, index) for index in range(len(clips))]]

        def ours() -> None:
            for _ in batch_loader(dataset, keys, workers=0):
                pass

        def published() -> None:
            torch.stack([_published_clip(clip, index) for index, clip in enumerate(clips)])

        def _published_clip(clip: Clip, index: int) -> torch.Tensor:
            paths, rng = clip_frames(clip), clip_rng(1, 0, index)
            chosen = sample_train(len(paths), config.num_frames, rng)
            draw = draw_augmentation(size, size, SETTINGS, rng)
            return published_frames([paths[number] for number in chosen], draw, size)

        threads = torch.get_num_threads(), cv2.getNumThreads()
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        try:
            seconds, theirs = _by_turns([ours, published], config.runs, torch.device("cpu"), task)
        finally:
            torch.set_num_threads(threads[0])
            cv2.setNumThreads(threads[1])
    return Speed(len(clips), "uint8", seconds, theirs)


def _write_clips(folder: Path) -> list[Clip]:
    """Clips of smooth pictures with a little noise, about as large as face crops."""
    clips = []
    for number in range(CLIPS_ON_DISK):
        rng = np.random.default_rng(number)
        coarse = rng.integers(40, 216, (14, 14, 3), np.uint8)
        smooth = cv2.resize(coarse, (FRAME_PX, FRAME_PX), interpolation=cv2.INTER_CUBIC)
        place = folder / f"clip-{number}"
        place.mkdir()
        for frame in range(FRAMES_ON_DISK):
            noisy = smooth + rng.normal(0, 3, smooth.shape)
            picture = np.clip(noisy, 0, 255).astype(np.uint8)
            quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
            cv2.imwrite(str(place / f"{frame:06d}.jpg"), picture, quality)
        clips.append(Clip(place.name, place, SEVEN[0]))
    return clips


def _peak(peak: dict[str, float], precision: str) -> float:
    return peak["32" if precision == "32" else "bf16-mixed"]


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
