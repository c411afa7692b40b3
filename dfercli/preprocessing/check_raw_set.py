"""`dfer data check ravdess`: what is missing or wrong in a copy of an open data set."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dfercli.config import CheckConfig
from dfercli.data.check import FaceFinder, Finding, check_crops
from dfercli.data.layout import dataset_root, first_existing
from dfercli.data.raw_sets import RawCopy, RawSet, Take, find_takes, is_lfs_pointer
from dfercli.errors import DataError
from dfercli.preprocessing.check_report import CheckReport, first_pictures
from dfercli.preprocessing.raw_sources import notes_on
from dfercli.progress import Progress
from dfercli.video.decode import VideoReader

SMALLEST_VIDEO_BYTES = 1024


def check_raw_set(
    raw_set: RawSet, config: CheckConfig, find_faces: FaceFinder, progress: Progress
) -> CheckReport:
    """Check the raw videos of an open data set.

    Args:
        raw_set: The data set.
        config: The settings; with `subset`, missing takes are intended.
        find_faces: Finds the faces of a picture.
        progress: Where to report.

    Raises:
        DataError: no copy, or no video of this data set in it.
    """
    copy = find_takes(raw_set, dataset_root(raw_set.name, config.root))
    findings = [Finding("names", line, 1, is_fault=False) for line in notes_on(copy)]
    findings += _check_missing(raw_set, copy, is_subset=config.subset)
    findings += _check_tables(raw_set, copy)
    findings += _check_files(copy)
    broken = {path for finding in findings if finding.is_fault for path in finding.names}
    readable = [path for _, path in copy.takes if path.name not in broken]
    if config.deep:
        findings += _read_all(readable, progress)
    step = max(1, len(readable) // max(1, config.pictures))
    pictures = first_pictures(readable[::step][: config.pictures])
    _, with_face = check_crops(pictures, find_faces)
    if pictures and with_face == 0:
        findings.append(Finding("faces", "no face was found in any picture", len(pictures)))
    return _report(raw_set, config, copy, findings, with_face, len(pictures))


def _check_missing(raw_set: RawSet, copy: RawCopy, *, is_subset: bool) -> list[Finding]:
    """Missing takes: of actors who are present, and of absent actors."""
    there = {take.key for take, _ in copy.takes}
    actors = {take.subject for take, _ in copy.takes}
    expected = [take for take in raw_set.expected() if take.left_out is None]
    gone = [take for take in expected if take.key not in there]
    of_present = [take for take in gone if take.subject in actors]
    findings = []
    if of_present:
        worst = Counter(take.subject for take in of_present).most_common(3)
        most = ", ".join(f"{subject} {count}" for subject, count in worst)
        message = f"{len(of_present)} takes of {len(actors)} actors are missing (most: {most})"
        names = tuple(take.key for take in of_present)
        findings.append(Finding("missing", message, len(names), names, is_fault=not is_subset))
    absent = sorted({take.subject for take in gone} - actors)
    if absent:
        message = f"{len(absent)} actors are not there: this is a part of {raw_set.title}"
        findings.append(Finding("actors", message, len(absent), tuple(absent), is_fault=False))
    return findings


def _check_tables(raw_set: RawSet, copy: RawCopy) -> list[Finding]:
    """The tables of labels and groups, if the set has any."""
    absent = [name for name in raw_set.tables if first_existing(copy.root, (name,)) is None]
    if not absent:
        return []
    message = "tables are not there: no labels by votes, or no groups"
    return [Finding("tables", message, len(absent), tuple(absent), is_fault=False)]


def _check_files(copy: RawCopy) -> list[Finding]:
    pointers, small = [], []
    for _, path in copy.takes:
        if is_lfs_pointer(path):
            pointers.append(path.name)
        elif path.stat().st_size < SMALLEST_VIDEO_BYTES:
            small.append(path.name)
    findings = []
    if pointers:
        message = f"{len(pointers)} videos are git LFS pointers: git -C {copy.root} lfs pull"
        findings.append(Finding("pointers", message, len(pointers), tuple(pointers)))
    if small:
        message = f"{len(small)} videos are smaller than {SMALLEST_VIDEO_BYTES} bytes"
        findings.append(Finding("empty", message, len(small), tuple(small)))
    return findings


def _read_all(paths: Sequence[Path], progress: Progress) -> list[Finding]:
    """Decode every frame of every video."""
    broken = []
    with progress.task("Reading videos", total=len(paths)) as task:
        for path in paths:
            try:
                reader = VideoReader(path)
                if not sum(1 for _ in reader) or reader.warnings:
                    broken.append(path.name)
            except DataError:
                broken.append(path.name)
            task.advance()
    if not broken:
        return []
    return [Finding("unreadable", "videos cannot be read whole", len(broken), tuple(broken))]


def _report(
    raw_set: RawSet,
    config: CheckConfig,
    copy: RawCopy,
    findings: Sequence[Finding],
    with_face: int,
    num_pictures: int,
) -> CheckReport:
    takes = [take for take, _ in copy.takes]
    expected = [take for take in raw_set.expected() if take.left_out is None]
    published = dict(Counter(take.emotion for take in expected))
    found = Counter(take.emotion for take in takes)
    return CheckReport(
        dataset=raw_set.name,
        frame_source=str(copy.root),
        num_clips=len(takes),
        label_counts={name: found[name] for name in published},
        published_counts=None if config.subset else published,
        fold_sizes=tuple(_fold_size(takes, set(fold)) for fold in raw_set.folds),
        frames_per_clip=None,
        pictures_with_face=with_face,
        pictures_seen=num_pictures,
        is_deep=config.deep,
        findings=tuple(findings),
        groups=_group_counts(takes),
    )


def _group_counts(takes: Sequence[Take]) -> dict[str, dict[str, int]]:
    """Takes of each actor, and of each value of each group: intensity, sex."""
    counts = {"actor": dict(Counter(take.subject for take in takes))}
    for name in sorted({name for take in takes for name in take.groups}):
        counts[name] = dict(Counter(take.groups.get(name, "unknown") for take in takes))
    return counts


def _fold_size(takes: Sequence[Take], tested: set[str]) -> tuple[int, int]:
    num_tested = sum(take.subject in tested for take in takes)
    return len(takes) - num_tested, num_tested
