"""Calibration of confidences: error, temperature, threshold."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from dfercli.artifacts.evaluation import ReliabilityBin
from dfercli.metrics.inputs import checked

CALIBRATION_BINS = 15
TEMPERATURES = (0.05, 20.0, 601)  # temperatures to try: from, to, and how many, 1 % apart
LOG_TEMPERATURE_DEVIATION = 0.5
CROSS_FITS = 5


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> float:
    """The temperature under which held-out clips are most likely (Guo et al., 2017).

    Its logarithm has a normal prior around 0 (deviation `LOG_TEMPERATURE_DEVIATION`), which
    matters with few clips only: a small held-out part without mistakes must not give certainty.

    Args:
        logits: (N, K).
        targets: (N,) index of the true class.

    Returns:
        T, by which logits are divided before the softmax; one of `TEMPERATURES`.

    Raises:
        DataError: no clips, or logits that are not finite.
    """
    values, targets = checked(logits, targets, logits.shape[1])
    values = values - values[np.arange(len(targets)), targets][:, None]
    candidates = np.geomspace(*TEMPERATURES)
    losses = [
        # minus the log of each true class's probability, and of the prior
        np.logaddexp.reduce(values / temperature, axis=1).sum()
        + 0.5 * (math.log(temperature) / LOG_TEMPERATURE_DEVIATION) ** 2
        for temperature in candidates
    ]
    return float(candidates[int(np.argmin(losses))])


def choose_threshold(probabilities: NDArray[np.floating], targets: NDArray[np.integer]) -> float:
    """The confidence that best separates right from wrong predictions.

    It minimises the right ones below it plus the wrong ones at or above it; predictions below it
    were wrong more often than right. Without a mistake it is the lowest confidence seen.

    Args:
        probabilities: (N, K).
        targets: (N,) index of the true class.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    order = np.argsort(confidence)
    candidates, below = np.unique(
        confidence[order], return_index=True
    )  # number of clips below each
    right_below = np.concatenate([[0], np.cumsum(right[order])])[below]
    wrong_below = below - right_below
    faults = right_below + (~right).sum() - wrong_below
    return float(candidates[int(np.argmin(faults))])


def cross_fitted(
    logits: NDArray[np.floating], targets: NDArray[np.integer], groups: Sequence[str]
) -> NDArray[np.float64] | None:
    """Probabilities of clips under a temperature that other clips fitted.

    Groups are dealt to `CROSS_FITS` parts, and each part gets the temperature of the others. Their
    calibration error shows the effect of the temperature on new clips.

    Args:
        logits: (N, K).
        targets: (N,) index of the true class.
        groups: The group of each clip, which stays together: its subject, else the clip.

    Returns:
        (N, K); None if there are fewer than two groups.
    """
    names = sorted(set(groups))
    if len(names) < 2:
        return None
    order = np.random.default_rng(0).permutation(len(names))
    part_of = {names[index]: place % CROSS_FITS for place, index in enumerate(order)}
    parts = np.array([part_of[group] for group in groups])
    result = np.zeros(logits.shape, dtype=np.float64)
    for part in np.unique(parts):
        own = parts == part
        temperature = fit_temperature(logits[~own], targets[~own])
        result[own] = softmax(logits[own].astype(np.float64) / temperature, axis=1)
    return result


def calibration_error(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Expected calibration error over `CALIBRATION_BINS` equal bins of the highest probability."""
    # torchmetrics puts a confidence of exactly 1 into an extra bin; keep it in the last one.
    below_one = np.clip(probabilities, 0.0, math.nextafter(1.0, 0.0))
    error = multiclass_calibration_error(
        torch.from_numpy(below_one),
        torch.from_numpy(targets),
        num_classes=probabilities.shape[1],
        n_bins=CALIBRATION_BINS,
    )
    return float(error)


def reliability_bins(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
    """The bins behind the calibration error, from confidences (N,) and hits (N,)."""
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, CALIBRATION_BINS - 1)
    counts = np.bincount(index, minlength=CALIBRATION_BINS)
    shares = np.maximum(counts, 1)
    confidences = np.bincount(index, weights=confidence, minlength=CALIBRATION_BINS) / shares
    accuracies = np.bincount(index, weights=right, minlength=CALIBRATION_BINS) / shares
    return tuple(
        ReliabilityBin(
            lower=float(edges[number]),
            upper=float(edges[number + 1]),
            num_clips=int(counts[number]),
            confidence=float(confidences[number]),
            accuracy=float(accuracies[number]),
        )
        for number in range(CALIBRATION_BINS)
    )
