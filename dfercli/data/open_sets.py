"""The open data sets that dfer knows, and their face stores as data sets."""

from dataclasses import replace
from pathlib import Path

from dfercli.artifacts.face_store import is_face_store, read_dataset
from dfercli.data.clips import Fold
from dfercli.data.crema_d import CREMA_D
from dfercli.data.layout import dataset_root
from dfercli.data.ravdess import RAVDESS
from dfercli.data.raw_sets import RawSet
from dfercli.data.store_folds import read_store_fold
from dfercli.errors import DataError

RAW_SETS: dict[str, RawSet] = {raw_set.name: raw_set for raw_set in (RAVDESS, CREMA_D)}


def read_raw_set_fold(name: str, root: Path | None, fold: int) -> Fold:
    """Read a fold of an open data set whose faces have been found.

    Args:
        name: Of `RAW_SETS`.
        root: The face store; None for `faces/<name>`, else the places of benchmarks.
        fold: 1-based.

    Raises:
        DataError: no face store, one of other data, or one without clips on either side.
    """
    raw_set = RAW_SETS[name]
    store = faces_of(name, root)
    record = read_dataset(store)["raw_set"]
    if record is None or record["name"] != name:
        what = "other data" if record is None else record["name"]
        raise DataError(
            f"{store} holds {what}, expected the faces of {name}",
            hint=f"dfer preprocess {name} --root FOLDER --out faces/{name}",
        )
    whole = read_store_fold(store)
    tested = set(raw_set.folds[fold - 1])
    train = tuple(clip for clip in whole.train if clip.subject not in tested)
    test = tuple(clip for clip in whole.train if clip.subject in tested)
    for part, clips in (("train", train), ("test", test)):
        if not clips:
            people = sorted({clip.subject or "nobody" for clip in whole.train})
            raise DataError(
                f"{store}: no clip to {part} on in fold {fold} of {name}: it has clips of "
                f"{', '.join(people)}",
                hint="split the people that it has: "
                f"dfer train {store} --folds {len(people)} --group subject"
                if len(people) > 1
                else f"find the faces of more people: dfer preprocess {name}",
            )
    there = {clip.subject for clip in whole.train}
    is_whole = all(there.issuperset(subjects) for subjects in raw_set.folds)
    return replace(whole, dataset=name, fold=fold, train=train, test=test, official=is_whole)


def faces_of(name: str, root: Path | None) -> Path:
    """The face store of an open data set: `root`, else `faces/<name>`, else where benchmarks lie.

    Raises:
        DataError: there is none; the message says how to make it.
    """
    own = Path("faces") / name
    if root is None and is_face_store(own):
        return own
    folder = dataset_root(name, root)
    if not is_face_store(folder):
        raise DataError(
            f"{folder} holds no faces: {name} is raw videos",
            hint=f"find the faces first: dfer preprocess {name} --root {folder} --out {own}",
        )
    return folder
