"""Notes about faces that did not become clips, and about gaps."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dfercli.artifacts.face_store import GapRow
from dfercli.config import PreprocessConfig
from dfercli.faces.absence import NO_FACE, Absence, in_words
from dfercli.preprocessing.growing_tracks import GrowingTrack, needed_frames

SHORTEST_GAP_SECONDS = 0.25
FEW_FRAMES = 2  # anything seen in fewer frames of a video may be no face
NEAR_SECONDS = 0.2  # between the last sighting of a face and the beginning of a gap
NO_FRAMES = "no frames"
KEPT_SHARE = 0.9  # of the smallest size or time seen: an option with this surely keeps it


class Holes:
    """Finds the times of a source without a frame, while its frames pass."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []
        self._last_seconds: float | None = None

    def passes(self, seconds: float) -> None:
        """Take the time of the next frame."""
        self._found = self.up_to(seconds)
        self._last_seconds = seconds

    def up_to(self, seconds: float) -> list[tuple[float, float]]:
        """Those up to a time: between neighbouring frames, and after the last one."""
        last = self._last_seconds
        if last is None or seconds - last <= SHORTEST_GAP_SECONDS:
            return self._found
        return [*self._found, (last, seconds)]


def left_out(
    tracks: Mapping[int, GrowingTrack],
    sides_px: Mapping[int, Sequence[float]],
    chosen: Iterable[int],
    config: PreprocessConfig,
    num_frames: int,
    interval: float,
) -> list[str]:
    """Count the faces that were followed but not kept, with the options that keep them.

    Args:
        tracks: Those that have crops.
        sides_px: The longer side of the boxes of every track.
        chosen: The tracks that were kept.
        config: Settings.
        num_frames: Of the source.
        interval: Seconds between them.
    """
    kept = set(chosen)
    needed = needed_frames(config, interval, num_frames)
    # With --faces, faces that are large and long enough are just not among the largest.
    limited = config.faces != "all" and bool(kept)
    groups: dict[tuple[bool, bool], list[_Other]] = {}
    for number, sides in sides_px.items():
        count = len(tracks[number]) if number in tracks else len(sides)
        if number not in kept and count >= min(FEW_FRAMES, num_frames):
            side = float(np.median(sides))
            is_small, is_short = side < config.min_face, count < needed
            groups.setdefault((is_small, is_short), []).append(_Other(side, count * interval))
    return [
        _left_out_line(groups[key], *key, limited=limited)
        for key in ((True, False), (False, True), (True, True), (False, False))
        if key in groups
    ]


@dataclass(frozen=True)
class _Other:
    """A face that was not kept: the median of its longer side, and for how long it is seen."""

    side_px: float
    seconds: float


def _left_out_line(
    faces: Sequence[_Other], is_small: bool, is_short: bool, *, limited: bool
) -> str:
    facts = [f"{len(faces)} more face" + ("" if len(faces) == 1 else "s")]
    options = ["--faces all"] if limited else []
    if is_small:
        facts.append(f"the largest {max(face.side_px for face in faces):.0f} px")
        smallest = KEPT_SHARE * min(face.side_px for face in faces)
        options.append(f"--min-face {max(1, int(smallest))}")
    if is_short:
        facts.append(f"the longest seen for {max(face.seconds for face in faces):.2f} s")
        shortest = KEPT_SHARE * min(face.seconds for face in faces)
        options.append(f"--min-seconds {max(0.01, math.floor(100 * shortest) / 100):g}")
    keep = "keeps" if len(options) == 1 else "keep"
    them = "it" if len(faces) == 1 else "them"
    return f"{', '.join(facts)}: {' '.join(options)} {keep} {them}"


def doubtful(doubts: Iterable[tuple[int, float]], chosen: Sequence[int]) -> list[str]:
    """Note where the number of a kept track may have gone to somebody else."""
    numbers = {track: number for number, track in enumerate(chosen)}
    first: dict[int, float] = {}
    for track, seconds in doubts:
        if track in numbers:
            first.setdefault(numbers[track], seconds)
    return [
        f"face {number} is doubtful from {seconds:.2f} s on: two faces met there, or it came back "
        "changed"
        for number, seconds in sorted(first.items())
    ]


def gaps(
    tracks: Mapping[int, GrowingTrack],
    chosen: Sequence[int],
    absences: Sequence[Absence],
    unnamed_seconds: Sequence[float],
    holes: Sequence[tuple[float, float]],
    span_seconds: tuple[float, float],
    interval: float,
    min_face: int,
) -> list[GapRow]:
    """When no kept face is seen, and why.

    Args:
        tracks: All tracks.
        chosen: Those that were kept.
        absences: When and why faces were not seen.
        unnamed_seconds: Times of faces that belong to no track.
        holes: Times without a frame.
        span_seconds: Of the first and of the last frame.
        interval: Seconds between frames.
        min_face: Smaller faces are not kept, in pixels.
    """
    start, end = span_seconds
    times = [np.array(tracks[number].pts_seconds) for number in chosen]
    seen = np.unique(np.concatenate([*times, [start - interval, end + interval]]))
    longest = max(SHORTEST_GAP_SECONDS, 2.5 * interval)
    rows = []
    for row in np.flatnonzero(np.diff(seen) > longest).tolist():
        first, last = float(seen[row]), float(seen[row + 1])
        if _without_frames(first, last, holes):
            rows.append(GapRow(round(first, 6), round(last, 6), NO_FRAMES))
            continue
        reason = _left_out_between(tracks, chosen, first, last, min_face)
        near = [
            absence
            for absence in absences
            if absence.track in chosen and abs(absence.start_seconds - first) <= NEAR_SECONDS
        ]
        if reason is None and near:
            reason = in_words(near[-1].reason)
        elif reason is None and any(first < at < last for at in unnamed_seconds):
            reason = "below the score"
        rows.append(
            GapRow(round(max(first, start), 6), round(min(last, end), 6), reason or NO_FACE)
        )
    after = [hole for hole in holes if hole[0] >= end]
    return rows + [GapRow(round(first, 6), round(last, 6), NO_FRAMES) for first, last in after]


def _without_frames(start: float, end: float, holes: Iterable[tuple[float, float]]) -> bool:
    """Whether no frame is there for most of a gap."""
    lengths = [min(end, last) - max(start, first) for first, last in holes]
    return max(lengths, default=0.0) > 0.5 * (end - start)


def _left_out_between(
    tracks: Mapping[int, GrowingTrack],
    chosen: Sequence[int],
    start: float,
    end: float,
    min_face: int,
) -> str | None:
    """Why a face that is seen for most of a gap was not kept; None without one."""
    for number, track in tracks.items():
        times = np.array(track.pts_seconds)
        if number in chosen or ((times > start) & (times < end)).sum() < 2:
            continue
        if times[-1] - times[0] < 0.5 * (end - start):
            continue
        return "too small" if float(np.median(track.sides_px())) < min_face else "left out"
    return None
