"""How good the predictions are: WAR, UAR, confusion, calibration, intervals and comparisons.

WAR is accuracy. UAR is the mean of the per-class recalls over the classes of the label set that
have at least one clip; `Evaluation.classes_without_clips` names the others. Intervals are 95 %
percentile bootstraps over clips. What a clip adds to WAR and UAR is its class and whether it was
recognised, so a resample is one multinomial draw over those cells, not a draw of clips.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from dfercli.artifacts.evaluation import (
    INTERVAL_PERCENT,
    Evaluation,
    FoldSummary,
    Interval,
    PairedTest,
    ReliabilityBin,
)
from dfercli.errors import DataError

CALIBRATION_BINS = 15
BOOTSTRAP_SAMPLES = 1000
TEMPERATURES = (0.05, 20.0, 601)  # tried in calibration: from, to, and how many, 1 % apart
LOG_TEMPERATURE_DEVIATION = 0.5


def evaluate(
    probabilities: NDArray[np.floating],
    targets: NDArray[np.integer],
    label_set: Sequence[str],
    *,
    bootstrap_samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        probabilities: (N, K), rows that sum to 1; the predicted class is the highest one.
        targets: (N,) index of the true class in `label_set`.
        label_set: The K class names.
        bootstrap_samples: Number of resamples for the intervals.
        seed: Seed of the resamples; equal input gives equal intervals.

    Raises:
        DataError: no clips, or probabilities that are not finite.
        ValueError: shapes that do not fit.
    """
    probabilities, targets = _check(probabilities, targets, len(label_set))
    predicted = probabilities.argmax(axis=1)
    right = predicted == targets
    confusion = multiclass_confusion_matrix(
        torch.from_numpy(predicted), torch.from_numpy(targets), num_classes=len(label_set)
    ).numpy()
    cells = _cells(targets, len(label_set), right)
    samples = _resample(cells, bootstrap_samples, seed)
    recalls = _recalls(cells)
    return Evaluation(
        label_set=tuple(label_set),
        num_clips=len(targets),
        war=float(_war(cells)),
        uar=float(_uar(cells)),
        recalls={
            name: None if np.isnan(recall) else float(recall)
            for name, recall in zip(label_set, recalls, strict=True)
        },
        confusion=confusion.astype(np.int64),
        war_interval=_interval(_war(samples)),
        uar_interval=_interval(_uar(samples)),
        ece=_calibration_error(probabilities, targets),
        bins=_reliability_bins(probabilities.max(axis=1), right),
    )


def war_and_uar(scores: NDArray[np.floating], targets: NDArray[np.integer]) -> tuple[float, float]:
    """WAR and UAR alone, for each epoch of training.

    Args:
        scores: (N, K) logits or probabilities.
        targets: (N,) index of the true class.
    """
    right = scores.argmax(axis=1) == targets
    recalls = [right[targets == label].mean() for label in np.unique(targets)]
    return float(right.mean()), float(np.mean(recalls))


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> float:
    """The temperature under which held-out clips are most likely (Guo et al., 2017).

    Its logarithm has a normal prior around 0 (deviation `LOG_TEMPERATURE_DEVIATION`), which counts
    with few clips only: a small held-out part without a mistake does not ask for certainty.

    Args:
        logits: (N, K).
        targets: (N,) index of the true class.

    Returns:
        T, by which logits are divided before the softmax; one of `TEMPERATURES`.

    Raises:
        DataError: no clips, or logits that are not finite.
    """
    values, targets = _check(logits, targets, logits.shape[1])
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
    """The confidence that best parts right from wrong.

    The right ones below it and the wrong ones at or above it are fewest together; what lies below
    was wrong more often than right. Without a mistake it is the lowest confidence seen.

    Args:
        probabilities: (N, K).
        targets: (N,) index of the true class.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    order = np.argsort(confidence)
    candidates, below = np.unique(confidence[order], return_index=True)  # clips below each
    right_below = np.concatenate([[0], np.cumsum(right[order])])[below]
    wrong_below = below - right_below
    faults = right_below + (~right).sum() - wrong_below
    return float(candidates[int(np.argmin(faults))])


def summarise_folds(
    folds: Sequence[tuple[NDArray[np.floating], NDArray[np.integer]]],
    label_set: Sequence[str],
    *,
    bootstrap_samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> FoldSummary:
    """Summarise the folds of one run: each one, their mean, and all clips pooled.

    Args:
        folds: (probabilities (N, K), targets (N,)) of the test clips of each fold.
        label_set: The K class names.
        bootstrap_samples: Number of resamples for the intervals.
        seed: Seed of the resamples.

    Raises:
        DataError: no folds, or a fold that `evaluate` refuses.
    """
    if not folds:
        raise DataError("no folds to summarise")
    evaluations = tuple(
        evaluate(*fold, label_set, bootstrap_samples=bootstrap_samples, seed=seed) for fold in folds
    )
    samples = [
        _resample(_cells_of(evaluation), bootstrap_samples, seed + number)
        for number, evaluation in enumerate(evaluations)
    ]
    wars = np.array([evaluation.war for evaluation in evaluations])
    uars = np.array([evaluation.uar for evaluation in evaluations])
    return FoldSummary(
        folds=evaluations,
        mean_war=float(wars.mean()),
        std_war=float(wars.std(ddof=1)) if len(folds) > 1 else None,
        mean_war_interval=_interval(np.mean([_war(sample) for sample in samples], axis=0)),
        mean_uar=float(uars.mean()),
        std_uar=float(uars.std(ddof=1)) if len(folds) > 1 else None,
        mean_uar_interval=_interval(np.mean([_uar(sample) for sample in samples], axis=0)),
        pooled=evaluate(
            np.concatenate([probabilities for probabilities, _ in folds]),
            np.concatenate([targets for _, targets in folds]),
            label_set,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
        ),
    )


def compare(
    predicted_a: NDArray[np.integer],
    predicted_b: NDArray[np.integer],
    targets: NDArray[np.integer],
    num_classes: int,
    *,
    bootstrap_samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Test two runs against each other on the same clips, in the same order.

    Args:
        predicted_a: (N,) classes that run A predicted.
        predicted_b: (N,) classes that run B predicted.
        targets: (N,) true classes.
        num_classes: K.
        bootstrap_samples: Number of resamples for the intervals; both runs share each resample.
        seed: Seed of the resamples.

    Raises:
        DataError: no clips.
    """
    if len(targets) == 0:
        raise DataError("no clips to compare")
    right_a, right_b = predicted_a == targets, predicted_b == targets
    # (K, 4): the clips of a class that neither, B alone, A alone, or both recognised.
    cells = np.zeros((num_classes, 4), dtype=np.int64)
    np.add.at(cells, (targets, 2 * right_a + right_b), 1)
    samples = _resample(cells, bootstrap_samples, seed)
    only_a, only_b = int(cells[:, 2].sum()), int(cells[:, 1].sum())
    return PairedTest(
        num_clips=len(targets),
        only_a_right=only_a,
        only_b_right=only_b,
        mcnemar_p=mcnemar_exact(only_a, only_b),
        war_difference=float(_difference(cells, _war)),
        war_interval=_interval(_difference(samples, _war)),
        uar_difference=float(_difference(cells, _uar)),
        uar_interval=_interval(_difference(samples, _uar)),
    )


def mcnemar_exact(only_a_right: int, only_b_right: int) -> float:
    """Two-sided exact McNemar p-value: a fair coin over the clips on which the two differ."""
    from scipy.stats import binomtest  # slow to import, and needed here alone

    differing = only_a_right + only_b_right
    return float(binomtest(only_a_right, differing).pvalue) if differing else 1.0


def _check(
    probabilities: NDArray[np.floating], targets: NDArray[np.integer], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
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


def _cells(
    targets: NDArray[np.int64], num_classes: int, right: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(K, 2): the clips of each class that were missed and recognised."""
    cells = np.zeros((num_classes, 2), dtype=np.int64)
    np.add.at(cells, (targets, right.astype(np.int64)), 1)
    return cells


def _cells_of(evaluation: Evaluation) -> NDArray[np.int64]:
    right = np.diag(evaluation.confusion)
    return np.stack([evaluation.confusion.sum(axis=1) - right, right], axis=1)


def _resample(cells: NDArray[np.int64], num_samples: int, seed: int) -> NDArray[np.int64]:
    """Draw as many clips as there are, with replacement: (S, *cells.shape)."""
    total = cells.sum()
    draws = np.random.default_rng(seed).multinomial(total, cells.ravel() / total, size=num_samples)
    return draws.reshape(num_samples, *cells.shape)


def _war(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Accuracy of (..., K, 2) cells."""
    return np.asarray(cells[..., 1].sum(axis=-1) / cells.sum(axis=(-2, -1)))


def _recalls(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., K) recalls of (..., K, 2) cells, nan where a class has no clip."""
    totals = cells.sum(axis=-1)
    return np.where(totals > 0, cells[..., 1] / np.maximum(totals, 1), np.nan)


def _uar(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean recall of (..., K, 2) cells over the classes that have clips."""
    return np.asarray(np.nanmean(_recalls(cells), axis=-1))


def _difference(
    cells: NDArray[np.int64], rate: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """`rate` of A minus that of B, from (..., K, 4) cells of neither, B, A, both."""
    neither, only_b, only_a, both = np.moveaxis(cells, -1, 0)
    cells_a = np.stack([neither + only_b, only_a + both], axis=-1)
    cells_b = np.stack([neither + only_a, only_b + both], axis=-1)
    return np.asarray(rate(cells_a) - rate(cells_b))


def _interval(values: NDArray[np.float64]) -> Interval:
    outside = (100 - INTERVAL_PERCENT) / 2
    low, high = np.percentile(values, [outside, 100 - outside])
    return float(low), float(high)


def _calibration_error(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    # torchmetrics gives a confidence of exactly 1 a bin of its own; keep it in the last one.
    below_one = np.clip(probabilities, 0.0, math.nextafter(1.0, 0.0))
    error = multiclass_calibration_error(
        torch.from_numpy(below_one),
        torch.from_numpy(targets),
        num_classes=probabilities.shape[1],
        n_bins=CALIBRATION_BINS,
    )
    return float(error)


def _reliability_bins(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
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
