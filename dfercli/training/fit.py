"""The training loop of one fold: resumable at any step, the same in any number of processes."""

import math
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from dfercli.artifacts.jsonl import append_row
from dfercli.data.batches import Batch, prefetch_to_device
from dfercli.data.loading import TrainingBatches, batch_loader
from dfercli.data.mixing import draw_mix, mix_clips
from dfercli.errors import ConfigError
from dfercli.inference.collectives import all_reduce, read_together
from dfercli.inference.compiling import LongWork, for_steps
from dfercli.inference.predict_logits import num_readers, predict_logits
from dfercli.metrics.rates import war_and_uar
from dfercli.models.optimizer import lr_factor, set_learning_rates
from dfercli.processes import Stopped
from dfercli.progress import Task
from dfercli.training.epoch_logger import log_epoch
from dfercli.training.state import (
    EPOCH_SCHEMA,
    Position,
    Training,
    forget_rows_after,
    save,
    save_as_asked,
)
from dfercli.training.step import step_seed, sync_every, update_weights


def fit(training: Training, start: Position) -> Position:
    """Train from `start` to the last epoch; write metrics and checkpoints on the way.

    Returns:
        The position at the end.

    Raises:
        Stopped: a signal asked for it; the work is saved.
    """
    config, fabric, signals = training.config, training.fabric, training.signals
    long_work = for_steps(training.module, config.compile, fabric, training.progress.note)
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
        forget_rows_after(training.folder, start.epoch)
    loaded = batch_loader(
        training.data.train,
        batches,
        workers=num_readers(config.data.workers, fabric),
        pin_memory=fabric.device.type == "cuda",
        note=training.progress.note,
    )
    stream = prefetch_to_device(read_together(fabric, loaded, signals), fabric.device)
    position = start
    total = config.optim.epochs * batches.steps_per_epoch
    done = start.epoch * batches.steps_per_epoch + start.step
    with (
        training.progress.task("training", total=total) as task,
        signals.held_back(lambda number: training.progress.note(_will_stop(number))),
    ):
        task.advance(done)
        for _ in range(start.epoch, config.optim.epochs):
            steps = batches.steps_per_epoch
            position = _run_epoch(training, stream, position, steps, task, long_work)
            position = _end_epoch(training, position)
    return position


def _will_stop(number: int) -> str:
    name = signal.Signals(number).name
    return f"{name}: training stops after this step and saves; another signal stops it at once"


def _run_epoch(
    training: Training,
    stream: Iterator[Batch],
    position: Position,
    steps_per_epoch: int,
    task: Task,
    long_work: LongWork | None,
) -> Position:
    config, fabric, signals = training.config, training.fabric, training.signals
    training.model.train()
    began, clips_seen = time.monotonic(), 0
    every_steps = sync_every(fabric.device)
    unread: list[Tensor] = []  # the counts of the last steps, still on the device
    while position.step < steps_per_epoch:
        try:
            batch = next(stream)
        except Stopped:
            if signals.agreed.stop:
                save_as_asked(training, _with_counts(fabric, position, unread))
            raise
        if signals.agreed.save:
            position = _with_counts(fabric, position, unread)
            save_as_asked(training, position)
        global_step = position.epoch * steps_per_epoch + position.step
        set_learning_rates(
            training.optimizer, lr_factor(global_step, steps_per_epoch, config.optim)
        )
        mix = draw_mix(config.augment, config.seed, global_step)
        # Layers that draw (drop path) see the same numbers after a resume.
        torch.manual_seed(step_seed(config.seed, global_step, fabric.global_rank))
        begun = time.monotonic()
        unread.append(
            update_weights(
                fabric,
                training.model,
                training.module,
                training.optimizer,
                config.optim,
                mix_clips(batch, mix, len(training.card.label_set)),
            )
        )
        if training.averaged is not None:
            training.averaged.update(global_step)
        position = replace(position, step=position.step + 1)
        if long_work is not None:
            left = config.optim.epochs * steps_per_epoch - global_step - 1
            long_work.done(1, time.monotonic() - begun, left)
        clips_seen += config.optim.batch_size
        task.advance()
        every = config.checkpoint_every
        saves = bool(every) and position.step % every == 0 and position.step < steps_per_epoch
        if not (saves or position.step == steps_per_epoch or len(unread) == every_steps):
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
            save(training, position)
    return position


def _with_counts(fabric: Fabric, position: Position, unread: list[Tensor]) -> Position:
    """Read the counts of the last steps from the device, add them to the position, empty `unread`.

    Raises:
        ConfigError: the loss is not finite.
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
            with training.measured_weights():
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
            if training.signals.agreed.stop:  # all steps are done, only their result is missing
                save_as_asked(training, position)
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
    save(training, position, is_best=data.held_out is not None and best_epoch == epoch)
    return position


def _epoch_line(row: dict[str, Any], epochs: int) -> str:
    shown = (f"{name} {value:.3f}" for name, value in row.items() if isinstance(value, float))
    return f"epoch {row['epoch']}/{epochs}  " + "  ".join(shown)
