"""Recognise the benchmark, fold and label order of a list by its number of clips per class.

The classes of DFEW, FERV39k and MAFW differ in size, so that the counts of a whole fold name each
class: an index with 145 clips of 11,697 is DFEW's disgust, whatever the label order claims.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfercli.data.published_sizes import TOTALS, PublishedTotals
from dfercli.errors import DataError

OFF_BY = 2  # clips of a class; MAFW's lists in use lack one or two
ONE_LIST_OFF_BY = 0.2  # of a class, if there is only a train or a test list


@dataclass(frozen=True)
class KnownList:
    """What the counts of a list reveal.

    Attributes:
        benchmark: `dfew`, `ferv39k` or `mafw`.
        fold: Its published fold; None where the sizes are those of several.
        classes: Label as written -> class, by the counts; empty if there is only one list.
        is_exact: Whether all counts and sizes are the published ones.
    """

    benchmark: str
    fold: int | None
    classes: Mapping[str, str]
    is_exact: bool


def recognise(train: Sequence[str], test: Sequence[str], path: Path) -> KnownList | None:
    """Recognise a pair of lists.

    Args:
        train: The labels of the training list, as written; empty where there is no such list.
        test: As `train`.
        path: One of the lists; a number in its name tells folds of equal sizes apart.
    """
    counts = Counter([*train, *test])
    for name, totals in TOTALS.items():
        if len(counts) != len(totals.label_counts):
            continue
        if train and test:
            classes = _by_counts(counts, totals)
            if classes is None:
                continue
            fold = _fold_of((len(train), len(test)), totals, path)
            is_exact = (len(train), len(test)) in totals.fold_sizes and all(
                counts[label] == totals.label_counts[own] for label, own in classes.items()
            )
            return KnownList(name, fold, classes, is_exact)
        part = 0 if train else 1
        if len(train or test) in {sizes[part] for sizes in totals.fold_sizes}:
            found = sorted(counts.values())
            share = len(train or test) / totals.num_clips
            if _are_near(found, sorted(totals.label_counts.values()), share):
                return KnownList(name, None, {}, False)
    return None


def refuse_contradiction(
    known: KnownList, order: Sequence[str], label_order: str, written: Sequence[str], where: Path
) -> None:
    """Refuse an order of labels under which the classes have other sizes than they have.

    Args:
        known: What the list is.
        order: The class of each index.
        label_order: The name of that order.
        written: The labels as written.
        where: The list, for the message.

    Raises:
        DataError: both tables are in the message.
    """
    published = TOTALS[known.benchmark].label_counts
    counts = Counter(written)
    named = {order[int(label)]: number for label, number in counts.items()}
    if known.classes:
        fits = all(order[int(label)] == own for label, own in known.classes.items())
    else:
        share = len(written) / TOTALS[known.benchmark].num_clips
        pairs = [(named.get(name, 0), number) for name, number in published.items()]
        fits = all(_are_near([found], [number], share) for found, number in pairs)
    if fits:
        return
    own = ", ".join(f"{name} {named.get(name, 0)}" for name in published)
    wanted = ", ".join(f"{name} {number}" for name, number in published.items())
    raise DataError(
        f"{where}: under the label order {label_order} these lists have {own}; "
        f"{known.benchmark} has {wanted} in all",
        hint="omit --label-order: the counts show which index is which class"
        if known.classes
        else "choose another --label-order",
    )


def _by_counts(counts: Mapping[str, int], totals: PublishedTotals) -> dict[str, str] | None:
    """Label -> class, where each has the size of exactly one class; else None."""
    classes: dict[str, str] = {}
    for label, number in counts.items():
        near = [
            name
            for name, published in totals.label_counts.items()
            if abs(published - number) <= OFF_BY
        ]
        if len(near) != 1:
            return None
        classes[label] = near[0]
    return classes if len(set(classes.values())) == len(classes) else None


def _are_near(found: Sequence[int], published: Sequence[int], share: float) -> bool:
    return all(
        abs(number - share * whole) <= ONE_LIST_OFF_BY * share * whole + OFF_BY
        for number, whole in zip(found, published, strict=True)
    )


def _fold_of(sizes: tuple[int, int], totals: PublishedTotals, path: Path) -> int | None:
    candidates = [
        number for number, published in enumerate(totals.fold_sizes, 1) if published == sizes
    ]
    if len(candidates) == 1:
        return candidates[0]
    return next((n for n in reversed(numbers_in(path)) if n in candidates), None)


def numbers_in(path: Path) -> list[int]:
    """The numbers in the name of a list and of its folder, in order."""
    digits = re.findall(r"\d+", f"{path.parent.name} {path.stem}")
    return [int(text) for text in digits if len(text) < 3]
