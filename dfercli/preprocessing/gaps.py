"""Notes about faces that did not become clips, and about gaps."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dfercli.artifacts.face_store import GapRow
from dfercli.config import PreprocessConfig
from dfercli.faces.absence import NO_FACE, Absence
from dfercli.preprocessing.growing_tracks import GrowingTrack

SHORTEST_GAP_SECONDS = 0.25
FEW_FRAMES = 2  # anything seen in fewer frames of a video may be no face
NEAR_SECONDS = 0.2  # between the last sighting of a face and the beginning of a gap
KEPT_SHARE = 0.9  # of the smallest size seen: an option with this surely keeps it


def left_out(
    sides_px: Mapping[int, Sequence[float]],
    chosen: Iterable[int],
    config: PreprocessConfig,
    num_frames: int,
    interval: float,
) -> list[str]:
    """Count the faces that were followed but not kept, with the option that keeps them.

    Args:
        sides_px: The longer side of the boxes of every track.
        chosen: The tracks that were kept.
        config: Settings.
        num_frames: Of the source.
        interval: Seconds between them.
    """
    kept = set(chosen)
    needed = min(FEW_FRAMES, num_frames)
    others = {
        number: float(np.median(sides))
        for number, sides in sides_px.items()
        if number not in kept and len(sides) >= needed
    }
    small = [side for side in others.values() if side < config.min_face]
    large = [number for number, side in others.items() if side >= config.min_face]
    # With --faces, missing tracks are as long as kept ones, or just not among the largest.
    limited = config.faces != "all" and bool(kept)
    lines = []
    if small:
        lines.append(
            f"{_more(len(small))}, the largest {max(small):.0f} px: "
            f"--min-face {max(1, int(KEPT_SHARE * min(small)))} keeps {_them(len(small))}"
        )
    if large and limited:
        lines.append(f"{_more(len(large))}: --faces all keeps those seen long enough")
    elif large:
        seconds = max(len(sides_px[number]) for number in large) * interval
        lines.append(
            f"{_more(len(large))}, the longest seen for {seconds:.2f} s: a smaller "
            f"--min-seconds keeps {_them(len(large))}"
        )
    return lines


def _more(count: int) -> str:
    return f"{count} more face" + ("" if count == 1 else "s")


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


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
        reason = _left_out_between(tracks, chosen, first, last, min_face)
        near = [
            absence
            for absence in absences
            if absence.track in chosen and abs(absence.start_seconds - first) <= NEAR_SECONDS
        ]
        if reason is None and near:
            reason = near[-1].reason
        elif reason is None and any(first < at < last for at in unnamed_seconds):
            reason = "below the score"
        rows.append(
            GapRow(round(max(first, start), 6), round(min(last, end), 6), reason or NO_FACE)
        )
    return rows


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
