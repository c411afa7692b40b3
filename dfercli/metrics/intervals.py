"""95 % intervals of WAR and UAR that keep their coverage with few clips and few people.

- WAR of independent clips: Wilson's score interval.
- UAR, and all means over folds: the bootstrap gives the spread of the log odds of the rate, and the
  interval is symmetric on that scale. Clips are redrawn class by class.
- Where subjects are known, subjects are redrawn, not clips: two clips of one person are alike. With
  few subjects the spread is itself uncertain, hence Student's t with one degree of freedom less
  than there are subjects. Such an interval is never narrower than the one of independent clips.

Log odds keep an interval inside [0, 1]. At exactly 0 or 100 % all draws are equal, so the bootstrap
would claim certainty; Wilson's interval of as many clips does not.
`benchmarks/interval_coverage.py` measures how often these intervals contain the true rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from dfercli.artifacts.evaluation import INTERVAL_PERCENT, Interval
from dfercli.metrics.counts import Counts, uar, war

OUTSIDE = (100 - INTERVAL_PERCENT) / 200  # the share that lies beyond each end
Z = float(ndtri(1 - OUTSIDE))

Rate = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class RateIntervals:
    """The intervals of one list of clips, or of a mean over folds, and how they were made."""

    war: Interval
    uar: Interval
    war_method: str
    uar_method: str


def rate_intervals(folds: Sequence[Counts], *, samples: int, seed: int) -> RateIntervals:
    """The intervals of WAR and UAR, of their means over folds where there are several.

    Args:
        folds: The clips of each fold.
        samples: Number of draws.
        seed: Seed of the draws; equal input gives equal intervals.
    """
    clips = sum(int(fold.total.sum()) for fold in folds)
    subjects = sum(fold.subjects or int(fold.total.sum()) for fold in folds)
    by_subject = any(fold.subjects for fold in folds)
    bootstrap = (
        f"bootstrap over {subjects} subjects" if by_subject else f"bootstrap over {clips} clips"
    )
    if len(folds) == 1 and not by_subject:
        right = float(folds[0].total[:, 1].sum())
        war_interval, war_method = wilson(right / clips, clips), f"Wilson over {clips} clips"
    else:
        war_interval, war_method = _bootstrap(folds, war, samples, seed), bootstrap
    return RateIntervals(war_interval, _bootstrap(folds, uar, samples, seed), war_method, bootstrap)


def wilson(rate: float, clips: float) -> Interval:
    """Wilson's score interval (1927) of a rate observed on this many independent clips."""
    shrink = 1 + Z**2 / clips
    middle = (rate + Z**2 / (2 * clips)) / shrink
    half = Z / shrink * np.sqrt(rate * (1 - rate) / clips + Z**2 / (4 * clips**2))
    # Its ends are exactly 0 and 1 at these rates, except for the last bits.
    low = 0.0 if rate == 0 else max(0.0, float(middle - half))
    return low, 1.0 if rate == 1 else min(1.0, float(middle + half))


def _bootstrap(folds: Sequence[Counts], rate: Rate, samples: int, seed: int) -> Interval:
    """The interval of the mean of `rate` over folds, by subjects where these are known."""
    rng = np.random.default_rng(seed)
    totals = [fold.total.astype(np.float64) for fold in folds]
    found = float(np.mean([rate(total) for total in totals]))
    clips = _independent_clips(totals, rate)
    if found in (0.0, 1.0):
        return wilson(found, clips)
    drawn = np.mean([rate(_redraw_clips(total, samples, rng)) for total in totals], axis=0)
    interval = _by_log_odds(found, drawn, clips, Z)
    if not any(fold.subjects for fold in folds):
        return interval
    units = sum(fold.subjects or int(fold.total.sum()) for fold in folds)
    freedom = units - len(folds)
    widened = float(stdtrit(freedom, 1 - OUTSIDE)) * np.sqrt(units / freedom)
    drawn = np.mean(
        [
            rate(
                _redraw_subjects(fold, samples, rng)
                if fold.subjects
                else _redraw_clips(total, samples, rng)
            )
            for fold, total in zip(folds, totals, strict=True)
        ],
        axis=0,
    )
    low, high = _by_log_odds(found, drawn, clips, widened)
    return min(low, interval[0]), max(high, interval[1])


def _by_log_odds(rate: float, drawn: NDArray[np.float64], clips: float, widened: float) -> Interval:
    """The interval that is symmetric in log odds, with the spread that the draws have there."""

    def log_odds(values: NDArray[np.float64]) -> NDArray[np.float64]:
        # A third of a clip at either side keeps them finite, and the median in its place.
        return np.asarray(np.log((values * clips + 1 / 3) / ((1 - values) * clips + 1 / 3)))

    middle = float(log_odds(np.array(rate)))
    half = widened * float(log_odds(drawn).std())
    low, high = (float(1 / (1 + np.exp(-end))) for end in (middle - half, middle + half))
    return min(low, rate), max(high, rate)


def _independent_clips(totals: Sequence[NDArray[np.float64]], rate: Rate) -> float:
    """How many clips of one list a mean over classes and folds is worth, at equal rates."""
    variance = 0.0
    for total in totals:
        sizes = total.sum(axis=-1)
        sizes = sizes[sizes > 0]
        variance += float((1 / sizes).sum()) / len(sizes) ** 2 if rate is uar else 1 / sizes.sum()
    return len(totals) ** 2 / variance


def _smoothed(cells: NDArray[np.float64], like: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cells with one more clip in each class, recognised at the mean rate of the classes.

    Without it a class of three clips, all recognised, would be recognised in every draw.
    """
    level = float(uar(like))
    present = like.sum(axis=-1) > 0  # (K,)
    return np.asarray(cells + present[:, None] * np.array([1 - level, level]))


def _redraw_clips(
    total: NDArray[np.float64], samples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Resample the clips of each class; (K, 2) -> (S, K, 2)."""
    sizes = total.sum(axis=-1).astype(np.int64)
    smoothed = _smoothed(total, total)
    rates = smoothed[:, 1] / np.maximum(smoothed.sum(axis=-1), 1)
    right = rng.binomial(sizes, rates, size=(samples, len(sizes)))
    return np.stack([sizes - right, right], axis=-1).astype(np.float64)


def _redraw_subjects(fold: Counts, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw as many subjects as there are, with replacement; (S, K, 2)."""
    number = len(fold.cells)
    times = rng.multinomial(number, np.full(number, 1 / number), size=samples)  # (S, U)
    drawn = np.tensordot(times, fold.cells, axes=1).astype(np.float64)
    return _smoothed(drawn, fold.total.astype(np.float64))
