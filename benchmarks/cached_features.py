"""Seconds of a training epoch on cached features, beside the same training on frames.

Needs no data: ViT-B/32 with random weights, clips of smooth noise as JPEG files of 224 px. Both
trainings have a frozen image encoder, no augmentation, the same draws and losses. Prints

- the median seconds of an epoch's steps on frames and on cached features (from the second epoch
  on), and their ratio;
- the cost of the cache, paid once: reading, hashing and encoding every frame;
- the cost of saving the whole model at the end of an epoch, in both;
- the time of a step on features, part by part.

    python benchmarks/cached_features.py
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.face_store import STORE_SCHEMA, ClipRow
from dfercli.artifacts.jsonl import write_rows
from dfercli.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, TrainConfig
from dfercli.inference.restore import new_model
from dfercli.labels import SEVEN
from dfercli.models.dfer_clip import DferClip
from dfercli.models.optimizer import build_optimizer
from dfercli.training.run import run

SIDE = 224


class Clock:
    """A progress that records when steps and epochs end."""

    def __init__(self) -> None:
        self.tasks: dict[str, float] = {}
        self.steps: list[float] = []
        self.ends: list[float] = []
        self.epochs: list[float] = []
        self._last = 0.0

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator["Clock"]:
        """Time one piece of work."""
        self._last = began = time.perf_counter()
        self._in_training = description == "training"
        yield self
        self.tasks[description] = time.perf_counter() - began

    def advance(self, steps: float = 1) -> None:
        """Record the end of a step; the first one of an epoch includes the save before it."""
        now = time.perf_counter()
        if self._in_training and steps:
            self.steps.append(now - self._last)
            self._last = now

    def status(self, **values: float | int | str) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def info(self, message: str) -> None:
        """Show the size of the cache."""
        if message.startswith("cached features"):
            print(f"  {message.partition(' in ')[0]}")


def write_store(folder: Path, clips: int, frames: int) -> None:
    """Write a face store of clips of smooth noise, in seven classes."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(clips):
        clip_id = f"clip-{number:04d}"
        place = folder / "frames" / clip_id
        place.mkdir(parents=True)
        for frame in range(frames):
            noise = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3)).astype(np.uint8)
            image = cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(place / f"{frame:06d}.jpg"), image)
        label, seconds = SEVEN[number % len(SEVEN)], frames / 25
        rows.append(
            ClipRow(clip_id, "noise", 0, label, None, frames, 25.0, 0.0, seconds, "haar").to_row()
        )
    write_rows(folder / "clips.jsonl", rows)
    content = {"schema": STORE_SCHEMA, "label_set": list(SEVEN), "settings": {}}
    write_json(folder / "dataset.json", content)


def trained(config: TrainConfig, steps_per_epoch: int) -> tuple[list[float], Clock]:
    """Train; return each epoch's seconds of steps without its first, scaled to all steps."""
    clock = Clock()
    run(config, clock)
    epochs = np.array(clock.steps).reshape(-1, steps_per_epoch)
    return [float(np.mean(steps[1:]) * steps_per_epoch) for steps in epochs], clock


def median_seconds(work: Callable[[], object], times: int = 7) -> float:
    """Median of several runs without the first."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def parts_of_a_step(config: TrainConfig, batch: int) -> dict[str, float]:
    """Seconds of the parts of a training step on features."""
    module = new_model(config.model, SEVEN, seed=1).module
    assert isinstance(module, DferClip)
    optimizer = build_optimizer(module, config.optim)
    width = module.temporal.class_token.shape[-1]
    features = torch.randn(batch, config.model.num_frames, width)

    def texts(*, backward: bool) -> None:
        encoded = module.text_features()
        if backward:
            encoded.sum().backward()

    def temporal() -> None:
        module.video_features(features).sum().backward()

    temporal()
    return {
        "texts forward": median_seconds(lambda: texts(backward=False)),
        "texts forward and backward": median_seconds(lambda: texts(backward=True)),
        "temporal encoder forward and backward": median_seconds(temporal),
        "optimiser": median_seconds(optimizer.step),
    }


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="ViT-B-32-quickgelu/random")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--frames", type=int, default=16, help="frames of each clip on disk")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=6, help="on features; on frames always 2")
    arguments = parser.parse_args()
    batch = arguments.batch_size
    steps = arguments.clips // batch
    if steps < 2:
        parser.error("--clips must fill two batches or more")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, load {load:.1f} before")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "faces"
        write_store(store, arguments.clips, arguments.frames)
        config = TrainConfig(
            dataset=str(store),
            out=Path(folder) / "runs",
            name="frames",
            select="last",
            data=DataConfig(workers=1),
            model=ModelConfig(clip=arguments.clip, freeze_image=True),
            optim=OptimConfig(batch_size=batch, epochs=2),
            augment=AugmentConfig(crop_scale=1.0, flip=0.0),
        )
        on_frames, clock = trained(config, steps)
        frames_epoch = statistics.median(on_frames)
        print(f"on frames: {frames_epoch:.2f} s per epoch of {steps} steps of {batch} clips")
        caching = replace(
            config,
            name="features",
            cache_features=True,
            features_in=Path(folder) / "features",
            optim=replace(config.optim, epochs=arguments.epochs),
        )
        on_features, clock = trained(caching, steps)
        features_epoch = statistics.median(on_features[1:])
        ratio = frames_epoch / features_epoch
        print(
            f"on features: {features_epoch:.2f} s per epoch from the second on: {ratio:.1f} times"
        )
        encoding, reading = clock.tasks["encoding frames"], clock.tasks["reading frames"]
        print(
            f"once: {encoding:.1f} s to encode {arguments.frames} frames of each clip; at each "
            f"start: {1000 * reading / arguments.clips:.1f} ms per clip to read and hash them"
        )
        firsts = np.array(clock.steps).reshape(-1, steps)[1:, 0]
        saving = statistics.median(firsts) - features_epoch / steps
        print(f"at the end of each epoch, in both: {saving:.2f} s to save the model")
        for name, seconds in parts_of_a_step(caching, batch).items():
            print(f"  {name}: {1000 * seconds:.0f} ms of {1000 * features_epoch / steps:.0f} ms")


if __name__ == "__main__":
    main()
