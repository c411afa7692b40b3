"""The followed faces of a source, and how those of its stretches are joined."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dfercli.faces.absence import Absence
from dfercli.preprocessing.growing_tracks import GrowingTrack
from dfercli.video.stretches import Stretch

SAME_FACE = 0.5  # of the union of two boxes in one frame
LOCAL_TRACKS = 1_000_000  # more than any stretch has


@dataclass
class Seen:
    """What a follower knows about all faces, kept or not; see `FaceFollower`.

    `holes` are the times without a frame: missing in the file, or after its last one.
    """

    absences: list[Absence] = field(default_factory=list)
    doubts: list[tuple[int, float]] = field(default_factory=list)
    unnamed_seconds: "array[float]" = field(default_factory=lambda: array("d"))
    sides_px: "dict[int, array[float]]" = field(default_factory=dict)
    holes: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Followed:
    """The faces of a source, or of a stretch of it.

    Attributes:
        tracks: The faces by track number.
        num_frames: Number of kept frames.
        largest_face_px: The longer side of the largest face, whether kept or not.
        fps: Of the source.
        warnings: Problems while reading.
        seen: All faces, kept or not.
        span_seconds: Of the first and of the last frame.
    """

    tracks: dict[int, GrowingTrack]
    num_frames: int
    largest_face_px: float
    fps: float
    warnings: tuple[str, ...]
    seen: Seen
    span_seconds: tuple[float, float]

    @property
    def interval(self) -> float:
        """Mean seconds between frames, 0 for a single frame."""
        first, last = self.span_seconds
        return (last - first) / (self.num_frames - 1) if self.num_frames > 1 else 0.0


@dataclass(frozen=True)
class Joined:
    """The faces of all stretches of a source.

    Attributes:
        followed: As of one source.
        parts: For each track, its parts in order: (stretch, track number there).
    """

    followed: Followed
    parts: dict[int, list[tuple[int, int]]]


def join(stretches: Sequence[tuple[Stretch, Followed]]) -> Joined:
    """Join the faces of neighbouring stretches that agree in the frames that both read.

    Args:
        stretches: In order, each with the faces of its own frames and those around them.
    """
    named = _named(stretches)
    parts: dict[int, list[tuple[int, int]]] = {}
    rows: dict[int, GrowingTrack] = {}
    for place, (stretch, followed) in enumerate(stretches):
        for local, track in followed.tracks.items():
            own = track.between(stretch.start_seconds, stretch.end_seconds)
            if len(own):
                name = named[place][local]
                parts.setdefault(name, []).append((place, local))
                rows.setdefault(name, GrowingTrack()).extend(own)
    order = sorted(rows, key=lambda name: (rows[name].frame_index[0], name))
    numbers = {name: number for number, name in enumerate(order)}
    for names in named:
        for name in names.values():
            numbers.setdefault(name, len(numbers))  # these have no row, but maybe a size
    first, last = stretches[0][1], stretches[-1][1]
    count = sum(followed.num_frames for _, followed in stretches)
    span = (first.span_seconds[0], last.span_seconds[1])
    followed = Followed(
        tracks={numbers[name]: rows[name] for name in order},
        num_frames=count,
        largest_face_px=max(one.largest_face_px for _, one in stretches),
        fps=round((count - 1) / (span[1] - span[0]), 3) if span[1] > span[0] else first.fps,
        warnings=tuple(line for _, one in stretches for line in one.warnings),
        seen=_seen(stretches, [{k: numbers[v] for k, v in one.items()} for one in named]),
        span_seconds=span,
    )
    return Joined(followed, {numbers[name]: parts[name] for name in order})


def _named(stretches: Sequence[tuple[Stretch, Followed]]) -> list[dict[int, int]]:
    """For each stretch, the number of each of its tracks in the whole."""
    named: list[dict[int, int]] = []
    count = 0
    for place, (_, followed) in enumerate(stretches):
        before = {} if place == 0 else _same(stretches[place - 1][1], followed)
        names = {}
        for local in sorted({*followed.tracks, *followed.seen.sides_px}):
            if local in before:
                names[local] = named[-1][before[local]]
            else:
                names[local], count = count, count + 1
        named.append(names)
    return named


def _same(one: Followed, other: Followed) -> dict[int, int]:
    """Match tracks of `other` to tracks of `one` by the frames in which their boxes agree."""
    pairs = []
    for mine, track in one.tracks.items():
        for theirs, later in other.tracks.items():
            if track.frame_index[-1] < later.frame_index[0]:
                continue
            shared = _shared_frames(track, later)
            if shared:
                pairs.append((-shared, mine, theirs))
    found: dict[int, int] = {}
    taken: set[int] = set()
    for _, mine, theirs in sorted(pairs):
        if theirs not in found and mine not in taken:
            found[theirs] = mine
            taken.add(mine)
    return found


def _shared_frames(one: GrowingTrack, other: GrowingTrack) -> int:
    """In how many frames two tracks have the same box."""
    _, mine, theirs = np.intersect1d(
        np.array(one.frame_index), np.array(other.frame_index), return_indices=True
    )
    if len(mine) == 0:
        return 0
    return int((_overlap(one.boxes()[mine], other.boxes()[theirs]) > SAME_FACE).sum())


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of boxes (n, 4)."""
    low = np.maximum(one[:, :2], other[:, :2])
    high = np.minimum(one[:, 2:], other[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    result: NDArray[np.float32] = shared / np.maximum(areas[0] + areas[1] - shared, 1e-6)
    return result


def _seen(stretches: Sequence[tuple[Stretch, Followed]], numbers: Iterable[dict[int, int]]) -> Seen:
    """What each stretch saw in its own time, with the numbers of the whole."""
    seen = Seen()
    for (stretch, followed), number in zip(stretches, numbers, strict=True):
        own = followed.seen
        seen.absences += [
            replace(absence, track=number[absence.track])
            for absence in own.absences
            if stretch.holds(absence.start_seconds) and absence.track in number
        ]
        seen.doubts += [
            (number[track], at) for track, at in own.doubts if stretch.holds(at) and track in number
        ]
        seen.unnamed_seconds.extend(at for at in own.unnamed_seconds if stretch.holds(at))
        seen.holes += [hole for hole in own.holes if stretch.holds(hole[0])]
        for track, sides_px in own.sides_px.items():
            seen.sides_px.setdefault(number[track], array("f")).extend(sides_px)
    seen.absences.sort(key=_end_of)
    return seen


def _end_of(absence: Absence) -> float:
    return float("inf") if absence.end_seconds is None else absence.end_seconds
