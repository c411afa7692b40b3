"""Batch normalisation over the clips of all processes, as one process would do it."""

from typing import Any

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn


class _Gather(torch.autograd.Function):
    """The rows of all processes in each of them; gradients go back to where a row came from."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.own = slice(dist.get_rank() * len(rows), (dist.get_rank() + 1) * len(rows))
        shares = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(shares, rows.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total[context.own]


class GatheredBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that collects the whole batch in each process.

    PyTorch's own `SyncBatchNorm` shares only sums, but works only on GPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; (B, C, H, W) -> (B, C, H, W), B the same in all processes."""
        if not self.training:
            return super().forward(x)
        size = len(x)
        whole: Tensor = _Gather.apply(x)
        return super().forward(whole)[dist.get_rank() * size : (dist.get_rank() + 1) * size]


def synchronise_batch_norm(model: nn.Module, device_type: str) -> None:
    """Make each batch normalisation in `model` see the clips of all processes, in place."""
    if device_type == "cuda":
        for name, child in list(model.named_children()):
            setattr(model, name, convert_sync_batchnorm(child))
        return
    for child in model.modules():
        if type(child) is nn.BatchNorm2d:  # a subclass may do more, and is left alone
            child.__class__ = GatheredBatchNorm  # keeps the weights, which others refer to
