"""Logits of a model for all clips of a list, over all processes."""

from collections.abc import Iterator

import numpy as np
import torch.distributed
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from dfercli.data.batches import Batch, prefetch_to_device
from dfercli.data.loading import ClipDataset, batch_loader, evaluation_batches
from dfercli.inference.collectives import all_reduce, read_together
from dfercli.processes import StopSignals, num_cores
from dfercli.progress import Progress, Task

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
    one_view: bool = False,
) -> NDArray[np.float32]:
    """Compute logits of all clips, each exactly once over all processes.

    A clip with several views gets their mean.

    Args:
        fabric: The engine.
        model: Set up by `fabric`.
        dataset: The clips, without augmentation.
        progress: Where to report.
        batch_size: Clips per forward pass in each process.
        workers: Processes that read frames; see `num_readers`.
        description: The text of the progress bar.
        signals: A stop in these ends the work in all processes before the same batch.
        one_view: Use one view, whatever the data set's sampling says.

    Returns:
        (N, K) float32, in the order of the clips; or other rows that the model returns.

    Raises:
        Stopped: before a batch, if `signals` hold a stop.
    """
    views = 1 if one_view else dataset.sampling.num_views
    was_training = model.training
    model.eval()
    logits = []
    # Not inference_mode: in it FSDP cannot gather its weights.
    with torch.no_grad(), progress.task(description, total=len(dataset) * views) as task:
        for view in range(views):
            keys = evaluation_batches(
                len(dataset),
                batch_size,
                rank=fabric.global_rank,
                world_size=fabric.world_size,
                view=view,
            )
            loaded = batch_loader(
                dataset,
                keys,
                workers=num_readers(workers, fabric),
                pin_memory=fabric.device.type == "cuda",
                note=progress.note,
            )
            batches = prefetch_to_device(read_together(fabric, loaded, signals), fabric.device)
            logits.append(_predict_batches(fabric, model, batches, len(dataset), task))
    model.train(was_training)
    return logits[0] if views == 1 else np.mean(logits, axis=0, dtype=np.float32)


def _predict_batches(
    fabric: Fabric, model: nn.Module, batches: Iterator[Batch], num_clips: int, task: Task
) -> NDArray[np.float32]:
    rows: dict[int, torch.Tensor] = {}
    for batch in batches:
        logits = model(**batch.inputs(fabric.device)).float()
        rows.update(zip(batch.clips.tolist(), logits, strict=True))
        task.advance(len(batch.clips) * fabric.world_size)
    return _gather(fabric, rows, num_clips)


def _gather(fabric: Fabric, rows: dict[int, torch.Tensor], num_clips: int) -> NDArray[np.float32]:
    """Gather the rows of all processes; a clip in two of them counts once."""
    shape = next(iter(rows.values())).shape if rows else (0,)
    logits = torch.full((num_clips, *shape), -torch.inf, device=fabric.device)
    for index, row in rows.items():
        logits[index] = row
    return all_reduce(fabric, logits, "max").cpu().numpy()


def num_readers(workers: int | None, fabric: Fabric) -> int:
    """How many processes read frames for this one, given `workers`.

    By default two, which suffice for a CPU's forward pass. A GPU gets one per core.
    """
    if workers is not None or fabric.device.type != "cuda":
        return 2 if workers is None else workers
    beside = min(fabric.world_size, torch.cuda.device_count())
    return min(MOST_READERS, max(1, num_cores() // beside))
