"""WAR, UAR and related rates, of one list of clips and of several folds.

WAR is accuracy. UAR is the mean of the per-class recalls over the classes of the label set that
have at least one clip; `Evaluation.classes_without_clips` names the others. `intervals.py` explains
the 95 % intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix

from dfercli.artifacts.evaluation import NO_INTERVAL, Evaluation, FoldSummary
from dfercli.errors import DataError
from dfercli.metrics.calibration import calibration_error, reliability_bins
from dfercli.metrics.counts import Counts, count, recalls, uar, war
from dfercli.metrics.inputs import checked
from dfercli.metrics.intervals import rate_intervals

BOOTSTRAP_SAMPLES = 1000


@dataclass(frozen=True)
class Predicted:
    """The predictions on one list of clips, and the truth.

    Attributes:
        probabilities: (N, K), rows that sum to 1; the predicted class is the highest one.
        targets: (N,) index of the true class in the label set.
        subjects: The person in each clip, if known; None if nobody is known.
        selected: Whether these clips also chose the checkpoint or fitted its temperature.
    """

    probabilities: NDArray[np.floating]
    targets: NDArray[np.integer]
    subjects: Sequence[str | None] | None = None
    selected: bool = False


def evaluate(
    probabilities: NDArray[np.floating],
    targets: NDArray[np.integer],
    label_set: Sequence[str],
    *,
    subjects: Sequence[str | None] | None = None,
    selected: bool = False,
    calibrated_on_these: bool = False,
    bootstrap_samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        probabilities: (N, K), rows that sum to 1; the predicted class is the highest one.
        targets: (N,) index of the true class in `label_set`.
        label_set: The K class names.
        subjects: The person in each clip, where known.
        selected: These clips chose the checkpoint: its rates on them are too high by an unknown
            amount, and no interval is valid.
        calibrated_on_these: These clips fitted the temperature: no calibration error is given.
        bootstrap_samples: Number of resamples for the intervals.
        seed: Seed of the resamples; equal input gives equal intervals.

    Raises:
        DataError: no clips, or probabilities that are not finite.
        ValueError: shapes that do not fit.
    """
    probabilities, targets = checked(probabilities, targets, len(label_set))
    predicted = probabilities.argmax(axis=1)
    right = predicted == targets
    confusion = multiclass_confusion_matrix(
        torch.from_numpy(predicted), torch.from_numpy(targets), num_classes=len(label_set)
    ).numpy()
    counts = count(targets, right, len(label_set), subjects)
    intervals = None
    if not selected:
        intervals = rate_intervals([counts], samples=bootstrap_samples, seed=seed)
    return Evaluation(
        label_set=tuple(label_set),
        num_clips=len(targets),
        war=float(war(counts.total)),
        uar=float(uar(counts.total)),
        recalls={
            name: None if np.isnan(recall) else float(recall)
            for name, recall in zip(label_set, recalls(counts.total), strict=True)
        },
        confusion=confusion.astype(np.int64),
        war_interval=intervals.war if intervals else None,
        uar_interval=intervals.uar if intervals else None,
        war_method=intervals.war_method if intervals else NO_INTERVAL,
        uar_method=intervals.uar_method if intervals else NO_INTERVAL,
        ece=None if calibrated_on_these else calibration_error(probabilities, targets),
        bins=reliability_bins(probabilities.max(axis=1), right),
    )


def war_and_uar(scores: NDArray[np.floating], targets: NDArray[np.integer]) -> tuple[float, float]:
    """Only WAR and UAR, for each epoch of training.

    Args:
        scores: (N, K) logits or probabilities.
        targets: (N,) index of the true class.
    """
    right = scores.argmax(axis=1) == targets
    found = [right[targets == label].mean() for label in np.unique(targets)]
    return float(right.mean()), float(np.mean(found))


def summarise_folds(
    folds: Sequence[Predicted],
    label_set: Sequence[str],
    *,
    bootstrap_samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> FoldSummary:
    """Summarise the folds of one run: each one, their mean, and all clips pooled.

    Args:
        folds: The test clips of each fold.
        label_set: The K class names.
        bootstrap_samples: Number of resamples for the intervals.
        seed: Seed of the resamples.

    Raises:
        DataError: no folds, or a fold that `evaluate` refuses.
    """
    if not folds:
        raise DataError("no folds to summarise")
    selected = any(fold.selected for fold in folds)
    evaluations = tuple(
        evaluate(
            fold.probabilities,
            fold.targets,
            label_set,
            subjects=fold.subjects,
            selected=fold.selected,
            calibrated_on_these=fold.selected,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
        )
        for fold in folds
    )
    intervals = None
    if not selected:
        counts = [_counts(fold, len(label_set)) for fold in folds]
        intervals = rate_intervals(counts, samples=bootstrap_samples, seed=seed)
    wars = np.array([evaluation.war for evaluation in evaluations])
    uars = np.array([evaluation.uar for evaluation in evaluations])
    return FoldSummary(
        folds=evaluations,
        mean_war=float(wars.mean()),
        std_war=float(wars.std(ddof=1)) if len(folds) > 1 else None,
        mean_war_interval=intervals.war if intervals else None,
        mean_uar=float(uars.mean()),
        std_uar=float(uars.std(ddof=1)) if len(folds) > 1 else None,
        mean_uar_interval=intervals.uar if intervals else None,
        mean_war_method=intervals.war_method if intervals else NO_INTERVAL,
        mean_uar_method=intervals.uar_method if intervals else NO_INTERVAL,
        pooled=evaluate(
            np.concatenate([fold.probabilities for fold in folds]),
            np.concatenate([fold.targets for fold in folds]),
            label_set,
            subjects=[name for fold in folds for name in _subjects(fold)],
            selected=selected,
            calibrated_on_these=selected,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
        ),
    )


def _subjects(fold: Predicted) -> Sequence[str | None]:
    return fold.subjects if fold.subjects is not None else [None] * len(fold.targets)


def _counts(fold: Predicted, num_classes: int) -> Counts:
    right = fold.probabilities.argmax(axis=1) == fold.targets
    return count(fold.targets.astype(np.int64), right, num_classes, fold.subjects)
