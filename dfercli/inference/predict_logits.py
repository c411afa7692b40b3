"""Logits of a model for all clips of a list, over all processes."""

import numpy as np
import torch.distributed
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from dfercli.data.batches import prefetch_to_device
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches
from dfercli.inference.collectives import all_reduce, read_together
from dfercli.processes import StopSignals, num_cores
from dfercli.progress import Progress

MOST_READERS = 16


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
        description: What the progress bar says.
        signals: A stop that these hold ends the work in all processes before the same batch.

    Returns:
        (N, K) float32, in the order of the clips; of a model that gives other rows, these.

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
        note=progress.note,
    )
    rows: dict[int, torch.Tensor] = {}
    was_training = model.training
    model.eval()
    # Not inference_mode, in which FSDP cannot gather its weights.
    with torch.no_grad(), progress.task(description, total=len(dataset)) as task:
        for batch in prefetch_to_device(read_together(fabric, loaded, signals), fabric.device):
            logits = model(**batch.inputs(fabric.device)).float()
            rows.update(zip(batch.clips.tolist(), logits, strict=True))
            task.advance(len(batch.clips) * fabric.world_size)
    model.train(was_training)
    return _gather(fabric, rows, len(dataset))


def _gather(fabric: Fabric, rows: dict[int, torch.Tensor], num_clips: int) -> NDArray[np.float32]:
    """Gather the rows of all processes; a clip that two of them hold counts once."""
    shape = next(iter(rows.values())).shape if rows else (0,)
    logits = torch.full((num_clips, *shape), -torch.inf, device=fabric.device)
    for index, row in rows.items():
        logits[index] = row
    return all_reduce(fabric, logits, "max").cpu().numpy()


def num_readers(workers: int | None, fabric: Fabric) -> int:
    """How many processes read frames for this one, given `workers`.

    By default two, which suffice beside a CPU's forward pass. A GPU gets one per core.
    """
    if workers is not None or fabric.device.type != "cuda":
        return 2 if workers is None else workers
    beside = min(fabric.world_size, torch.cuda.device_count())
    return min(MOST_READERS, max(1, num_cores() // beside))
