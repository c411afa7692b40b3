"""What machine `dfer bench` runs on, and how much memory it has taken."""

import platform
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from dfercli.stages.devices import multiplies_bfloat16
from dfercli.stages.engines import num_cores

MB = 1024**2
CPU_FACTS = Path("/proc/cpuinfo")


def describe_machine(place: torch.device) -> dict[str, Any]:
    """Processor, cores, threads and versions."""
    return {
        "processor": _processor(place),
        "cores": num_cores(),
        "threads": torch.get_num_threads(),
        "bfloat16_matrix_units": place.type == "cuda" or multiplies_bfloat16(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def peak_memory_mb(place: torch.device) -> float:
    """The most memory that this process has held, on a GPU that of the device."""
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place) / MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MB if sys.platform == "darwin" else 1024)  # macOS counts bytes


def _processor(place: torch.device) -> str:
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    lines = CPU_FACTS.read_text().splitlines() if CPU_FACTS.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
