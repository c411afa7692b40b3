"""Collective operations of several training processes."""

from collections.abc import Iterator

import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only

from dfercli.data.batches import Batch
from dfercli.errors import DferError
from dfercli.inference.fabric import agree
from dfercli.processes import Asked, Stopped, StopSignals


def read_together(
    fabric: Fabric, batches: Iterator[Batch], signals: StopSignals | None = None
) -> Iterator[Batch]:
    """Yield batches; if one process cannot read its batch, all processes raise its error.

    Otherwise the others would wait for it forever. A signal to one process makes all of them
    stop or save before the same batch (`signals.agreed`).

    Raises:
        Stopped: before a batch, if `signals` hold a stop.
        DferError: the error of a process that cannot read.
    """
    while True:
        batch, error = None, None
        try:
            batch = next(batches, None)
        except DferError as caught:
            error = caught
        asked = signals.take_save() if signals is not None else Asked()
        failure, agreed = agree(fabric, error, asked)
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
    """The error of this process, else of the first process with one; all must call this."""
    failure, _ = agree(fabric, error, Asked())
    return failure


def all_reduce(fabric: Fabric, values: torch.Tensor, operation: str) -> torch.Tensor:
    """`sum` or `max` of a tensor over all processes."""
    reduced = fabric.all_reduce(values, reduce_op=operation)
    assert isinstance(reduced, torch.Tensor)
    return reduced


def is_main_process() -> bool:
    """Whether this process reports for all; known before the process group exists."""
    return getattr(rank_zero_only, "rank", 0) == 0
