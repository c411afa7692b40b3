"""The state of a training and how it is saved: checkpoints, links and rows of metrics."""

import signal
from contextlib import AbstractContextManager, nullcontext
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
from dfercli.inference.fsdp import full_state_dict
from dfercli.inference.restore import checkpoint_weights
from dfercli.models.method import Method
from dfercli.processes import SAVING, StopSignals
from dfercli.progress import Progress
from dfercli.training.averaged_weights import AveragedWeights
from dfercli.training.fold_data import FoldData
from dfercli.training.run_records import SELECTION_VALUES

EPOCH_SCHEMA = "dfer.epoch/1"


class EpochRow(TypedDict):
    """The checked fields of a row of `metrics.jsonl`; others are kept as they are."""

    schema: str
    epoch: int


@dataclass(frozen=True)
class Position:
    """How far training has come; with weights and optimiser, everything a resume needs.

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
    """Everything the training loop needs.

    Attributes:
        fabric: The engine.
        module: The bare model, for its weights.
        model: The same, set up by `fabric`.
        optimizer: Set up by `fabric`.
        data: The clips.
        config: The settings as used.
        folder: The folder of the fold.
        card: The content of model.json, without the selection.
        progress: Where to report.
        logger: Where epochs are logged, besides metrics.jsonl.
        signals: A stop that these hold back ends the loop once its work is saved.
        averaged: The moving average of the weights, which is measured and saved as the model.
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
    averaged: AveragedWeights | None = None

    def measured_weights(self) -> AbstractContextManager[None]:
        """Within this, the model has the weights that are measured and saved."""
        return nullcontext() if self.averaged is None else self.averaged.in_place()


def save_as_asked(training: Training, position: Position) -> None:
    """Save because all processes agreed to, unless nothing is done yet, and say so."""
    if position == Position():
        return
    save(training, position)
    name = signal.Signals(training.signals.agreed.stop or SAVING).name
    step = f", step {position.step} of the next" if position.step else ""
    training.progress.note(f"{name}: saved after epoch {position.epoch}{step}")


def save(training: Training, position: Position, *, is_best: bool = False) -> None:
    """Write a checkpoint unless it exists, then move `last` (and `best`) to it."""
    weights, optimizer = full_state_dict(training.model, training.module, training.optimizer)
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
        if training.averaged is not None:
            averages = training.averaged.averages()
            state["weights"] = {name: weights[name] for name in averages}
            weights = {**weights, **averages}
        held = checkpoint_weights(weights, training.module, card)
        save_checkpoint(checkpoint, held, card.to_json(), state)
        if is_best:
            training.folder.point(training.folder.best, checkpoint)
        training.folder.point(training.folder.last, checkpoint)
    training.fabric.barrier()


def forget_rows_after(folder: FoldFolder, epoch: int) -> None:
    """Remove the rows of epochs that will run again."""
    if folder.metrics.is_file():
        rows = list(
            read_typed_rows(folder.metrics, EpochRow, schema=EPOCH_SCHEMA, allow_torn_end=True)
        )
        write_rows(folder.metrics, [dict(row) for row in rows if row["epoch"] <= epoch])
