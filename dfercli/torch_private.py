"""The private names of PyTorch that dfer needs, all in this file.

PyTorch may rename them in any release, so pyproject.toml bounds its version from above.
`tests/test_private_names.py` says which one is gone, and keeps such names out of all other files.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

__all__ = ["FUSED_CPU_ATTENTION", "FakeTensorMode", "shut_down_readers", "version_of"]

# Fused attention on a CPU: the forward operator and the backward one.
FUSED_CPU_ATTENTION = (
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward,
)


def version_of(tensor: Tensor) -> int:
    """How often a tensor was changed in place."""
    return tensor._version


def shut_down_readers(items: Iterator[Any]) -> None:
    """Stop the processes and threads of a `DataLoader` iterator now.

    The iterator does so by itself when it is collected as garbage, which may be too late.
    """
    if isinstance(items, _MultiProcessingDataLoaderIter):
        items._shutdown_workers()
