"""Counts for WAR and UAR: the class of each clip, and whether it was recognised."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Counts:
    """The clips of one test list, counted by who they show, class, and missed or recognised.

    Attributes:
        cells: (U, K, 2) int64; U is the number of subjects, or 1 if clips are independent.
        subjects: Number of subjects, or None if clips are independent of each other.
    """

    cells: NDArray[np.int64]
    subjects: int | None

    @property
    def total(self) -> NDArray[np.int64]:
        """(K, 2): the clips of each class that were missed and recognised."""
        return np.asarray(self.cells.sum(axis=0))


def count(
    targets: NDArray[np.int64],
    right: NDArray[np.bool_],
    num_classes: int,
    subjects: Sequence[str | None] | None = None,
) -> Counts:
    """Count clips.

    Clips are independent unless some subject is in two of them; a clip of an unknown person is then
    its own subject. If all clips show one subject, they say nothing about others, and count as
    independent clips of that one.

    Args:
        targets: (N,) true classes.
        right: (N,) whether the clip was recognised.
        num_classes: K.
        subjects: The person in each clip, where known.
    """
    units = units_of(subjects, len(targets))
    number = None if units is None else int(units.max()) + 1
    cells = np.zeros((number or 1, num_classes, 2), dtype=np.int64)
    where = np.zeros(len(targets), dtype=np.int64) if units is None else units
    np.add.at(cells, (where, targets, right.astype(np.int64)), 1)
    return Counts(cells, number)


def units_of(subjects: Sequence[str | None] | None, num_clips: int) -> NDArray[np.int64] | None:
    """The number of each clip's subject, (N,); None if clips are independent."""
    if subjects is None:
        return None
    names = [("known", name) if name else ("clip", str(i)) for i, name in enumerate(subjects)]
    index = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if not 1 < len(index) < num_clips:
        return None
    return np.array([index[name] for name in names])


def war(cells: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Accuracy of (..., K, 2) cells."""
    return np.asarray(cells[..., 1].sum(axis=-1) / cells.sum(axis=(-2, -1)))


def recalls(cells: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
    """(..., K) recalls of (..., K, 2) cells, nan if a class has no clip."""
    totals = cells.sum(axis=-1)
    safe = np.where(totals > 0, totals, 1)
    return np.where(totals > 0, cells[..., 1] / safe, np.nan)


def uar(cells: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean recall of (..., K, 2) cells over the classes that have clips."""
    return np.asarray(np.nanmean(recalls(cells), axis=-1))
