"""A folder of lists: one fold for each pair of training and test list."""

from collections import Counter
from pathlib import Path

from dfercli.data.known_lists import numbers_in, recognise
from dfercli.data.lists import PART_NAME, read_list, train_and_test
from dfercli.errors import DataError

SUFFIXES = (".txt", ".csv")


def has_lists(folder: Path) -> bool:
    """Whether a folder, or the folders in it, hold lists for training."""
    return bool(_training_lists(folder))


def lists_in(folder: Path) -> list[Path]:
    """The training list of each fold, fold 1 first.

    Numbers in the names give the order where each list has another; else the names do.

    Raises:
        DataError: lists of two benchmarks, or one list without its counterpart among others.
    """
    lists = _training_lists(folder)
    pairs = {path: train_and_test(path) for path in lists}
    alone = [path for path, (_, test) in pairs.items() if test is None]
    if alone and len(lists) > 1:
        raise DataError(f"{folder}: {alone[0].name} has no test list, unlike the others")
    names: dict[str, Path] = {}
    for path, parts in pairs.items():
        labels = [[row.label for row in read_list(part)] if part else [] for part in parts]
        if known := recognise(labels[0], labels[1], path):
            names.setdefault(known.benchmark, path)
    if len(names) > 1:
        found = " and ".join(f"{path.name} ({name})" for name, path in names.items())
        raise DataError(
            f"{folder} holds lists of {len(names)} benchmarks: {found}",
            hint="name one list, or keep the lists of each benchmark in their own folder",
        )
    numbered = {path: _fold_number(path, lists) for path in lists}
    return sorted(lists, key=lambda path: (numbered[path], str(path)))


def _training_lists(folder: Path) -> list[Path]:
    found = [
        path
        for pattern in ("*", "*/*")
        for path in sorted(folder.glob(pattern))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    marked = {path: PART_NAME.findall(path.name) for path in found}
    return [path for path, parts in marked.items() if parts and parts[-1].lower() == "train"]


def _fold_number(path: Path, lists: list[Path]) -> int:
    """The number in a list's name that tells it from the others, 0 where there is none."""
    columns = [numbers_in(other) for other in lists]
    for place, number in enumerate(numbers_in(path)):
        column = [numbers[place] for numbers in columns if len(numbers) > place]
        if len(column) == len(lists) and max(Counter(column).values()) == 1:
            return number
    return 0
