"""Find faults in a copy of a data set, and guess their causes.

Every function checks for one kind of fault and returns its findings. Reading the lists, checking
the disk and judging pictures are separate, so each is as cheap as possible.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.data.clips import Clip, Fold
from dfercli.data.frames import is_frame_name, list_frames
from dfercli.data.guesses import (
    FRAMES_PER_CLIP,
    are_padded,
    guess_counts,
    guess_missing,
    guess_short,
)
from dfercli.data.loading import read_frame
from dfercli.data.published_sizes import PublishedTotals
from dfercli.errors import DataError

WHOLE_FRAME_SHARE = 0.35
FEWEST_FACES = 8

FaceFinder = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


@dataclass(frozen=True)
class Finding:
    """One kind of fault in a copy.

    Attributes:
        kind: `clips`, `classes`, `folds`, `missing`, `empty`, `short`, `count`, `duplicate`,
            `label`, `leak`, `unreadable` or `whole-frames`; of a face store also what
            `store_check` names.
        message: The finding in one line.
        count: How many clips, frames or classes are affected.
        names: Their names.
        guess: The possible cause, if there is a guess.
        is_fault: False for published facts that are merely good to know.
    """

    kind: str
    message: str
    count: int
    names: tuple[str, ...] = ()
    guess: str | None = None
    is_fault: bool = True


@dataclass(frozen=True)
class ClipOnDisk:
    """The state of the location of a clip.

    Attributes:
        exists: Whether there is anything.
        num_frames: Number of frames in its folder; None for a video file or nothing.
        is_empty: Whether it is a folder without frames, or a file of 0 bytes.
    """

    exists: bool
    num_frames: int | None
    is_empty: bool


def look_at(location: Path) -> ClipOnDisk:
    """Check one clip without opening a frame."""
    try:
        with os.scandir(location) as entries:
            frames = sum(is_frame_name(entry.name) for entry in entries)
        return ClipOnDisk(True, frames, frames == 0)
    except NotADirectoryError:
        return ClipOnDisk(True, None, location.stat().st_size == 0)
    except FileNotFoundError:
        return ClipOnDisk(False, None, False)


def all_clips(folds: Sequence[Fold]) -> list[Clip]:
    """Every clip of every fold once, in the order of its first appearance."""
    found: dict[str, Clip] = {}
    for fold in folds:
        for clip in (*fold.train, *fold.test):
            found.setdefault(clip.clip_id, clip)
    return list(found.values())


def check_totals(folds: Sequence[Fold], totals: PublishedTotals) -> list[Finding]:
    """Compare clips, classes and fold sizes with the published ones."""
    findings = []
    clips = all_clips(folds)
    if len(clips) != totals.num_clips:
        findings.append(
            Finding(
                "clips",
                f"the lists name {len(clips)} clips, published are {totals.num_clips}",
                abs(len(clips) - totals.num_clips),
                guess="these lists are of a part of the data set, or were made by somebody else"
                if len(clips) < totals.num_clips
                else None,
            )
        )
    counts = Counter(clip.label for clip in clips)
    wrong = [
        f"{name}: {counts[name]}, published {published}"
        for name, published in totals.label_counts.items()
        if counts[name] != published
    ]
    if wrong:
        findings.append(
            Finding(
                "classes",
                f"{len(wrong)} classes have another number of clips than published",
                len(wrong),
                tuple(wrong),
            )
        )
    sizes = [
        f"fold {fold.fold}: {len(fold.train)} + {len(fold.test)}, published {train} + {test}"
        for fold in folds
        for train, test in (totals.fold_sizes[(fold.published_fold or fold.fold) - 1],)
        if (len(fold.train), len(fold.test)) != (train, test)
    ]
    if sizes:
        findings.append(
            Finding(
                "folds",
                f"{len(sizes)} folds have another size (train + test) than published",
                len(sizes),
                tuple(sizes),
            )
        )
    return findings


def check_lists(folds: Sequence[Fold]) -> list[Finding]:
    """Find clips that are listed twice, have two labels, or are in both train and test."""
    duplicates: list[str] = []
    leaks: list[str] = []
    labels: dict[str, set[str | None]] = defaultdict(set)
    for fold in folds:
        parts = {"train": fold.train, "test": fold.test}
        for part, clips in parts.items():
            counts = Counter(clip.clip_id for clip in clips)
            duplicates += [
                f"{name} (fold {fold.fold} {part})" for name, count in counts.items() if count > 1
            ]
            for clip in clips:
                labels[clip.clip_id].add(clip.label)
        shared = {clip.clip_id for clip in fold.train} & {clip.clip_id for clip in fold.test}
        leaks += [f"{name} (fold {fold.fold})" for name in sorted(shared)]
    conflicts = [
        f"{name} ({' and '.join(sorted(map(str, found)))})"
        for name, found in labels.items()
        if len(found) > 1
    ]
    return [
        *named_finding("duplicate", "clips are named twice in one list", duplicates),
        *named_finding("label", "clips have two labels", conflicts),
        *named_finding("leak", "clips are in train and test at once", leaks),
    ]


def check_presence(
    clips: Sequence[Clip], on_disk: Mapping[str, ClipOnDisk], frame_source: str
) -> list[Finding]:
    """Find clips that are missing or empty."""
    missing = [clip for clip in clips if not on_disk[clip.clip_id].exists]
    empty = [clip.clip_id for clip in clips if on_disk[clip.clip_id].is_empty]
    return [
        *named_finding(
            "missing",
            f"clips are not in {frame_source}",
            [clip.clip_id for clip in missing],
            guess=guess_missing(clips, missing, frame_source),
        ),
        *named_finding(
            "empty",
            "clips are without a single frame",
            empty,
            guess="the disk was full while frames were unpacked or extracted, or the frames are of "
            "another type than jpg, png or bmp",
        ),
    ]


def check_frame_counts(
    clips: Sequence[Clip],
    on_disk: Mapping[str, ClipOnDisk],
    totals: PublishedTotals | None,
) -> list[Finding]:
    """Find clips of fewer than 16 frames, and clips whose number differs from their list."""
    counted = {
        clip.clip_id: number
        for clip in clips
        if (number := on_disk[clip.clip_id].num_frames) is not None and number > 0
    }
    short = [
        f"{name} ({number} frames)" for name, number in counted.items() if number < FRAMES_PER_CLIP
    ]
    is_published = (
        totals is not None
        and len(clips) == totals.num_clips
        and (totals.short_clips is None or len(short) <= totals.short_clips)
    )
    differing = [
        (clip, counted[clip.clip_id])
        for clip in clips
        if clip.listed_frames is not None
        and clip.clip_id in counted
        and counted[clip.clip_id] != clip.listed_frames
    ]
    return [
        *named_finding(
            "short",
            f"clips have fewer than {FRAMES_PER_CLIP} frames; the last frame will be repeated",
            short,
            guess=None if is_published else guess_short(len(short), len(clips), totals),
            is_fault=not is_published,
        ),
        *named_finding(
            "count",
            "clips have another number of frames than the list says; the disk counts",
            [f"{clip.clip_id} ({found}, listed {clip.listed_frames})" for clip, found in differing],
            guess=guess_counts(differing),
            is_fault=not (is_published and len(differing) <= len(short) and are_padded(differing)),
        ),
    ]


def read_everything(
    clips: Sequence[Clip],
    on_disk: Mapping[str, ClipOnDisk],
    count_video_frames: Callable[[Path], int],
    advance: Callable[[], None],
    *,
    threads: int = 4,
) -> tuple[list[Finding], dict[str, ClipOnDisk]]:
    """Read every frame of every clip, and find those that cannot be read.

    Args:
        clips: The clips.
        on_disk: The states of their locations.
        count_video_frames: Decodes a whole video file; raises DataError if it is damaged.
        advance: Called after each clip.
        threads: How many clips are read at once.

    Returns:
        The findings, and `on_disk` with the number of frames of the video files.
    """

    def read(clip: Clip) -> tuple[list[str], ClipOnDisk]:
        found = on_disk[clip.clip_id]
        if not found.exists or found.is_empty:
            return [], found
        if found.num_frames is None:
            try:
                return [], replace(found, num_frames=count_video_frames(clip.location))
            except DataError as error:
                return [f"{clip.clip_id} ({error.message})"], found
        paths = list_frames(clip.location)
        return [f"{clip.clip_id}/{path.name}" for path in paths if _is_broken(path)], found

    broken: list[str] = []
    measured: dict[str, ClipOnDisk] = {}
    pool = ThreadPoolExecutor(threads)
    try:
        for clip, (names, found) in zip(clips, pool.map(read, clips), strict=True):
            broken += names
            measured[clip.clip_id] = found
            advance()
    finally:
        pool.shutdown(cancel_futures=True)  # on Ctrl-C, do not wait for queued clips
    findings = named_finding(
        "unreadable",
        "frames or videos cannot be read",
        broken,
        guess="they were cut short when unpacking or copying was interrupted",
    )
    return findings, measured


def sample_clips(
    clips: Sequence[Clip], on_disk: Mapping[str, ClipOnDisk], most: int, seed: int = 0
) -> list[Clip]:
    """Draw at random up to `most` clips that have frames."""
    candidates = [
        clip
        for clip in clips
        if on_disk[clip.clip_id].exists and not on_disk[clip.clip_id].is_empty
    ]
    order = np.random.default_rng(seed).permutation(len(candidates))[:most]
    return [candidates[index] for index in order]


def check_crops(
    pictures: Iterable[NDArray[np.uint8]], find_faces: FaceFinder
) -> tuple[list[Finding], int]:
    """Use a face detector to judge whether pictures are face crops.

    A face fills its crop. If the largest face takes up less than 35 % of the shorter side
    in the median picture, these are whole frames; pictures without a face say nothing.

    Returns:
        The findings, and the number of pictures with a face.
    """
    shares = []
    for picture in pictures:
        boxes = np.asarray(find_faces(picture), dtype=np.float64).reshape(-1, 4)
        if len(boxes):
            sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
            shares.append(float(sides.max() / min(picture.shape[:2])))
    share = float(np.median(shares)) if shares else 1.0
    if len(shares) < FEWEST_FACES or share >= WHOLE_FRAME_SHARE:
        return [], len(shares)
    finding = Finding(
        "whole-frames",
        f"a face takes up only {share:.0%} of the shorter side of a picture (median of "
        f"{len(shares)} pictures)",
        len(shares),
        guess="these look like whole frames, not face crops: results collapse on such frames; "
        "name the folder of crops with --frames, or make crops with `dfer preprocess`",
    )
    return [finding], len(shares)


def _is_broken(path: Path) -> bool:
    try:
        read_frame(path)
    except DataError:
        return True
    return False


def named_finding(
    kind: str,
    message: str,
    names: Sequence[str],
    *,
    guess: str | None = None,
    is_fault: bool = True,
) -> list[Finding]:
    """A finding about clips or files; its message begins with their number. None without names."""
    if not names:
        return []
    one = {
        "clips are": "clip is",
        "clips have": "clip has",
        "pairs of clips of both show": "pair of clips of both shows",
        "pairs of clips show": "pair of clips shows",
        "such pairs are": "such pair is",
        "subjects are": "subject is",
        "sources are": "source is",
        "frames or videos cannot": "frame or video cannot",
        "records of sources/ cannot": "record of sources/ cannot",
        "files or folders belong": "file or folder belongs",
    }
    if len(names) == 1:
        for many, single in one.items():
            message = message.replace(many, single)
    return [Finding(kind, f"{len(names)} {message}", len(names), tuple(names), guess, is_fault)]
