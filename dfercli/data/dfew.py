"""DFEW: seven classes, five folds, labels by number.

Two forms of its lists share the header `video_name,label`: the published one counts labels from 1,
a repackaged one from 0. The smallest label of a fold tells them apart.
"""

import csv
from pathlib import Path

from dfercli.data.clips import Clip, Fold
from dfercli.data.layout import (
    first_existing,
    frames_folder,
    index_numbered_clips,
    name_below,
    read_list_text,
)
from dfercli.errors import DataError
from dfercli.labels import SEVEN

# The owners' numbers are in this order, from 1: happy sad neutral angry surprise disgust fear.
LABEL_SET = SEVEN
NESTED = ("DFEW-part2", "DFEW")
FRAMES = (
    "Clip/clip_224x224",
    "Clip/jpg_256",
    "Clip/jpg_224",
    "jpg_224",
    "Clip/clip_224x224_16f",
    "Clip/clip_224x224_avi",
    "Clip/original",
)
HEADER = ["video_name", "label"]


def read_dfew(root: Path, fold: int, frames: str | None = None) -> Fold:
    """Read one fold of DFEW.

    Args:
        root: The folder of the copy.
        fold: 1 to 5.
        frames: The folder of clips relative to `root`; by default the first known one.

    Raises:
        DataError: lists or frames are missing, or a row is broken (named).
    """
    train, test = (_read_numbers(_list_path(root, part, fold)) for part in ("train", "test"))
    labels = {label for _, label in train + test}
    lowest, highest = min(labels), max(labels)
    if (lowest, highest) not in ((0, len(LABEL_SET) - 1), (1, len(LABEL_SET))):
        raise DataError(
            f"DFEW fold {fold}: the lists hold labels {lowest} to {highest}, expected 1 to 7 "
            "(as published) or 0 to 6 (repackaged)"
        )
    folder = frames_folder("DFEW", root, FRAMES, chosen=frames, nested=NESTED)
    index = index_numbered_clips(folder)

    def clips(rows: list[tuple[int, int]]) -> tuple[Clip, ...]:
        return tuple(
            Clip(
                clip_id=f"{number:05d}",
                location=index.get(number, folder / f"{number:05d}"),
                label=LABEL_SET[label - lowest],
            )
            for number, label in rows
        )

    return Fold(
        dataset="dfew",
        fold=fold,
        label_set=LABEL_SET,
        train=clips(train),
        test=clips(test),
        official=True,
        frame_source=name_below(folder, root),
    )


def _list_path(root: Path, part: str, fold: int) -> Path:
    candidates = (
        f"EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv",
        f"EmoLabel_DataSplit/{part}(single-labeled)/{part}_set_{fold}.csv",
        f"EmoLabel_DataSplit/{part}_set_{fold}.csv",
        f"{part}_set_{fold}.csv",
    )
    path = first_existing(root, candidates, NESTED)
    if path is None:
        raise DataError(
            f"DFEW: no {part} list of fold {fold} in {root} (looked for {candidates[0]} and others)"
        )
    return path


def _read_numbers(path: Path) -> list[tuple[int, int]]:
    """(clip number, label as written) of each row."""
    try:
        rows = list(csv.reader(read_list_text(path).splitlines()))
    except csv.Error as error:
        raise DataError(f"cannot read the list {path}: {error}") from error
    if not rows or [cell.strip() for cell in rows[0]] != HEADER:
        got = ",".join(rows[0]) if rows else "nothing"
        raise DataError(f"{path}: expected the header video_name,label, got {got[:60]!r}")
    numbers = []
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            name, label = row
            numbers.append((int(name), int(label)))
        except ValueError:
            raise DataError(
                f"{path}, line {line}: expected two numbers, got {','.join(row)[:60]!r}"
            ) from None
    if not numbers:
        raise DataError(f"{path}: no clips below the header")
    return numbers
