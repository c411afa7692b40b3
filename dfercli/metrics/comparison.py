"""One run against another on the same clips."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from dfercli.artifacts.evaluation import Interval, PairedTest
from dfercli.errors import DataError
from dfercli.metrics.counts import uar, units_of, war
from dfercli.metrics.intervals import OUTSIDE

BOOTSTRAP_SAMPLES = 1000


def compare(
    predicted_a: NDArray[np.integer],
    predicted_b: NDArray[np.integer],
    targets: NDArray[np.integer],
    num_classes: int,
    *,
    subjects: Sequence[str | None] | None = None,
    bootstrap_samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Test two runs against each other on the same clips, in the same order.

    Args:
        predicted_a: (N,) classes that run A predicted.
        predicted_b: (N,) classes that run B predicted.
        targets: (N,) true classes.
        num_classes: K.
        subjects: The person in each clip, if known; then subjects are resampled.
        bootstrap_samples: Number of resamples for the intervals; both runs share each resample.
        seed: Seed of the resamples.

    Raises:
        DataError: no clips.
    """
    if len(targets) == 0:
        raise DataError("no clips to compare")
    right_a, right_b = predicted_a == targets, predicted_b == targets
    # (K, 4): the clips of a class that neither, only B, only A, or both recognised.
    cells = np.zeros((num_classes, 4), dtype=np.int64)
    np.add.at(cells, (targets, 2 * right_a + right_b), 1)
    samples, outside = _redraw(
        targets, 2 * right_a + right_b, cells, subjects, bootstrap_samples, seed
    )
    only_a, only_b = int(cells[:, 2].sum()), int(cells[:, 1].sum())
    return PairedTest(
        num_clips=len(targets),
        only_a_right=only_a,
        only_b_right=only_b,
        mcnemar_p=mcnemar_exact(only_a, only_b),
        war_difference=float(_difference(cells, war)),
        war_interval=_interval(_difference(samples, war), outside),
        uar_difference=float(_difference(cells, uar)),
        uar_interval=_interval(_difference(samples, uar), outside),
    )


def mcnemar_exact(only_a_right: int, only_b_right: int) -> float:
    """Two-sided exact McNemar p-value: a fair coin on the clips on which the two differ."""
    from scipy.stats import binomtest  # slow to import, and needed only here

    differing = only_a_right + only_b_right
    return float(binomtest(only_a_right, differing).pvalue) if differing else 1.0


def _redraw(
    targets: NDArray[np.integer],
    outcome: NDArray[np.int64],
    cells: NDArray[np.int64],
    subjects: Sequence[str | None] | None,
    samples: int,
    seed: int,
) -> tuple[NDArray[np.int64], float]:
    """Draw clips, or subjects where these are known: (S, K, 4) cells, and the share outside."""
    rng = np.random.default_rng(seed)
    units = units_of(subjects, len(targets))
    if units is None:
        total = cells.sum()
        draws = rng.multinomial(total, cells.ravel() / total, size=samples)
        return draws.reshape(samples, *cells.shape), OUTSIDE
    number = int(units.max()) + 1
    of_units = np.zeros((number, *cells.shape), dtype=np.int64)
    np.add.at(of_units, (units, targets, outcome), 1)
    times = rng.multinomial(number, np.full(number, 1 / number), size=samples)
    # With few subjects the usual percentiles are too narrow; these lie where Student's t would.
    far = -float(stdtrit(number - 1, 1 - OUTSIDE)) * np.sqrt(number / (number - 1))
    return np.tensordot(times, of_units, axes=1), float(ndtr(far))


def _difference(
    cells: NDArray[np.int64], rate: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """`rate` of A minus that of B, from (..., K, 4) cells of neither, B, A, both."""
    neither, only_b, only_a, both = np.moveaxis(cells, -1, 0)
    cells_a = np.stack([neither + only_b, only_a + both], axis=-1)
    cells_b = np.stack([neither + only_a, only_b + both], axis=-1)
    return np.asarray(rate(cells_a) - rate(cells_b))


def _interval(values: NDArray[np.float64], outside: float) -> Interval:
    low, high = np.percentile(values, [100 * outside, 100 * (1 - outside)])
    return float(low), float(high)
