"""How far training has come, and how that is kept: checkpoints, links and rows of metrics."""

import signal
from dataclasses import asdict, dataclass, field, replace
from typing import TypedDict

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import Logger
from torch import nn

from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.artifacts.jsonl import read_typed_rows, write_rows
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.config import TrainConfig
from dfercli.inference.fsdp import whole_state
from dfercli.inference.restore import checkpoint_weights
from dfercli.models.method import Method
from dfercli.processes import SAVING, StopSignals
from dfercli.progress import Progress
from dfercli.training.fold_data import FoldData
from dfercli.training.run_records import SELECTION_VALUES

EPOCH_SCHEMA = "dfer.epoch/1"


class EpochRow(TypedDict):
    """What is asked of a row of `metrics.jsonl`; the rest is kept as it is."""

    schema: str
    epoch: int


@dataclass(frozen=True)
class Position:
    """How far training has come; with the weights and the optimiser, all that a resume needs.

    Attributes:
        epoch: Epochs done.
        step: Steps done in the current epoch.
        loss_sum: Sum of the losses of the clips of this epoch so far.
        num_right: How many of them were recognised.
        best_value: Best value of the selection so far; -1 before the first.
        best_epoch: Its epoch, counted from 1.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    num_right: int = 0
    best_value: float = -1.0
    best_epoch: int = 0


@dataclass(frozen=True)
class Training:
    """What the loop works on.

    Attributes:
        fabric: The engine.
        module: The bare model, for its weights.
        model: The same, set up by `fabric`.
        optimizer: Set up by `fabric`.
        data: The clips.
        config: The settings, with the batch size that is really used.
        folder: Where the fold is written.
        card: What goes into model.json, but for the selection.
        progress: Where to report.
        logger: Where epochs are logged to besides metrics.jsonl.
        signals: A stop that these hold back ends the loop once its work is saved.
    """

    fabric: Fabric
    module: Method
    model: nn.Module
    optimizer: torch.optim.Optimizer
    data: FoldData
    config: TrainConfig
    folder: FoldFolder
    card: ModelCard
    progress: Progress
    logger: Logger | None = None
    signals: StopSignals = field(default_factory=StopSignals)


def save_as_asked(training: Training, position: Position) -> None:
    """Save where all processes agreed to, unless nothing is done yet; and say so."""
    if position == Position():
        return
    save(training, position)
    name = signal.Signals(training.signals.agreed.stop or SAVING).name
    step = f", step {position.step} of the next" if position.step else ""
    training.progress.note(f"{name}: saved after epoch {position.epoch}{step}")


def save(training: Training, position: Position, *, is_best: bool = False) -> None:
    """Write a checkpoint, then move `last` (and `best`) to it; one that is there stays."""
    weights, optimizer = whole_state(training.model, training.module, training.optimizer)
    name = f"epoch-{position.epoch:04d}-step-{position.step:06d}"
    if training.fabric.is_global_zero and training.folder.last_name != name:
        checkpoint = training.folder.checkpoints / name
        best = f"{training.data.held_out_name} {SELECTION_VALUES[training.config.select_by]}"
        selected = best if is_best else "last epoch"
        card = replace(training.card, selected_on=f"{selected} (epoch {position.epoch})")
        state = {
            "position": asdict(position),
            "optimizer": optimizer,
            "precision": training.fabric.strategy.precision.state_dict(),
        }
        held = checkpoint_weights(weights, training.module, card)
        save_checkpoint(checkpoint, held, card.to_json(), state)
        if is_best:
            training.folder.point(training.folder.best, checkpoint)
        training.folder.point(training.folder.last, checkpoint)
    training.fabric.barrier()


def forget_rows_after(folder: FoldFolder, epoch: int) -> None:
    """Drop the rows of epochs that will be run again."""
    if folder.metrics.is_file():
        rows = list(
            read_typed_rows(folder.metrics, EpochRow, schema=EPOCH_SCHEMA, allow_torn_end=True)
        )
        write_rows(folder.metrics, [dict(row) for row in rows if row["epoch"] <= epoch])
