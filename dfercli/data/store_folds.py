"""Face stores as data sets: all clips for training, or k folds that never share a subject."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfercli.artifacts.face_store import crops_folder, read_clips, read_dataset
from dfercli.data.clips import Clip, Fold, main_label
from dfercli.errors import DataError
from dfercli.labels import label_set_for


def read_store_fold(store: Path, *, fold: int = 1, folds: int | None = None, seed: int = 0) -> Fold:
    """Read a face store for training and evaluation.

    Args:
        store: The folder of the store.
        fold: 1-based, at most `folds`.
        folds: Split the clips by subject into this many folds; None puts all clips into `train`.
        seed: Seed of the split.

    Raises:
        DataError: clips without a label (named), or a split that would leak a subject.
    """
    label_set, clips = read_store_clips(store)
    raw_set = read_dataset(store)["raw_set"]
    if raw_set is not None:  # its choice of labels leaves clips out
        clips = [clip for clip in clips if main_label(clip) is not None]
    unlabelled = [clip.clip_id for clip in clips if main_label(clip) is None]
    if unlabelled:
        raise DataError(
            f"{store}: {len(unlabelled)} of {len(clips)} clips have no label: {_first(unlabelled)}",
            hint="give labels by folder names or --labels file.csv to `dfer preprocess`",
        )
    train: tuple[Clip, ...] = tuple(clips)
    test: tuple[Clip, ...] = ()
    if folds is not None:
        train, test = _split(clips, fold, folds, seed, store)
    return Fold(
        dataset=str(store),
        fold=fold,
        label_set=label_set,
        train=train,
        test=test,
        official=False,
        frame_source=str(store / "frames"),
        labelling="" if raw_set is None else raw_set["labelling"],
    )


def read_store_clips(store: Path) -> tuple[tuple[str, ...], list[Clip]]:
    """The label set of a face store and all of its clips, labelled or not.

    Raises:
        DataError: broken rows, no clips, or a label that is not in the label set (named).
    """
    here = store.resolve()
    clips = [
        Clip(
            clip_id=row.clip_id,
            location=crops_folder(store, row.clip_id),
            label=row.label,
            subject=row.subject,
            listed_frames=row.num_frames,
            exact=True,
            store=store,
            groups=row.groups,
            soft_label=row.soft_label,
            source=os.path.normpath(os.path.join(here, row.source)),
        )
        for row in read_clips(store)
    ]
    if not clips:
        raise DataError(f"the face store {store} holds no clips")
    names = {name for clip in clips for name in (clip.label, *clip.soft_label) if name}
    declared = read_dataset(store)["label_set"]
    label_set = tuple(declared) if declared else label_set_for(names) or tuple(sorted(names))
    for clip in clips:
        for name in (clip.label, *clip.soft_label):
            if name is not None and name not in label_set:
                raise DataError(
                    f"{store}: clip {clip.clip_id} has the label {name!r}, which is not in the "
                    f"label set ({', '.join(label_set)})"
                )
    return label_set, clips


def split_by_subject(clips: Sequence[Clip], folds: int, seed: int = 0) -> list[list[Clip]]:
    """Deal the clips into `folds` parts, all clips of a subject into one, classes spread evenly.

    Subjects are dealt from the one with the most clips down, each to the part in which its
    classes are scarcest; ties are broken by `seed`.

    Raises:
        DataError: clips without a subject (named), or fewer subjects than folds.
    """
    nameless = [clip.clip_id for clip in clips if clip.subject is None]
    if nameless:
        raise DataError(
            f"cannot split by subject: {len(nameless)} of {len(clips)} clips name no subject: "
            f"{_first(nameless)}",
            hint="give subjects by --labels file.csv (source,label,subject) to `dfer preprocess`",
        )
    by_subject: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_subject[str(clip.subject)].append(clip)
    if len(by_subject) < 2:
        raise DataError(
            f"cannot split clips of one subject ({', '.join(by_subject)}): expected at least two"
        )
    if not 2 <= folds <= len(by_subject):
        raise DataError(
            f"cannot split {len(by_subject)} subjects into {folds} folds: "
            f"expected 2 to {len(by_subject)} folds"
        )
    subjects = sorted(by_subject)
    np.random.default_rng(seed).shuffle(subjects)
    subjects.sort(key=lambda subject: -len(by_subject[subject]))
    parts: list[list[Clip]] = [[] for _ in range(folds)]
    counts: list[Counter[str | None]] = [Counter() for _ in range(folds)]
    for subject in subjects:
        own = Counter(main_label(clip) for clip in by_subject[subject])

        def crowding(number: int, own: Counter[str | None] = own) -> tuple[int, int]:
            overlap = sum(counts[number][label] * amount for label, amount in own.items())
            return overlap, len(parts[number])

        chosen = min(range(folds), key=crowding)
        parts[chosen].extend(by_subject[subject])
        counts[chosen].update(own)
    return parts


def refuse_shared_subjects(train: Sequence[Clip], test: Sequence[Clip], where: str) -> None:
    """Refuse a split in which a subject of the test part is also trained on.

    Raises:
        DataError: naming the subjects.
    """
    shared = {clip.subject for clip in train} & {clip.subject for clip in test} - {None}
    if shared:
        raise DataError(
            f"{where}: {len(shared)} subjects are in training and in test: "
            f"{_first(sorted(str(subject) for subject in shared))}"
        )


def _split(
    clips: Sequence[Clip], fold: int, folds: int, seed: int, store: Path
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    parts = split_by_subject(clips, folds, seed)
    chosen = {clip.clip_id for clip in parts[fold - 1]}
    train = tuple(clip for clip in clips if clip.clip_id not in chosen)
    test = tuple(clip for clip in clips if clip.clip_id in chosen)
    refuse_shared_subjects(train, test, f"{store}, fold {fold}")
    return train, test


def _first(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
