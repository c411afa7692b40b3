"""The training loop of one fold: resumable at any step, the same in any number of processes."""

import math
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypedDict, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import Logger
from torch import Tensor, nn

from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.artifacts.jsonl import append_row, read_typed_rows, write_rows
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.config import OptimConfig, Precision, TrainConfig
from dfercli.data.batches import Batch, moved_ahead
from dfercli.data.loading import TrainingBatches, batch_loader
from dfercli.errors import ConfigError
from dfercli.inference.collectives import all_reduce, read_together
from dfercli.inference.fsdp import whole_state
from dfercli.inference.predict_logits import num_readers, predict_logits
from dfercli.inference.restore import checkpoint_weights
from dfercli.metrics.rates import war_and_uar
from dfercli.models.method import Method
from dfercli.models.optimizer import build_optimizer, can_fuse, lr_factor, set_learning_rates
from dfercli.processes import SAVING, Stopped, StopSignals
from dfercli.progress import Progress, Task
from dfercli.training.epoch_logger import log_epoch
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


def set_up_training(
    fabric: Fabric,
    module: Method,
    optim: OptimConfig,
    precision: Precision,
    *,
    compile: bool = False,
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Bring a model and its optimiser to the device, in the forms that are fastest there.

    Args:
        fabric: The engine.
        module: The bare model.
        optim: Settings of the optimiser.
        precision: That of `fabric`.
        compile: Trace the model into kernels of its own.

    Returns:
        The model as `update_weights` takes it, and the optimiser.
    """
    # Convolutions are a quarter faster so; to a transformer's only one it makes no difference.
    module.clip.visual.to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(
        cast(nn.Module, torch.compile(module)) if compile else module,
        build_optimizer(module, optim, fused=can_fuse(fabric.device, precision)),
    )
    return model, optimizer


def fit(training: Training, start: Position) -> Position:
    """Train from `start` to the last epoch; write metrics and checkpoints on the way.

    Returns:
        The position at the end.

    Raises:
        Stopped: a signal asked for it; what was done is saved.
    """
    config, fabric, signals = training.config, training.fabric, training.signals
    batches = TrainingBatches(
        len(training.data.train),
        config.optim.batch_size,
        config.optim.epochs,
        config.seed,
        start=(start.epoch, start.step),
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        labels=training.data.train.labels,
        sampler=config.data.sampler,
    )
    if fabric.is_global_zero:
        _forget_rows_after(training.folder, start.epoch)
    loaded = batch_loader(
        training.data.train,
        batches,
        workers=num_readers(config.data.workers, fabric),
        pin_memory=fabric.device.type == "cuda",
    )
    stream = moved_ahead(read_together(fabric, loaded, signals), fabric.device)
    position = start
    total = config.optim.epochs * batches.steps_per_epoch
    done = start.epoch * batches.steps_per_epoch + start.step
    with (
        training.progress.task("training", total=total) as task,
        signals.held_back(lambda number: training.progress.note(_will_stop(number))),
    ):
        task.advance(done)
        for _ in range(start.epoch, config.optim.epochs):
            position = _run_epoch(training, stream, position, batches.steps_per_epoch, task)
            position = _end_epoch(training, position)
    return position


def _will_stop(number: int) -> str:
    name = signal.Signals(number).name
    return f"{name}: training stops after this step and saves; once more stops it at once"


def _run_epoch(
    training: Training,
    stream: Iterator[Batch],
    position: Position,
    steps_per_epoch: int,
    task: Task,
) -> Position:
    config, fabric, signals = training.config, training.fabric, training.signals
    training.model.train()
    began, clips_seen = time.monotonic(), 0
    look_every = steps_to_a_look(fabric.device)
    unread: list[Tensor] = []  # what steps came to, on the device
    while position.step < steps_per_epoch:
        try:
            batch = next(stream)
        except Stopped:
            if signals.agreed.stop:
                _save_as_asked(training, _with_counts(fabric, position, unread))
            raise
        if signals.agreed.save:
            position = _with_counts(fabric, position, unread)
            _save_as_asked(training, position)
        global_step = position.epoch * steps_per_epoch + position.step
        set_learning_rates(
            training.optimizer, lr_factor(global_step, steps_per_epoch, config.optim)
        )
        # Layers that draw (drop path) see the same numbers after a resume.
        torch.manual_seed(step_seed(config.seed, global_step, fabric.global_rank))
        unread.append(
            update_weights(
                fabric,
                training.model,
                training.module,
                training.optimizer,
                config.optim,
                batch,
            )
        )
        position = replace(position, step=position.step + 1)
        clips_seen += config.optim.batch_size
        task.advance()
        every = config.checkpoint_every
        saves = bool(every) and position.step % every == 0 and position.step < steps_per_epoch
        if not (saves or position.step == steps_per_epoch or len(unread) == look_every):
            continue
        position = _with_counts(fabric, position, unread)
        seen_in_epoch = position.step * config.optim.batch_size
        task.status(
            epoch=f"{position.epoch + 1}/{config.optim.epochs}",
            loss=position.loss_sum / seen_in_epoch,
            WAR=position.num_right / seen_in_epoch,
            clips_per_s=clips_seen / (time.monotonic() - began),
        )
        if saves:
            _save(training, position)
    return position


def _with_counts(fabric: Fabric, position: Position, unread: list[Tensor]) -> Position:
    """The position with what the last steps came to, read from the device; empties `unread`.

    Raises:
        ConfigError: a loss that is no number.
    """
    if not unread:
        return position
    for loss_sum, num_right in all_reduce(fabric, torch.stack(unread), "sum").tolist():
        if not math.isfinite(loss_sum):
            raise ConfigError(
                f"the loss is {loss_sum} in epoch {position.epoch + 1}: training diverged",
                hint="use a lower learning rate or --precision 32",
            )
        position = replace(
            position,
            loss_sum=position.loss_sum + loss_sum,
            num_right=position.num_right + round(num_right),
        )
    unread.clear()
    return position


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of what layers draw in a step: another for each step and process of a run."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def steps_to_a_look(device: torch.device) -> int:
    """After how many steps to read what they came to: on a GPU each look waits for all its work."""
    return 10 if device.type == "cuda" else 1


def update_weights(
    fabric: Fabric,
    model: nn.Module,
    module: Method,
    optimizer: torch.optim.Optimizer,
    optim: OptimConfig,
    batch: Batch,
) -> Tensor:
    """Update the weights by one batch, of which each process has its share.

    Args:
        fabric: The engine.
        model: Set up by `fabric`.
        module: The bare model.
        optimizer: Set up by `fabric`.
        optim: Pieces that a batch is worked on in, and the clipping of gradients.
        batch: The clips.

    Returns:
        The sum of the losses of this process's clips and how many were recognised, (2,) float32 on
        the device, so that nobody has to wait for it.
    """
    counts = torch.zeros(2, device=fabric.device)
    optimizer.zero_grad(set_to_none=True)
    pieces = batch.split(optim.accumulate)
    for number, piece in enumerate(pieces, start=1):
        labels = piece.labels.to(fabric.device, non_blocking=True)
        with fabric.no_backward_sync(cast(Any, model), enabled=number < len(pieces)):
            outputs = model(**piece.inputs(fabric.device))
            loss_sum = module.loss(outputs, labels) * len(labels)
            fabric.backward(loss_sum / len(batch.labels))
        recognised = module.logits(outputs).argmax(-1) == labels
        counts += torch.stack([loss_sum.detach(), recognised.sum().float()])
    if optim.gradient_clip:
        # Loss scaling (16-mixed) skips steps whose gradients are not finite; to look here would
        # wait for the device.
        fabric.clip_gradients(
            model, optimizer, max_norm=optim.gradient_clip, error_if_nonfinite=False
        )
    optimizer.step()
    return counts


def _end_epoch(training: Training, position: Position) -> Position:
    """Measure on the held-out clips, write the row and the checkpoint, move the links."""
    config, data = training.config, training.data
    seen = position.step * config.optim.batch_size
    epoch = position.epoch + 1
    row: dict[str, Any] = {
        "schema": EPOCH_SCHEMA,
        "epoch": epoch,
        "train_loss": position.loss_sum / seen,
        "train_war": position.num_right / seen,
        "lr": {
            group.get("name", str(number)): group["lr"]
            for number, group in enumerate(training.optimizer.param_groups)
        },
    }
    best_value, best_epoch = position.best_value, position.best_epoch
    if data.held_out is not None:
        try:
            logits = predict_logits(
                training.fabric,
                training.model,
                data.held_out,
                training.progress,
                batch_size=config.optim.batch_size,
                workers=config.data.workers,
                description=data.held_out_name,
                signals=training.signals,
            )
        except Stopped:
            if training.signals.agreed.stop:  # all steps are done, but for what they came to
                _save_as_asked(training, position)
            raise
        war, uar = war_and_uar(logits, np.array(data.held_out.labels))
        row[f"{data.held_out_name}_war"] = war
        row[f"{data.held_out_name}_uar"] = uar
        value = {"war": war, "uar": uar, "mean": (war + uar) / 2}[config.select_by]
        if value > best_value:
            best_value, best_epoch = value, epoch
    position = Position(epoch=epoch, best_value=best_value, best_epoch=best_epoch)
    if training.fabric.is_global_zero:
        append_row(training.folder.metrics, row)
        if training.logger is not None:
            log_epoch(training.logger, row)
        training.progress.info(_epoch_line(row, config.optim.epochs))
    _save(training, position, is_best=data.held_out is not None and best_epoch == epoch)
    return position


def _epoch_line(row: dict[str, Any], epochs: int) -> str:
    shown = (f"{name} {value:.3f}" for name, value in row.items() if isinstance(value, float))
    return f"epoch {row['epoch']}/{epochs}  " + "  ".join(shown)


def _save_as_asked(training: Training, position: Position) -> None:
    """Save where all processes agreed to, unless nothing is done yet; and say so."""
    if position == Position():
        return
    _save(training, position)
    name = signal.Signals(training.signals.agreed.stop or SAVING).name
    step = f", step {position.step} of the next" if position.step else ""
    training.progress.note(f"{name}: saved after epoch {position.epoch}{step}")


def _save(training: Training, position: Position, *, is_best: bool = False) -> None:
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


def _forget_rows_after(folder: FoldFolder, epoch: int) -> None:
    """Drop the rows of epochs that will be run again."""
    if folder.metrics.is_file():
        rows = list(
            read_typed_rows(folder.metrics, EpochRow, schema=EPOCH_SCHEMA, allow_torn_end=True)
        )
        write_rows(folder.metrics, [dict(row) for row in rows if row["epoch"] <= epoch])
