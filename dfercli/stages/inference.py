"""Running a model over clips, on any device and in any number of processes."""

import os
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only
from numpy.typing import NDArray
from torch import nn

from dfercli.config import Precision
from dfercli.data.batches import Batch, moved_ahead
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches
from dfercli.errors import ConfigError, DferError
from dfercli.processes import Asked, Stopped, StopSignals
from dfercli.progress import Progress
from dfercli.stages.devices import resolve_precision, set_float32
from dfercli.stages.engines import num_cores
from dfercli.stages.whole_state import SpreadStrategy

MOST_READERS = 16


def make_fabric(
    accelerator: str = "auto",
    devices: int | list[int] = 1,
    precision: Precision = "auto",
    *,
    strategy: str = "auto",
    num_nodes: int = 1,
) -> Fabric:
    """Make lightning-fabric's engine.

    Raises:
        ConfigError: the accelerator, the precision or the number of devices is not to be had, or
            the other machines are not known.
    """
    if num_nodes > 1 and not {"MASTER_ADDR", "SLURM_NTASKS"} & os.environ.keys():
        raise ConfigError(
            f"--num-nodes {num_nodes}: nothing says where the other machines are",
            hint="start dfer by torchrun or Slurm, or set MASTER_ADDR, MASTER_PORT and NODE_RANK",
        )
    has_cuda = accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    if precision == "16-mixed" and not has_cuda:
        raise ConfigError("precision 16-mixed needs a CUDA device", hint="use bf16-mixed or 32")
    resolved = resolve_precision(precision, accelerator)
    if has_cuda:
        # What mixed precision leaves in float32 may use the tensor cores; `32` means all its bits.
        set_float32(exact=resolved == "32")
    try:
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            precision=cast(Any, resolved),
            strategy=SpreadStrategy() if strategy == "fsdp" and has_cuda else strategy,
            num_nodes=num_nodes,
        )
    except (RuntimeError, ValueError, ImportError) as error:
        raise ConfigError(
            f"{accelerator} with {devices} device(s) and precision {precision}: {error}"
        ) from error


def is_main_process() -> bool:
    """Whether this process speaks for all of them; known before they have found one another."""
    return getattr(rank_zero_only, "rank", 0) == 0


def num_readers(workers: int | None, fabric: Fabric) -> int:
    """How many processes read frames for this one where `workers` are asked for.

    By default two: beside a CPU's forward pass they are idle. A GPU takes what all cores can read.
    """
    if workers is not None or fabric.device.type != "cuda":
        return 2 if workers is None else workers
    beside = min(fabric.world_size, torch.cuda.device_count())
    return min(MOST_READERS, max(1, num_cores() // beside))


def predict_logits(
    fabric: Fabric,
    model: nn.Module,
    dataset: ClipDataset,
    progress: Progress,
    *,
    batch_size: int,
    workers: int | None,
    description: str = "evaluating",
    signals: StopSignals | None = None,
) -> NDArray[np.float32]:
    """Compute logits of all clips, each exactly once over all processes.

    Args:
        fabric: The engine.
        model: Set up by `fabric`.
        dataset: The clips, without augmentation.
        progress: Where to report.
        batch_size: Clips per forward pass in each process.
        workers: Processes that read frames; see `num_readers`.
        description: What to call the work.
        signals: A stop that these hold ends the work in all processes before the same batch.

    Returns:
        (N, K) float32, in the order of the clips.

    Raises:
        Stopped: before a batch, where `signals` hold a stop.
    """
    batches = evaluation_batches(
        len(dataset), batch_size, rank=fabric.global_rank, world_size=fabric.world_size
    )
    loaded = batch_loader(
        dataset,
        batches,
        workers=num_readers(workers, fabric),
        pin_memory=fabric.device.type == "cuda",
    )
    rows: dict[int, torch.Tensor] = {}
    was_training = model.training
    model.eval()
    # Not inference_mode, in which FSDP cannot bring its weights together.
    with torch.no_grad(), progress.task(description, total=len(dataset)) as task:
        for batch in moved_ahead(read_together(fabric, loaded, signals), fabric.device):
            logits = model(**batch.inputs(fabric.device)).float()
            rows.update(zip(batch.clips.tolist(), logits, strict=True))
            task.advance(len(batch.clips) * fabric.world_size)
    model.train(was_training)
    return _gather(fabric, rows, len(dataset))


def _gather(fabric: Fabric, rows: dict[int, torch.Tensor], num_clips: int) -> NDArray[np.float32]:
    """Put the rows of all processes together; a clip that two of them have still counts once."""
    num_classes = next(iter(rows.values())).shape[0] if rows else 0
    logits = torch.full((num_clips, num_classes), -torch.inf, device=fabric.device)
    for index, row in rows.items():
        logits[index] = row
    return all_reduce(fabric, logits, "max").cpu().numpy()


def read_together(
    fabric: Fabric, batches: Iterator[Batch], signals: StopSignals | None = None
) -> Iterator[Batch]:
    """Pass batches on; where one process cannot read its own, all of them raise its error.

    Otherwise the others would wait for it for ever. What a signal asks of one process, all do
    before the same batch: end, or save (`signals.agreed`).

    Raises:
        Stopped: before a batch, where `signals` hold a stop.
        DferError: of a process that cannot read.
    """
    while True:
        batch, error = None, None
        try:
            batch = next(batches, None)
        except DferError as caught:
            error = caught
        asked = signals.take_save() if signals is not None else Asked()
        failure, agreed = _agree(fabric, error, asked)
        if failure is not None:
            raise failure
        if signals is not None:
            signals.agreed = agreed
        if agreed.stop:
            raise Stopped(agreed.stop)
        if batch is None:
            return
        yield batch


def first_failure(fabric: Fabric, error: DferError | None) -> DferError | None:
    """The error of this process, or else of the first that has one; all must call this."""
    failure, _ = _agree(fabric, error, Asked())
    return failure


def _agree(fabric: Fabric, error: DferError | None, asked: Asked) -> tuple[DferError | None, Asked]:
    """What the first process has that failed, and what was asked of any; all must call this."""
    if fabric.world_size == 1:
        return error, asked
    told = torch.tensor([error is not None, asked.stop, asked.save], device=fabric.device)
    # Fabric's own would first wait at a barrier, in each step.
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    failed, stop, save = told.tolist()
    if not failed:
        return None, Asked(stop, bool(save))
    errors: list[DferError | None] = [None] * fabric.world_size
    torch.distributed.all_gather_object(errors, error)
    return next(found for found in errors if found is not None), Asked()


def all_reduce(fabric: Fabric, values: torch.Tensor, operation: str) -> torch.Tensor:
    """`sum` or `max` of a tensor over all processes."""
    reduced = fabric.all_reduce(values, reduce_op=operation)
    assert isinstance(reduced, torch.Tensor)
    return reduced
