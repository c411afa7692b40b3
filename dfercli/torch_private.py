"""The private names of PyTorch that dfer needs, all in this file.

PyTorch may rename them in any release, so pyproject.toml bounds its version from above.
`tests/test_private_names.py` says which one is gone, and keeps such names out of all other files.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

__all__ = [
    "FUSED_CPU_ATTENTION",
    "FakeTensorMode",
    "run_as_written",
    "shut_down_readers",
    "version_of",
    "without_dynamo",
]

# Fused attention on a CPU: the forward operator and the backward one.
FUSED_CPU_ATTENTION = (
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward,
)


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Import packages without `torch._dynamo`, where that is not there yet: over a second.

    torchvision and timm import it for a function and a decorator that they may need later.
    Stand-ins ask the real ones then; whatever else is asked of it imports it at once.
    """
    package, name = "torch._dynamo", "torch._dynamo.utils"
    if package in sys.modules:
        yield
        return
    parent, utils = ModuleType(package), ModuleType(name)
    stand_ins = {package: parent, name: utils}

    def remove() -> None:
        for own, module in stand_ins.items():
            if sys.modules.get(own) is module:
                del sys.modules[own]

    def real(own: str) -> Callable[[str], Any]:
        def found(attribute: str) -> Any:
            if attribute.startswith("__"):  # `inspect` looks for files of all modules
                raise AttributeError(attribute)
            remove()
            return getattr(importlib.import_module(own), attribute)

        return found

    parent.__path__ = [str(Path(torch.__file__).with_name("_dynamo"))]
    vars(parent).update(__getattr__=real(package), disable=_disabled_later)
    vars(utils).update(__getattr__=real(name), is_compile_supported=_is_compile_supported)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        remove()


def _is_compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device_type))


def _disabled_later(function: Callable[..., Any] | None = None, *_: Any, **settings: Any) -> Any:
    """`torch.compiler.disable` for a function or, without one, as a decorator with settings."""
    if function is None:
        return partial(_disabled_later, **settings)

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        return torch.compiler.disable(function)(*arguments, **named)

    return run


def version_of(tensor: Tensor) -> int:
    """How often a tensor was changed in place."""
    return tensor._version


def run_as_written(module: nn.Module) -> None:
    """Undo `module.compile()`."""
    module._compiled_call_impl = None


def shut_down_readers(items: Iterator[Any]) -> None:
    """Stop the processes and threads of a `DataLoader` iterator now.

    The iterator does so by itself when it is collected as garbage, which may be too late.
    """
    if isinstance(items, _MultiProcessingDataLoaderIter):
        items._shutdown_workers()
