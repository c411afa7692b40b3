"""List files of other repositories, with their labels turned into names.

Three forms, one per line, told apart by the first line:

    <path> <number of frames> <label>    DFER-CLIP, Former-DFER, MMA-DFER, IAL, Exp-CLIP
    <path> <label>                       MAE-DFER
    <video folder> <wav file> <label>    HiCMAE

A label is a word, or an index that means something only beside an order of the classes. Paths are
those of another machine: their last parts are looked up below a root.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dfercli.data import dfew, ferv39k, mafw
from dfercli.data.clips import Clip, Fold
from dfercli.data.frames import is_video_file
from dfercli.data.known_lists import KnownList, recognise, refuse_contradiction
from dfercli.data.layout import dataset_root, numbered_lines
from dfercli.data.published_sizes import BENCHMARKS
from dfercli.errors import ConfigError, DataError
from dfercli.labels import ELEVEN, SEVEN, canonical_label, label_set_for

MAE_DFER_ELEVEN = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
    "contempt",
    "anxiety",
    "helplessness",
    "disappointment",
)

# Each repository's order by number of classes. MAE-DFER keeps DFEW's own order for seven.
LABEL_ORDERS = {
    "dfer-clip": {7: SEVEN, 11: ELEVEN},
    "mae-dfer": {7: SEVEN, 11: MAE_DFER_ELEVEN},
    "s2d": {7: tuple(sorted(SEVEN)), 11: tuple(sorted(ELEVEN))},
}

KNOWN_FRAMES = (*dfew.FRAMES, *ferv39k.FRAMES, *mafw.FRAMES)
TEST_NAMES = ("test", "val")
PART_NAME = re.compile(r"(?<![a-z])(train|test|val)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class ListRow:
    """One line of a list: the path as written, the frames it claims, the label as written."""

    path: PurePosixPath
    num_frames: int | None
    label: str


def read_list_fold(
    path: Path,
    *,
    root: Path | None = None,
    frames: str | None = None,
    label_order: str | None = None,
) -> Fold:
    """Read a list file and, where `train` or `test` in its name leads to it, its counterpart.

    Args:
        path: The list. With `train` in its name the list of the same name with `test` (or `val`)
            is the test list, and vice versa; any other list is for training.
        root: Where the clips lie; by default the copy of a benchmark that the list lies in, else
            the copy of the benchmark it is named after, else the folder of the list.
        frames: The folder of clips relative to `root`, where it is not a well-known one.
        label_order: `dfer-clip`, `mae-dfer`, `s2d`, or a file with one class name per line, for
            lists with numeric labels.

    Raises:
        ConfigError: an unknown label order.
        DataError: a list that is missing, broken, or whose labels are ambiguous.
    """
    parts = train_and_test(path)
    rows = [[] if part is None else read_list(part) for part in parts]
    everything = [row for part in rows for row in part]
    common = _common_folder(path, [row.path for row in everything])
    by_folder = [label_from_path(row.path.relative_to(common)) for row in everything]
    known = recognise([row.label for row in rows[0]], [row.label for row in rows[1]], path)
    labels, label_set = _resolve_labels(everything, by_folder, label_order, path, known)
    locator = _Locator(_root_of(path, root), frames, as_written=root is None and frames is None)
    clips = [
        Clip(
            clip_id=_clip_id(row.path, common),
            location=locator.locate(row.path),
            label=label,
            listed_frames=row.num_frames,
        )
        for row, label in zip(everything, labels, strict=True)
    ]
    return Fold(
        dataset=str(path),
        fold=1,
        label_set=label_set,
        train=tuple(clips[: len(rows[0])]),
        test=tuple(clips[len(rows[0]) :]),
        official=known is not None and known.is_exact,
        frame_source=str(locator.root if frames is None else locator.root / frames),
        labelling="" if known is None else _describe(known, everything, label_set),
        benchmark=None if known is None else known.benchmark,
        published_fold=None if known is None else known.fold,
    )


def _describe(known: KnownList, rows: Sequence[ListRow], label_set: tuple[str, ...]) -> str:
    """What a list is, by its counts, as text."""
    fold = "" if known.fold is None else f" fold {known.fold}"
    text = f"by its counts {known.benchmark}{fold}{'' if known.is_exact else ', nearly'}"
    indices = {row.label for row in rows}
    if not known.classes or not all(label.isdecimal() for label in indices):
        return text
    order = tuple(known.classes[label] for label in sorted(indices, key=int))
    names = [name for name, orders in LABEL_ORDERS.items() if order in orders.values()]
    return f"{text}, labels in {f'the order of {names[0]}' if names else 'an order of its own'}"


def read_list(path: Path) -> list[ListRow]:
    """Read the lines of one list.

    Raises:
        DataError: a line is not of the form of the first one; it is named.
    """
    lines = numbered_lines(path)
    form = _form_of(lines[0][1])
    rows = []
    for number, line in lines:
        row = _parse(line, form)
        if row is None:
            raise DataError(
                f"{path}, line {number}: expected <path> <number of frames> <label>, "
                f"<path> <label> or <folder> <wav> <label>, as in the first line; got {line[:80]!r}"
            )
        rows.append(row)
    return rows


def label_from_path(path: PurePosixPath) -> str | None:
    """The class that a folder of `path` is named after, as in `Action/Sad/0010`, else None.

    Args:
        path: Below the folder that all clips share; the user's own folders say nothing.
    """
    for part in reversed(path.parts[:-1]):
        label = canonical_label(part)
        if label is not None:
            return label
    return None


def _form_of(line: str) -> str:
    before, _, _ = line.rpartition(" ")
    if re.search(r"\s\d+$", before):
        return "counted"
    return "with audio" if before.lower().endswith(".wav") else "plain"


def _parse(line: str, form: str) -> ListRow | None:
    fields = line.split() if form != "plain" else line.rsplit(maxsplit=1)
    if form == "plain":
        return ListRow(PurePosixPath(fields[0]), None, fields[1]) if len(fields) == 2 else None
    if len(fields) < 3:
        return None
    path, middle, label = line.rsplit(maxsplit=2)
    if form == "counted":
        return ListRow(PurePosixPath(path), int(middle), label) if middle.isdecimal() else None
    return ListRow(PurePosixPath(path), None, label) if middle.lower().endswith(".wav") else None


def train_and_test(path: Path) -> tuple[Path | None, Path | None]:
    """The training list and the test list that a list is one of; None where there is none."""
    found = list(PART_NAME.finditer(path.name))
    if not found:
        return path, None
    start, end = found[-1].span()
    is_train = found[-1].group().lower() == "train"
    candidates = (
        path.with_name(path.name[:start] + other + path.name[end:])
        for other in (TEST_NAMES if is_train else ("train",))
    )
    counterpart = next((other for other in candidates if other.is_file()), None)
    return (path, counterpart) if is_train else (counterpart, path)


def _resolve_labels(
    rows: Sequence[ListRow],
    by_folder: Sequence[str | None],
    label_order: str | None,
    where: Path,
    known: KnownList | None,
) -> tuple[list[str], tuple[str, ...]]:
    """The class of each row, and the label set.

    `by_folder` are the classes that the clips' folders are named after.
    """
    written = [row.label for row in rows]
    if not all(label.isdecimal() for label in written):
        return _resolve_words(written, where)
    indices = {int(label) for label in written}
    if label_order is None and known is not None and known.classes:
        names = [known.classes[label] for label in written]
        return names, label_set_for(set(names)) or ELEVEN
    if label_order is None:
        named = [label for label in by_folder if label is not None]
        label_set = label_set_for(set(named))
        pairs = set(zip(written, by_folder, strict=True))
        # One index for each class and one class for each index, or the folders mean another thing.
        is_one_to_one = len(pairs) == len(set(written)) == len(set(by_folder))
        if len(named) < len(rows) or label_set is None or not is_one_to_one:
            raise _ambiguous(indices, where)
        return named, label_set
    label_set = _label_order(label_order, indices, where)
    if known is not None:
        refuse_contradiction(known, label_set, label_order, written, where)
    names = [label_set[int(label)] for label in written]
    for row, name, expected in zip(rows, names, by_folder, strict=True):
        if expected in label_set and expected != name:
            raise DataError(
                f"{where}: under the label order {label_order} the clip {row.path} is {name}, "
                f"but its folder says {expected}",
                hint="choose another --label-order",
            )
    return names, label_set


def _resolve_words(written: Sequence[str], where: Path) -> tuple[list[str], tuple[str, ...]]:
    names = [canonical_label(word) for word in written]
    known = [name for name in names if name is not None]
    if len(known) < len(names):
        unknown = sorted({word for word in written if canonical_label(word) is None})
        raise DataError(f"{where}: unknown labels {', '.join(unknown[:5])}")
    return known, label_set_for(set(known)) or ELEVEN


def _ambiguous(indices: set[int], where: Path) -> DataError:
    num_classes = 7 if max(indices) < 7 else 11
    orders = "; ".join(
        f"{name}: 0 is {orders[num_classes][0]}, 1 is {orders[num_classes][1]}"
        for name, orders in LABEL_ORDERS.items()
    )
    return DataError(
        f"{where}: the labels are numbers ({min(indices)} to {max(indices)}), and three orders of "
        f"the same classes are in use ({orders})",
        hint="say which: --label-order dfer-clip|mae-dfer|s2d, or a file with one class per line",
    )


def _label_order(label_order: str, indices: set[int], where: Path) -> tuple[str, ...]:
    if label_order not in LABEL_ORDERS:
        return _label_order_file(Path(label_order), indices, where)
    lowest, highest = min(indices), max(indices)
    num_classes = highest + 1
    if num_classes not in (7, 11) or (lowest == 1 and num_classes == 11):
        raise DataError(
            f"{where}: labels {lowest} to {highest} fit neither 7 nor 11 classes counted from 0",
            hint="give a file with one class per line, the class of index 0 first: "
            "--label-order FILE",
        )
    return LABEL_ORDERS[label_order][num_classes]


def _label_order_file(path: Path, indices: set[int], where: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise ConfigError(
            f"unknown label order {path}: expected {', '.join(LABEL_ORDERS)}, or a file with one "
            "class name per line"
        )
    names = [canonical_label(line) or line for _, line in numbered_lines(path)]
    if len(set(names)) != len(names):
        raise DataError(f"{path}: a class is named twice")
    if max(indices) >= len(names):
        raise DataError(f"{where}: label {max(indices)}, but {path} names {len(names)} classes")
    return tuple(names)


def _root_of(path: Path, root: Path | None) -> Path:
    if root is not None:
        return dataset_root(path.name, root)
    for folder in path.absolute().parents:
        if any((folder / frames).is_dir() for frames in KNOWN_FRAMES):
            return folder
    for name in BENCHMARKS:
        if name in path.name.lower():
            try:
                return dataset_root(name, None)
            except DataError:
                break  # no copy in the usual places: the list may lie beside its clips
    return path.parent


def _common_folder(where: Path, paths: Sequence[PurePosixPath]) -> PurePosixPath:
    if len({path.is_absolute() for path in paths}) > 1:
        raise DataError(f"{where}: some of its paths are absolute and some relative")
    return PurePosixPath(os.path.commonpath([str(path.parent) for path in paths]))


def _clip_id(path: PurePosixPath, common: PurePosixPath) -> str:
    below = path.relative_to(common).as_posix()
    return str(PurePosixPath(below).with_suffix("")) if is_video_file(Path(below)) else below


class _Locator:
    """Finds what a path of another machine means below a root, and remembers how it did.

    The longest end of the path that exists wins; what worked for one clip is tried first for the
    next, so that a list of 40,000 is one look-up per clip.
    """

    def __init__(self, root: Path, frames: str | None, *, as_written: bool) -> None:
        self.root = root
        self._as_written = as_written
        self._known: tuple[Path, int] | None = None
        bases = [root / frames] if frames else [root, *(root / name for name in KNOWN_FRAMES)]
        self._bases = [base for base in bases if base.is_dir()]

    def locate(self, path: PurePosixPath) -> Path:
        """Where the clip lies; where it is missing, the place at which it was expected."""
        if self._as_written and path.is_absolute() and os.path.exists(path):
            return Path(path)
        if self._known is not None:
            base, dropped = self._known
            expected = base.joinpath(*path.parts[dropped:])
            return expected if os.path.exists(expected) else self._search(path, dropped) or expected
        return self._search(path, len(path.parts) - 1) or self.root / path.name

    def _search(self, path: PurePosixPath, most_dropped: int) -> Path | None:
        first = 1 if path.is_absolute() else 0
        for dropped in range(first, most_dropped + 1):
            for base in self._bases:
                found = base.joinpath(*path.parts[dropped:])
                if os.path.exists(found):  # Path.exists raises where a name is too long
                    self._known = base, dropped
                    return found
        return None
