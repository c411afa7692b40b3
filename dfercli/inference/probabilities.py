"""Probabilities of logits."""

import numpy as np
from numpy.typing import NDArray

from dfercli.errors import ArtifactError


def softmax(
    logits: NDArray[np.float32], temperature: float | NDArray[np.float64] = 1.0
) -> NDArray[np.float64]:
    """Probabilities (N, K) from logits (N, K), divided by a calibration temperature.

    The temperature is one number, or (N, 1), one for each row.

    Raises:
        ArtifactError: a logit is not finite; nothing computed from it would be a number.
    """
    if not np.isfinite(logits).all():
        raise ArtifactError("the model's answer is not a finite number: its weights are damaged")
    from scipy.special import softmax as scipy_softmax  # slow to import

    probabilities: NDArray[np.float64] = scipy_softmax(
        logits.astype(np.float64) / temperature, axis=1
    )
    return probabilities
