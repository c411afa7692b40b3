"""`dfer data check`: find faults in a copy of a data set before spending GPU hours."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.face_store import is_face_store, read_clips, read_failures
from dfercli.artifacts.pictures import scaled
from dfercli.config import CheckConfig
from dfercli.data.check import (
    ClipOnDisk,
    FaceFinder,
    Finding,
    all_clips,
    check_crops,
    check_frame_counts,
    check_lists,
    check_presence,
    check_totals,
    look_at,
    read_everything,
    sample_clips,
)
from dfercli.data.clips import Clip, Fold, has_one_class, main_label
from dfercli.data.folds import dataset_kind, num_folds, published_totals, read_fold, read_fold_of
from dfercli.data.frames import list_frames
from dfercli.data.loading import read_frame
from dfercli.data.open_sets import RAW_SETS
from dfercli.data.published_sizes import TOTALS, PublishedTotals
from dfercli.data.store_check import check_store
from dfercli.data.store_folds import read_store_clips
from dfercli.errors import DataError
from dfercli.faces.detect import NARROWEST_PX
from dfercli.faces.haar import HaarDetector
from dfercli.preprocessing.check_duplicates import find_duplicates, find_shared
from dfercli.preprocessing.check_raw_set import check_raw_set
from dfercli.preprocessing.check_report import CheckReport, first_pictures
from dfercli.progress import Progress
from dfercli.video.decode import VideoReader

LONGEST_SIDE_PX = 640


def run(config: CheckConfig, progress: Progress) -> CheckReport:
    """Check a copy of a data set.

    Raises:
        ConfigError: options that do not fit the data set.
        DataError: no such data set, or not one of its lists can be read.
    """
    raw_set = RAW_SETS.get(config.dataset.lower())
    if raw_set is not None and not _has_faces(config):
        return check_raw_set(raw_set, config, _face_finder(), progress)
    folds, findings = _read_folds(config, progress)
    totals = None
    if not config.subset:
        totals = published_totals(config.dataset, config.classes, config.captions)
    if known := folds[0].benchmark:
        totals = None if config.subset else TOTALS[known]
        lists = [f"{Path(fold.dataset).name} fold {fold.fold}: {fold.labelling}" for fold in folds]
        findings.append(
            Finding("benchmark", f"these are lists of {known}", 1, tuple(lists), is_fault=False)
        )
    if totals is not None:
        findings += check_totals(folds, totals)
    findings += check_lists(folds)
    clips = all_clips(folds)
    on_disk = _look_at_all(clips, progress)
    findings += check_presence(clips, on_disk, folds[0].frame_source)
    if config.deep:
        with progress.task("Reading frames", total=len(clips)) as task:
            unreadable, on_disk = read_everything(
                clips, on_disk, _count_video_frames, lambda: task.advance()
            )
        findings += unreadable
    findings += check_frame_counts(clips, on_disk, totals)
    if config.duplicates:
        published = folds[0].benchmark is not None or dataset_kind(config.dataset) != "store"
        findings += find_duplicates(folds, clips, published=published, progress=progress)
    if config.test is not None:
        other = read_fold(config.test, label_order=config.label_order)
        findings += find_shared(clips, other.test or other.train, progress)
    pictures = _pictures_of(sample_clips(clips, on_disk, config.pictures))
    whole_frames, with_face = check_crops(pictures, _face_finder())
    return _report(
        config, folds, clips, on_disk, totals, [*findings, *whole_frames], with_face, len(pictures)
    )


def _has_faces(config: CheckConfig) -> bool:
    """Tell whether the faces of an open data set are meant, not its raw videos."""
    return config.root is not None and is_face_store(config.root)


def _read_folds(config: CheckConfig, progress: Progress) -> tuple[list[Fold], list[Finding]]:
    """Every fold with readable lists, and a finding for each other one."""
    kind = dataset_kind(config.dataset)
    if kind == "store":
        return _read_store(Path(config.dataset), progress)
    if kind == "open set" and config.root is not None:
        return _read_store(config.root, progress)
    folds: list[Fold] = []
    findings: list[Finding] = []
    for number in range(1, num_folds(config.dataset) + 1):
        try:
            fold = read_fold_of(config.dataset, config, fold=number, allow_missing=True)
        except DataError as error:
            findings.append(Finding("lists", error.message, 1))
            if number == num_folds(config.dataset) and not folds:
                raise
        else:
            folds.append(fold)
    return folds, findings


def _read_store(store: Path, progress: Progress) -> tuple[list[Fold], list[Finding]]:
    label_set, clips = read_store_clips(store)
    fold = Fold(str(store), 1, label_set, tuple(clips), (), False, str(store / "frames"))
    findings = []
    unlabelled = tuple(clip.clip_id for clip in clips if main_label(clip) is None)
    if unlabelled:
        message = f"{len(unlabelled)} clips have no label: fine for prediction, not for training"
        findings.append(Finding("unlabelled", message, len(unlabelled), unlabelled, is_fault=False))
    shared = tuple(clip.clip_id for clip in clips if not has_one_class(clip))
    if shared:
        message = f"{len(shared)} clips have several classes: trained on, never tested on"
        findings.append(Finding("ties", message, len(shared), shared, is_fault=False))
    failures = read_failures(store)
    if failures:
        names = tuple(f"{failure.source} ({failure.reason})" for failure in failures)
        message = f"{len(failures)} sources failed, wholly or in part, when the store was made"
        findings.append(Finding("failures", message, len(failures), names, is_fault=False))
    rows = read_clips(store)
    with progress.task("Comparing tracks", total=len(rows)) as task:
        findings += check_store(store, rows, lambda: task.advance())
    return [fold], findings


def _look_at_all(clips: Sequence[Clip], progress: Progress) -> dict[str, ClipOnDisk]:
    on_disk = {}
    with progress.task("Counting frames", total=len(clips)) as task:
        for clip in clips:
            on_disk[clip.clip_id] = look_at(clip.location)
            task.advance()
    return on_disk


def _report(
    config: CheckConfig,
    folds: Sequence[Fold],
    clips: Sequence[Clip],
    on_disk: dict[str, ClipOnDisk],
    totals: PublishedTotals | None,
    findings: Sequence[Finding],
    with_face: int,
    num_pictures: int,
) -> CheckReport:
    counts = Counter(clip.label for clip in clips)
    frames = [found.num_frames for found in on_disk.values() if found.num_frames]
    return CheckReport(
        dataset=config.dataset,
        frame_source=folds[0].frame_source,
        num_clips=len(clips),
        label_counts={name: counts[name] for name in folds[0].label_set},
        published_counts=None if totals is None else dict(totals.label_counts),
        fold_sizes=tuple((len(fold.train), len(fold.test)) for fold in folds),
        frames_per_clip=(min(frames), median(frames), max(frames)) if frames else None,
        pictures_with_face=with_face,
        pictures_seen=num_pictures,
        is_deep=config.deep,
        findings=tuple(findings),
    )


def _pictures_of(clips: Sequence[Clip]) -> list[NDArray[np.uint8]]:
    """The middle frame of each folder of frames, the first one of each video; (H, W, 3) RGB."""
    pictures = []
    for clip in clips:
        if not clip.location.is_dir():
            pictures += first_pictures([clip.location])
            continue
        # --deep finds unreadable pictures; here they only count as pictures without a face.
        with suppress(DataError):
            paths = list_frames(clip.location)
            pictures.append(read_frame(paths[len(paths) // 2]))
    return pictures


def _count_video_frames(path: Path) -> int:
    reader = VideoReader(path)
    count = sum(1 for _ in reader)
    if reader.warnings:
        raise DataError(reader.warnings[0])
    return count


def _face_finder() -> FaceFinder:
    """The Haar detector, which needs no download, on a small copy of the picture."""
    detector = HaarDetector()

    def find(picture: NDArray[np.uint8]) -> NDArray[np.floating]:
        scale = min(1.0, LONGEST_SIDE_PX / max(picture.shape[:2]))
        small = scaled(picture, scale)
        if min(small.shape[:2]) < NARROWEST_PX:
            return np.zeros((0, 4), np.float32)
        boxes: NDArray[np.floating] = detector.detect([small])[0].box_xyxy_px
        boxes = boxes / scale
        return boxes

    return find
