"""MAFW: eleven single or 43 compound classes, five folds, with or without captions.

Lists with captions are GBK text with tabs and know no neutral class (10 and 42 classes).
"""

from pathlib import Path
from typing import Literal

from dfercli.data.clips import Clip, Fold
from dfercli.data.layout import (
    first_existing,
    frames_folder,
    index_numbered_clips,
    name_below,
    numbered_lines,
)
from dfercli.errors import DataError
from dfercli.labels import ELEVEN, canonical_label

NUM_FOLDS = 5
NESTED = ("MAFW",)
FRAMES = ("data/faces", "data/frames", "data/clips", "faces", "frames", "clips")
LISTS = "Train & Test Set"

Classes = Literal["single", "compound"]


def read_mafw(
    root: Path,
    fold: int,
    frames: str | None = None,
    *,
    classes: Classes = "single",
    captions: bool = False,
) -> Fold:
    """Read one fold of MAFW.

    Args:
        root: The folder of the copy.
        fold: 1 to 5.
        frames: The folder of clips relative to `root`; by default the face crops where they are,
            else whole frames, else videos.
        classes: The lists of single or of compound classes.
        captions: The lists of the clips that have captions.

    Raises:
        DataError: lists or frames are missing, or a row is broken (named).
    """
    train, test = (
        _read_rows(_list_path(root, part, fold, classes, captions)) for part in ("train", "test")
    )
    if classes == "single":
        seen = {label for _, label in train + test}
        label_set = ELEVEN if not captions else _without_neutral(seen)
        _refuse_unknown(seen, label_set, fold)
    else:
        label_set = _compound_label_set(root, captions)
    folder = frames_folder("MAFW", root, FRAMES, chosen=frames, nested=NESTED)
    index = index_numbered_clips(folder)

    def clips(rows: list[tuple[int, str]]) -> tuple[Clip, ...]:
        return tuple(
            Clip(
                clip_id=f"{number:05d}",
                location=index.get(number, folder / f"{number:05d}"),
                label=label,
            )
            for number, label in rows
        )

    return Fold(
        dataset="mafw",
        fold=fold,
        label_set=label_set,
        train=clips(train),
        test=clips(test),
        official=True,
        frame_source=name_below(folder, root),
    )


def _without_neutral(seen: set[str]) -> tuple[str, ...]:
    return tuple(name for name in ELEVEN if name != "neutral" or name in seen)


def _refuse_unknown(seen: set[str], label_set: tuple[str, ...], fold: int) -> None:
    unknown = sorted(seen - set(label_set))
    if unknown:
        raise DataError(
            f"MAFW fold {fold}: the single-class lists hold compound labels: "
            f"{', '.join(unknown[:5])}",
            hint="were single and compound lists mixed up?",
        )


def _list_path(root: Path, part: str, fold: int, classes: Classes, captions: bool) -> Path:
    name = f"{LISTS}/{classes}/{_caption_folder(captions)}/set_{fold}/{part}.txt"
    path = first_existing(root, (name,), NESTED)
    if path is None:
        raise DataError(f"MAFW: no {part} list of fold {fold} in {root} (looked for {name})")
    return path


def _caption_folder(captions: bool) -> str:
    return "with_caption" if captions else "no_caption"


def _compound_label_set(root: Path, captions: bool) -> tuple[str, ...]:
    """Every class of every fold in one order for all folds: single ones first."""
    pattern = f"{LISTS}/compound/{_caption_folder(captions)}/set_*/*.txt"
    paths = [path for inner in ("", *NESTED) for path in (root / inner).glob(pattern)]
    names = {label for path in paths for _, label in _read_rows(path)}

    def order(name: str) -> tuple[int, list[int]]:
        parts = [ELEVEN.index(part) for part in name.split("_")]
        return len(parts), parts

    return tuple(sorted(names, key=order))


def _read_rows(path: Path) -> list[tuple[int, str]]:
    """(clip number, label) of each row: `00025.mp4 anger`, or tabs and two captions after it."""
    rows = []
    for number, line in numbered_lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        stem = Path(fields[0].strip()).stem
        label = _canonical(fields[1]) if len(fields) > 1 else None
        if not stem.isdecimal() or label is None:
            raise DataError(
                f"{path}, line {number}: expected a row such as '00025.mp4 anger', "
                f"got {line[:60]!r}"
            )
        rows.append((int(stem), label))
    return rows


def _canonical(word: str) -> str | None:
    """`Anger_Disgust` -> `anger_disgust`; None where a part is not a class."""
    parts = [canonical_label(part) for part in word.strip().split("_")]
    known = [part for part in parts if part is not None]
    return "_".join(known) if len(known) == len(parts) else None
