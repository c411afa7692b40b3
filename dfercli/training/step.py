"""One step of training: weights updated by one batch, on any device and in any precision."""

from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from dfercli.config import OptimConfig, Precision
from dfercli.data.batches import Batch
from dfercli.data.targets import recognised
from dfercli.models.method import Method
from dfercli.models.optimizer import build_optimizer, can_fuse


def set_up_training(
    fabric: Fabric,
    module: Method,
    optim: OptimConfig,
    precision: Precision,
    *,
    compile: bool = False,
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Move a model and its optimiser to the device, in the form that is fastest there.

    Args:
        fabric: The engine.
        module: The bare model.
        optim: Settings of the optimiser.
        precision: That of `fabric`.
        compile: Trace the model into its own kernels.

    Returns:
        The model as `update_weights` takes it, and the optimiser.
    """
    # This makes convolutions a quarter faster; a transformer's single one does not matter.
    module.clip.visual.to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(
        cast(nn.Module, torch.compile(module)) if compile else module,
        build_optimizer(module, optim, fused=can_fuse(fabric.device, precision)),
    )
    return model, optimizer


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of random layers in a step, different for each step and process of a run."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def sync_every(device: torch.device) -> int:
    """After how many steps to read their result: on a GPU each read waits for all its work."""
    return 10 if device.type == "cuda" else 1


def update_weights(
    fabric: Fabric,
    model: nn.Module,
    module: Method,
    optimizer: torch.optim.Optimizer,
    optim: OptimConfig,
    batch: Batch,
) -> Tensor:
    """Update the weights by one batch; each process holds its share of it.

    Args:
        fabric: The engine.
        model: Set up by `fabric`.
        module: The bare model.
        optimizer: Set up by `fabric`.
        optim: Accumulation steps, and the clipping of gradients.
        batch: The clips.

    Returns:
        The sum of the losses of this process's clips and how many were recognised, (2,) float32,
        left on the device to avoid waiting for it.
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
        num_right = recognised(module.logits(outputs), labels).sum().float()
        counts += torch.stack([loss_sum.detach(), num_right])
    if optim.gradient_clip:
        # Loss scaling (16-mixed) skips steps whose gradients are not finite; checking here would
        # wait for the device.
        fabric.clip_gradients(
            model, optimizer, max_norm=optim.gradient_clip, error_if_nonfinite=False
        )
    optimizer.step()
    return counts
