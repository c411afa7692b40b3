"""Checks of predictions for all metrics."""

import numpy as np
from numpy.typing import NDArray

from dfercli.errors import DataError


def checked(
    probabilities: NDArray[np.floating], targets: NDArray[np.integer], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (N, K) probabilities or logits as float64 and (N,) targets as int64.

    Raises:
        DataError: no clips, or values that are not finite.
        ValueError: shapes that do not fit.
    """
    if len(targets) == 0:
        raise DataError("no clips to evaluate")
    if probabilities.shape != (len(targets), num_classes):
        raise ValueError(
            f"probabilities have shape {probabilities.shape}, "
            f"expected {(len(targets), num_classes)}"
        )
    if targets.min() < 0 or targets.max() >= num_classes:
        raise ValueError(f"targets must lie in 0..{num_classes - 1}")
    if not np.isfinite(probabilities).all():
        broken = int((~np.isfinite(probabilities).all(axis=1)).sum())
        raise DataError(
            f"{broken} of {len(targets)} clips have probabilities that are not finite",
            hint="the model diverged: use a lower learning rate or --precision 32",
        )
    return probabilities.astype(np.float64), targets.astype(np.int64)
