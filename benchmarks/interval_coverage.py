"""How often the 95 % intervals of WAR and UAR contain the true rate, in realistic settings.

    python benchmarks/interval_coverage.py [--trials 2000]

Each trial draws predictions whose true rates are known and asks `evaluate` for its intervals. The
former method (percentiles of a bootstrap over clips) is shown for comparison.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dfercli.metrics.counts import count, uar, war
from dfercli.metrics.intervals import rate_intervals

SAMPLES = 1000
DFEW_CLIPS = (489, 379, 534, 435, 294, 29, 181)  # sizes of the classes in a test list of fold 1
DFEW_RECALLS = (0.91, 0.82, 0.74, 0.75, 0.60, 0.10, 0.38)

Trial = tuple[NDArray[np.int64], NDArray[np.bool_], list[str] | None]


def independent(sizes: tuple[int, ...], recalls: tuple[float, ...]) -> Callable[..., Trial]:
    """Clips of classes with these recalls; each is recognised independently."""
    targets = np.repeat(np.arange(len(sizes)), sizes)
    chance = np.repeat(recalls, sizes)

    def draw(rng: np.random.Generator) -> Trial:
        return targets, rng.random(len(targets)) < chance, None

    return draw


def of_subjects(subjects: int, per_class: int, rate: float, alike: float) -> Callable[..., Trial]:
    """Subjects with equally many clips of seven classes; some are easier to recognise than others.

    `alike` is the correlation of two clips of one subject.
    """
    targets = np.tile(np.repeat(np.arange(7), per_class), subjects)
    units = np.repeat(np.arange(subjects), 7 * per_class)
    names = [f"person-{unit}" for unit in units]
    more = (1 - alike) / alike

    def draw(rng: np.random.Generator) -> Trial:
        own = rng.beta(rate * more, (1 - rate) * more, subjects)
        return targets, rng.random(len(targets)) < own[units], names

    return draw


def mean_recalls(sizes: tuple[int, ...], recalls: tuple[float, ...]) -> tuple[float, float]:
    """True WAR and UAR."""
    return float(np.average(recalls, weights=sizes)), float(np.mean(recalls))


SMALL = (12, 100, 100, 100, 100, 100, 100)
SETTINGS: dict[str, tuple[Callable[..., Trial], tuple[float, float]]] = {
    "DFEW-like, 2,341 clips": (
        independent(DFEW_CLIPS, DFEW_RECALLS),
        mean_recalls(DFEW_CLIPS, DFEW_RECALLS),
    ),
    "n = 77 at 0.97": (independent((11,) * 7, (0.97,) * 7), (0.97, 0.97)),
    "ten subjects of 21 clips": (of_subjects(10, 3, 0.7, 0.15), (0.7, 0.7)),
    "a class of 12 clips": (
        independent(SMALL, (0.5, *(0.7,) * 6)),
        mean_recalls(SMALL, (0.5, *(0.7,) * 6)),
    ),
    "ten subjects at 0.97": (of_subjects(10, 3, 0.97, 0.05), (0.97, 0.97)),
    "thirty subjects of 7 clips": (of_subjects(30, 1, 0.7, 0.15), (0.7, 0.7)),
}


def coverage(name: str, trials: int, seed: int = 0) -> dict[str, float]:
    """The share of trials in which each interval contains the truth, in per cent."""
    draw, (true_war, true_uar) = SETTINGS[name]
    rng = np.random.default_rng([seed, len(name)])
    hits = {"WAR": 0, "UAR": 0, "WAR before": 0, "UAR before": 0}
    for trial in range(trials):
        targets, right, names = draw(rng)
        found = rate_intervals([count(targets, right, 7, names)], samples=SAMPLES, seed=trial)
        hits["WAR"] += found.war[0] <= true_war <= found.war[1]
        hits["UAR"] += found.uar[0] <= true_uar <= found.uar[1]
        cells = count(targets, right, 7).total
        drawn = np.random.default_rng(trial).multinomial(
            cells.sum(), cells.ravel() / cells.sum(), size=SAMPLES
        )
        for rate, truth, key in ((war, true_war, "WAR before"), (uar, true_uar, "UAR before")):
            low, high = np.percentile(rate(drawn.reshape(SAMPLES, 7, 2)), [2.5, 97.5])
            hits[key] += low <= truth <= high
    return {key: 100 * hit / trials for key, hit in hits.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    print(f"{'setting':30}{'WAR':>8}{'UAR':>8}{'before: WAR':>14}{'UAR':>8}   ({trials} trials)")
    for name in SETTINGS:
        found = coverage(name, trials)
        print(
            f"{name:30}{found['WAR']:8.1f}{found['UAR']:8.1f}"
            f"{found['WAR before']:14.1f}{found['UAR before']:8.1f}"
        )


if __name__ == "__main__":
    main()
