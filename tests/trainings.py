"""Small trainings for tests: settings, a progress that interrupts, and a look at the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dfercli.artifacts.checkpoint import read_weights
from dfercli.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, TrainConfig

# In place of the `vision_cfg` of a tiny CLIP: quick to compile, and without batch normalisation.
TOWER = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
MODEL = ModelConfig(clip="tiny/random", num_frames=3, context_tokens=2)
OPTIM = OptimConfig(
    optimizer="adamw", epochs=3, batch_size=4, lr_temporal=1e-3, lr_image=1e-3, lr_context=1e-3
)
OPTIONS = (
    *("--clip", "tiny/random", "--accelerator", "cpu", "--workers", "0", "--epochs", "2"),
    *("--batch-size", "4", "--set", "model.num_frames=3", "--set", "model.context_tokens=2"),
    *("--test-share", "0"),
)


def small_config(dataset: Path | str, out: Path, **changes: Any) -> TrainConfig:
    """A training of a few seconds; `changes` are fields of `TrainConfig`."""
    config = TrainConfig(
        dataset=str(dataset),
        out=out,
        name="run",
        accelerator="cpu",
        model=MODEL,
        optim=OPTIM,
        augment=AugmentConfig(crop_scale=0.5),
        data=DataConfig(workers=0, validation=0.25, test_share=0.0),
    )
    return replace(config, **changes)


def last_weights(run: Path, fold: int = 1) -> dict[str, Tensor]:
    """The weights of the last checkpoint of a run."""
    return read_weights(run / f"fold-{fold}" / "checkpoints" / "last")


class Interrupting:
    """A progress that presses Ctrl-C after so many training steps; notes are kept."""

    def __init__(self, after_steps: int) -> None:
        self.steps_left = after_steps
        self.notes: list[str] = []

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator["_Steps"]:
        yield _Steps(self, counts=description == "training")

    def note(self, message: str) -> None:
        self.notes.append(message)

    def info(self, message: str) -> None:
        pass


class _Steps:
    def __init__(self, progress: Interrupting, counts: bool) -> None:
        self.progress = progress
        self.counts = counts

    def advance(self, steps: float = 1) -> None:
        if self.counts and steps:
            self.progress.steps_left -= int(steps)
            if self.progress.steps_left == 0:
                raise KeyboardInterrupt

    def status(self, **values: float | int | str) -> None:
        pass
