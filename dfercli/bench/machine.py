"""The machine that `dfer bench` runs on, and the memory it has used."""

import contextlib
import platform
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from dfercli.inference.arithmetic import arithmetic_here, processor_name
from dfercli.inference.devices import set_float32
from dfercli.processes import num_cores

MB = 1024**2
MATRIX_WINDOWS, MATRIX_SECONDS = 20, 5.0  # a CPU may need a second for one product
MATRIX_SIDES = {"cuda": 8192, "cpu": 2048}


def describe_machine(place: torch.device) -> dict[str, Any]:
    """Processor, cores, threads and versions."""
    here = arithmetic_here()
    return {
        "processor": _processor(place),
        "cores": num_cores(),
        "threads": torch.get_num_threads(),
        "prefers_bfloat16": place.type == "cuda" or here.prefers_bfloat16,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def peak_memory_mb(place: torch.device) -> float:
    """The peak memory of this process, or of the device on a GPU."""
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place) / MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MB if sys.platform == "darwin" else 1024)  # macOS counts bytes


def wait_for(place: torch.device) -> None:
    """Wait until a device has finished, to make the host's clock right."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def matrix_rate(place: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of large matrix products: the best of several windows."""
    # A product must take far longer than its launch.
    side = MATRIX_SIDES.get(place.type, MATRIX_SIDES["cpu"])
    products = 20 if place.type == "cuda" else 1
    left, right = (torch.rand(side, side, device=place).to(dtype) for _ in range(2))
    seconds: list[float] = []
    while len(seconds) < MATRIX_WINDOWS and sum(seconds) * products < MATRIX_SECONDS:
        wait_for(place)
        begun = time.perf_counter()
        for _ in range(products):
            left @ right
        wait_for(place)
        seconds.append((time.perf_counter() - begun) / products)
    return 2 * side**3 / min(seconds)


@contextlib.contextmanager
def whole_float32() -> Iterator[None]:
    """Multiply float32 exactly, whatever mixed precision has set."""
    products = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    set_float32(exact=True)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def _processor(place: torch.device) -> str:
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return processor_name()
