"""Open data sets of raw videos whose file names say what they show.

A set is a `RawSet`: how a name is read, which takes there should be, how they are labelled, and who
is tested in which fold. `ravdess.py` and `crema_d.py` each hold one; `open_sets.py` lists them. A
further set is one more such file and one more entry there.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dfercli.documents import require_regular
from dfercli.errors import DataError

Calm = Literal["drop", "own", "neutral"]
Ties = Literal["drop", "soft"]
LFS_MARK = b"version https://git-lfs"
FEW = 5


@dataclass(frozen=True)
class Take:
    """One recording, as the name of its file tells.

    Attributes:
        key: Names the recording; two files of one recording have the same.
        subject: Who acts.
        emotion: The class that was acted.
        groups: What else the name tells, such as the intensity.
        rank: Of several files of one recording the one with the lowest rank is used.
        left_out: Why it is never used, else None.
    """

    key: str
    subject: str
    emotion: str
    groups: Mapping[str, str] = field(default_factory=dict)
    rank: int = 0
    left_out: str | None = None


@dataclass(frozen=True)
class Choice:
    """How takes are labelled where a set leaves a choice.

    Attributes:
        source: Where labels come from, by the set's own word; None for its default.
        calm: Whether `calm` is left out, its own class, or neutral.
        ties: Takes on which votes are tied are left out, or trained on with equal shares.
    """

    source: str | None = None
    calm: Calm = "drop"
    ties: Ties = "drop"


@dataclass(frozen=True)
class Labels:
    """The takes of a copy with their labels.

    Attributes:
        label_set: The classes in order.
        by_key: Key of a take -> its class, or None where the choice leaves it out.
        groups: Key of a take -> what is known of it: sex, age, intensity.
        how: The choice, as every result repeats it.
        soft: Key of a take without one class -> share of each class, to train on.
    """

    label_set: tuple[str, ...]
    by_key: Mapping[str, str | None]
    groups: Mapping[str, Mapping[str, str]]
    how: str
    soft: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ZenodoRecord:
    """Where a set lies on Zenodo.

    Attributes:
        number: Of the record.
        archive: The name of the archive that holds the takes of a subject.
    """

    number: str
    archive: Callable[[str], str]


@dataclass(frozen=True)
class RawSet:
    """What is known of an open data set.

    Attributes:
        name: As the command line calls it.
        title: Its full name.
        licence: Its terms.
        suffixes: Of its video files.
        folds: The subjects that each fold is tested on.
        read_name: The take of a file's stem; None where it is not a name of this set.
        expected: Every take that there is.
        label: Label takes that lie in a folder.
        sources: The words that `Choice.source` takes, the default first.
        tables: Files of the set that tell more than the names do.
        zenodo: Where it is fetched from, where that needs no step of the user.
        repository: The git repository that holds it through git LFS, where it is got that way.
    """

    name: str
    title: str
    licence: str
    suffixes: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]
    read_name: Callable[[str], Take | None]
    expected: Callable[[], Sequence[Take]]
    label: Callable[[Sequence[Take], Path, Choice], Labels]
    sources: tuple[str, ...] = ("acted",)
    tables: tuple[str, ...] = ()
    zenodo: ZenodoRecord | None = None
    repository: str | None = None


@dataclass(frozen=True)
class RawCopy:
    """The videos of a set that lie in a folder.

    Attributes:
        root: The folder.
        takes: Each take that can be used, with its file, sorted by key.
        doubles: Files that show a take of another file.
        left_out: Reason -> files that are never used.
        strangers: Files with a suffix of the set, but with no name of it.
    """

    root: Path
    takes: tuple[tuple[Take, Path], ...]
    doubles: tuple[Path, ...]
    left_out: Mapping[str, tuple[Path, ...]]
    strangers: tuple[Path, ...]


def find_takes(raw_set: RawSet, root: Path) -> RawCopy:
    """Find the videos of a set below a folder; none is opened.

    Raises:
        DataError: there is none.
    """
    best: dict[str, tuple[Take, Path]] = {}
    doubles: list[Path] = []
    left_out: dict[str, list[Path]] = {}
    strangers: list[Path] = []
    for path in _files(root, raw_set.suffixes):
        take = raw_set.read_name(path.stem)
        if take is None:
            strangers.append(path)
        elif take.left_out is not None:
            left_out.setdefault(take.left_out, []).append(path)
        elif take.key not in best or take.rank < best[take.key][0].rank:
            if take.key in best:
                doubles.append(best[take.key][1])
            best[take.key] = take, path
        else:
            doubles.append(path)
    if not best:
        raise DataError(
            f"no video of {raw_set.title} in {root}",
            hint=f"dfer data get {raw_set.name} --root {root}",
        )
    return RawCopy(
        root=root,
        takes=tuple(best[key] for key in sorted(best)),
        doubles=tuple(sorted(doubles)),
        left_out={reason: tuple(paths) for reason, paths in sorted(left_out.items())},
        strangers=tuple(strangers),
    )


def is_lfs_pointer(path: Path) -> bool:
    """Tell whether a file is git LFS's stand-in for one that was not fetched."""
    try:
        with require_regular(path).open("rb") as file:
            return file.read(len(LFS_MARK)) == LFS_MARK
    except OSError:
        return False


def refuse_pointers(copy: RawCopy) -> None:
    """Refuse a clone whose videos git LFS has not fetched.

    Raises:
        DataError: naming some of them.
    """
    pointers = [path.name for _, path in copy.takes if is_lfs_pointer(path)]
    if pointers:
        raise DataError(
            f"{copy.root}: {len(pointers)} of {len(copy.takes)} videos are git LFS pointers, not "
            f"videos: {', '.join(pointers[:FEW])}",
            hint=f"git -C {copy.root} lfs pull",
        )


def _files(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [
            Path(folder) / name
            for name in sorted(names)
            if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return found
