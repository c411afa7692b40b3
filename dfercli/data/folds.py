"""The single way from the name of a data set to its clips."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfercli.artifacts.face_store import is_face_store
from dfercli.config import DatasetConfig
from dfercli.data.clips import Clip, Fold
from dfercli.data.dfew import read_dfew
from dfercli.data.ferv39k import read_ferv39k
from dfercli.data.layout import dataset_root
from dfercli.data.list_folders import has_lists, lists_in
from dfercli.data.lists import read_list_fold
from dfercli.data.mafw import Classes, read_mafw
from dfercli.data.open_sets import RAW_SETS, read_raw_set_fold
from dfercli.data.published_sizes import BENCHMARKS, TOTALS, PublishedTotals
from dfercli.data.store_folds import read_store_fold
from dfercli.errors import ConfigError, DataError


def num_folds(dataset: str, folds: int | None = None) -> int:
    """How many folds `dataset` has: published ones, or the `folds` that a face store is split into.

    Raises:
        ConfigError: `folds` for data that have their own.
        DataError: no such data set.
    """
    kind = dataset_kind(dataset)
    if folds is not None and kind != "store":
        raise ConfigError(f"--folds splits a face store; {dataset} has its own lists")
    if kind == "benchmark":
        return len(TOTALS[dataset.lower()].fold_sizes)
    if kind == "lists":
        return len(lists_in(Path(dataset)))
    if kind == "open set":
        return len(RAW_SETS[dataset.lower()].folds)
    return folds or 1


def dataset_kind(dataset: str) -> str:
    """`benchmark`, `open set`, `store`, `list` or `lists` (a folder of them).

    Raises:
        DataError: it is none of them.
    """
    if dataset.lower() in BENCHMARKS:
        return "benchmark"
    if dataset.lower() in RAW_SETS:
        return "open set"
    path = Path(dataset)
    if is_face_store(path):
        return "store"
    if path.is_file():
        return "list"
    if path.is_dir() and has_lists(path):
        return "lists"
    raise DataError(
        f"no such data set: {dataset} (expected {', '.join((*BENCHMARKS, *RAW_SETS))}, a face "
        "store, a list file, or a folder of lists)",
        hint="make a face store with: dfer preprocess videos/ --out faces/",
    )


def read_fold(
    dataset: str,
    *,
    root: Path | None = None,
    fold: int = 1,
    label_order: str | None = None,
    frames: str | None = None,
    classes: Classes = "single",
    captions: bool = False,
    folds: int | None = None,
    group: str | None = None,
    seed: int = 0,
    allow_missing: bool = False,
) -> Fold:
    """Read one fold of a data set; no frame is opened.

    Args:
        dataset: `dfew`, `ferv39k`, `mafw`, an open data set (`ravdess`, `crema-d`), the path of a
            face store, or that of a list file.
        root: The folder of a benchmark's copy, of the face store of an open data set, or of the
            clips of a list.
        fold: 1-based.
        label_order: Order of the classes of a list with numeric labels.
        frames: The folder of clips relative to `root`, where a copy holds several.
        classes: MAFW's `single` or `compound` lists.
        captions: MAFW's lists of clips with captions.
        folds: Split a face store into this many folds by `group`.
        group: `subject`, which every split of one's own data needs.
        seed: Seed of that split.
        allow_missing: Return clips that are not on disk, too.

    Raises:
        ConfigError: options that do not fit the data set.
        DataError: lists that are missing, broken or ambiguous; clips that are not on disk.
    """
    total = num_folds(dataset, folds)
    if not 1 <= fold <= total:
        raise ConfigError(f"{dataset} has {total} fold{'s' * (total > 1)}, got --fold {fold}")
    kind = dataset_kind(dataset)
    if kind == "store":
        if folds is not None and group != "subject":
            raise ConfigError(
                f"--folds {folds} needs --group subject: "
                "folds over clips would show the faces of the test part in training"
            )
        found = read_store_fold(Path(dataset), fold=fold, folds=folds, seed=seed)
    elif kind == "open set":
        found = read_raw_set_fold(dataset.lower(), root, fold)
    elif kind == "lists":
        path = lists_in(Path(dataset))[fold - 1]
        found = read_list_fold(path, root=root, frames=frames, label_order=label_order)
        found = replace(found, dataset=dataset, fold=fold)
    elif kind == "list":
        found = read_list_fold(Path(dataset), root=root, frames=frames, label_order=label_order)
    else:
        found = _read_benchmark(dataset.lower(), root, fold, frames, classes, captions)
    if not allow_missing:
        _refuse_missing(found)
    return found


def read_fold_of(dataset: str, copy: DatasetConfig, *, fold: int = 1, **more: Any) -> Fold:
    """Read one fold of a copy as settings describe it; see `read_fold`."""
    return read_fold(
        dataset,
        root=copy.root,
        fold=fold,
        label_order=copy.label_order,
        frames=copy.frames,
        classes=copy.classes,
        captions=copy.captions,
        **more,
    )


def published_totals(
    dataset: str, classes: Classes = "single", captions: bool = False
) -> PublishedTotals | None:
    """The published size of a benchmark; None for other data and for lists of unknown size."""
    if dataset.lower() == "mafw" and (classes != "single" or captions):
        return None
    return TOTALS.get(dataset.lower())


def split_warning(fold: Fold) -> str | None:
    """One line for reports of results that are not on a published split, else None."""
    if fold.official or is_face_store(Path(fold.dataset)):
        return None
    if fold.dataset in RAW_SETS:
        return f"{fold.dataset} is not whole: actors are missing; say so with its results"
    if fold.dataset not in TOTALS:
        return f"{fold.dataset} is a list, not the official split: say so with its results"
    train, test = TOTALS[fold.dataset].fold_sizes[fold.fold - 1]
    return (
        f"{fold.dataset} fold {fold.fold} is not the official split: {len(fold.train)} training "
        f"and {len(fold.test)} test clips, published {train} and {test}"
    )


def _read_benchmark(
    name: str, root: Path | None, fold: int, frames: str | None, classes: Classes, captions: bool
) -> Fold:
    folder = dataset_root(name, root)
    if name == "dfew":
        found = read_dfew(folder, fold, frames)
    elif name == "ferv39k":
        found = read_ferv39k(folder, frames)
    else:
        found = read_mafw(folder, fold, frames, classes=classes, captions=captions)
    totals = published_totals(name, classes, captions)
    if totals is None:
        return found
    sizes = (len(found.train), len(found.test))
    return replace(found, official=sizes == totals.fold_sizes[fold - 1])


def _refuse_missing(fold: Fold) -> None:
    clips: tuple[Clip, ...] = (*fold.train, *fold.test)
    missing = [clip for clip in clips if not os.path.exists(clip.location)]
    if missing:
        raise DataError(
            f"{fold.dataset} fold {fold.fold}: {len(missing)} of {len(clips)} clips are not on "
            f"disk, the first is {missing[0].clip_id} (expected at {missing[0].location})",
            hint=f"list everything that is wrong with: dfer data check {fold.dataset}",
        )
