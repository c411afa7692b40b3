"""The growing face tracks of one source; which of them become clips, or why none does."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.face_store import TrackData
from dfercli.config import PreprocessConfig
from dfercli.config.preprocessing import USUAL_MIN_SECONDS
from dfercli.faces.smooth import TrackedFace
from dfercli.video.frames import Frame

# The columns of a track, and the number of values per row.
ROWS = {
    "frame_index": 1,
    "pts_seconds": 1,
    "scores": 1,
    "detected": 1,
    "_boxes": 4,
    "_smooth_boxes": 4,
    "_points": 10,
    "_smooth_points": 10,
}


class GrowingTrack:
    """The rows of one track; flat arrays, as an hour has 90,000 rows."""

    def __init__(self) -> None:
        self.frame_index = array("q")
        self.pts_seconds = array("d")
        self.scores = array("f")
        self.detected = array("b")
        self._boxes = array("f")
        self._smooth_boxes = array("f")
        self._points = array("f")
        self._smooth_points = array("f")

    def add(self, frame: Frame, face: TrackedFace) -> None:
        """Add the face in a frame."""
        self.frame_index.append(frame.index)
        self.pts_seconds.append(frame.pts_seconds)
        self.scores.append(face.score)
        self.detected.append(face.detected)
        self._boxes.extend(face.box_xyxy_px.tolist())
        self._smooth_boxes.extend(face.smooth_box_xyxy_px.tolist())
        if face.points_px is not None and face.smooth_points_px is not None:
            self._points.extend(face.points_px.ravel().tolist())
            self._smooth_points.extend(face.smooth_points_px.ravel().tolist())

    @classmethod
    def merged(cls, pieces: Sequence["GrowingTrack"]) -> "GrowingTrack":
        """Join several tracks that share no frame, all with points or all without."""
        whole = cls()
        frames = np.concatenate([np.array(piece.frame_index, np.int64) for piece in pieces])
        order = np.argsort(frames)
        for name, grown in vars(whole).items():
            values = np.concatenate([np.array(vars(piece)[name]) for piece in pieces])
            rows = values.reshape(len(order), -1)[order] if len(values) else values
            grown.extend(rows.ravel().tolist())
        return whole

    def between(self, start_seconds: float, end_seconds: float) -> "GrowingTrack":
        """The rows of a time."""
        first, last = (bisect_left(self.pts_seconds, at) for at in (start_seconds, end_seconds))
        part = GrowingTrack()
        for name, wide in ROWS.items():
            values = getattr(self, name)
            if len(values) == wide * len(self):  # points may be missing
                getattr(part, name).extend(values[wide * first : wide * last])
        return part

    def extend(self, other: "GrowingTrack") -> None:
        """Add all rows of another track, which are later."""
        for name in ROWS:
            getattr(self, name).extend(getattr(other, name))

    def boxes(self) -> NDArray[np.float32]:
        """(n, 4) the box of each row."""
        return np.array(self._boxes, np.float32).reshape(-1, 4)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.frame_index)

    def face(self, row: int, track: int) -> TrackedFace:
        """The face of one row, as added."""
        boxes, points = slice(4 * row, 4 * row + 4), slice(10 * row, 10 * row + 10)
        has_points = len(self._points) == 10 * len(self)
        return TrackedFace(
            track=track,
            box_xyxy_px=np.array(self._boxes[boxes], np.float32),
            smooth_box_xyxy_px=np.array(self._smooth_boxes[boxes], np.float32),
            score=self.scores[row],
            detected=bool(self.detected[row]),
            points_px=_five_points(self._points[points]) if has_points else None,
            smooth_points_px=_five_points(self._smooth_points[points]) if has_points else None,
        )

    def data(self) -> TrackData:
        """All rows, as they are stored."""
        points = np.array(self._points, np.float32).reshape(-1, 5, 2)
        return TrackData(
            frame_index=np.array(self.frame_index, np.int64),
            pts_seconds=np.array(self.pts_seconds, np.float64),
            box_xyxy_px=self.boxes(),
            score=np.array(self.scores, np.float32),
            points_px=points if len(points) == len(self) else None,
            detected=np.array(self.detected, np.bool_),
        )

    def sides_px(self) -> NDArray[np.float32]:
        """The longer side of each box."""
        boxes = self.boxes()
        sides: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        return sides

    def total_area(self) -> float:
        """Sum of the areas of squares around the boxes."""
        return float((self.sides_px().astype(np.float64) ** 2).sum())


def _five_points(values: "array[float]") -> NDArray[np.float32]:
    return np.array(values, np.float32).reshape(5, 2)


def faces_by_frame(
    tracks: dict[int, GrowingTrack], chosen: Mapping[int, NDArray[np.bool_]]
) -> Iterator[tuple[int, TrackedFace]]:
    """Yield the number of a frame with a face in it, in order of the frames.

    Args:
        tracks: The faces.
        chosen: Which rows of each track to yield (n,).
    """
    numbers = list(tracks)
    rows_of = [np.flatnonzero(chosen[number]) for number in numbers]
    of_track = np.repeat(np.array(numbers, np.int64), [len(rows) for rows in rows_of])
    rows = np.concatenate(rows_of)
    frames = np.concatenate(
        [
            np.array(tracks[n].frame_index, np.int64)[own]
            for n, own in zip(numbers, rows_of, strict=True)
        ]
    )
    for place in np.lexsort((of_track, frames)).tolist():
        number = int(of_track[place])
        yield int(frames[place]), tracks[number].face(int(rows[place]), number)


def choose_tracks(
    tracks: dict[int, GrowingTrack], config: PreprocessConfig, interval: float, num_frames: int
) -> list[int]:
    """The tracks that become clips, in order of their first frame."""
    needed = needed_frames(config, interval, num_frames)
    good = [
        number
        for number, track in tracks.items()
        if len(track) >= needed and float(np.median(track.sides_px())) >= config.min_face
    ]
    if config.faces != "all":
        limit = 1 if config.faces == "largest" else int(config.faces)
        good = sorted(good, key=lambda number: (-tracks[number].total_area(), number))[:limit]
    return sorted(good, key=lambda number: (tracks[number].frame_index[0], number))


def needed_frames(config: PreprocessConfig, interval: float, num_frames: int) -> float:
    """The number of crops that a track needs: `min_seconds` of them; one for a single picture."""
    if interval <= 0:
        return 1
    if config.min_seconds is not None:
        return round(config.min_seconds / interval, 3)
    return min(USUAL_MIN_SECONDS / interval, max(1, num_frames / 2))


def why_no_clip(
    tracks: dict[int, GrowingTrack],
    config: PreprocessConfig,
    interval: float,
    num_frames: int,
    largest_face_px: float,
) -> str:
    """Explain in one line why a source gave no clip."""
    if num_frames == 0:
        return "no frame is left by --start, --end"
    if largest_face_px == 0:
        where = " in the region" if config.region else ""
        return (
            f"no face found{where} in {num_frames} frames, looking for {config.min_face} px or "
            "more (--min-face)"
        )
    if largest_face_px < config.min_face:
        return (
            f"faces are too small: the largest is {largest_face_px:.0f} px, "
            f"--min-face is {config.min_face}"
        )
    if not tracks:
        return (
            "no face has a score high enough to be followed: the largest found in "
            f"{num_frames} frames is {largest_face_px:.0f} px"
        )
    seconds = max(len(track) for track in tracks.values()) * interval
    needed = needed_frames(config, interval, num_frames) * interval
    side_px = max(float(np.median(track.sides_px())) for track in tracks.values())
    longest = f"the longest has {seconds:.2f} s of the {needed:.2f} s needed (--min-seconds)"
    largest = f"the largest has {side_px:.1f} px, --min-face is {config.min_face}"
    if side_px < config.min_face:
        return f"faces are too small: of {len(tracks)} tracks {largest}"
    if seconds < needed:
        return f"faces are seen too briefly: of {len(tracks)} tracks {longest}"
    return (
        f"no face is both large enough and seen for long enough: of {len(tracks)} tracks "
        f"{longest}; {largest}"
    )
