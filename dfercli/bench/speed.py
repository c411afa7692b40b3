"""How `dfer bench` measures: alternating runs, their medians and ratios."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from dfercli.bench.machine import wait_for
from dfercli.progress import Task


@dataclass(frozen=True)
class Speed:
    """One measurement, compared with the reference.

    Attributes:
        batch_size: Clips at once.
        precision: Of ours; the reference is in float32.
        seconds: Median time of one batch.
        reference_seconds: The same of the reference.
        share_of_peak: Of the rate at which this machine multiplies large matrices in that
            precision; None if nothing is multiplied.
    """

    batch_size: int
    precision: str
    seconds: float
    reference_seconds: float
    share_of_peak: float | None = None

    @property
    def clips_per_second(self) -> float:
        """Of ours."""
        return self.batch_size / self.seconds

    @property
    def ratio_to_reference(self) -> float:
        """How many times faster than the reference."""
        return self.reference_seconds / self.seconds

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        derived = {
            "clips_per_second": self.clips_per_second,
            "ratio_to_reference": self.ratio_to_reference,
        }
        return {**asdict(self), **derived}


def by_turns(
    works: list[Callable[[], object]],
    runs: int,
    place: torch.device,
    task: Task | None,
) -> list[float]:
    """Median seconds of several functions that run in turn, after one warm-up each."""
    seconds: list[list[float]] = [[] for _ in works]
    for round_number in range(runs + 1):
        for number, work in enumerate(works):
            begun = time.perf_counter()
            work()
            wait_for(place)
            if round_number > 0:
                seconds[number].append(time.perf_counter() - begun)
        if task is not None:
            task.advance()
    return [statistics.median(values) for values in seconds]
