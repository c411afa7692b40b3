"""Windows of time over a face track, and the frames of each that the model sees."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.face_store import TrackData
from dfercli.data.sampling import sample_test
from dfercli.errors import ConfigError
from dfercli.preprocessing.time_grid import GAP_SECONDS, TimeGrid

GAP_INTERVALS = 2.5  # for slow videos: this many frame intervals without the face are a gap
STILL_SECONDS = 1 / 25  # the length of a single frame


@dataclass(frozen=True)
class Window:
    """A stretch of time in which one face is seen without a gap.

    Attributes:
        start_seconds: Presentation time of its first frame.
        end_seconds: Presentation time at which its last frame ends.
        frames: (T,) int64, positions in the track of the frames that the model sees.
        mean_box_xyxy_px: (4,) float64, mean of the boxes of all of its frames.
    """

    start_seconds: float
    end_seconds: float
    frames: NDArray[np.int64]
    mean_box_xyxy_px: NDArray[np.float64]


def check_windows(window: float, stride: float) -> None:
    """Refuse windows that make no sense.

    Raises:
        ConfigError: a length that is not positive, or a stride that skips time.
    """
    if window <= 0 or stride <= 0:
        raise ConfigError(f"--window and --stride must be positive, got {window:g} and {stride:g}")
    if stride > window:
        raise ConfigError(
            f"--stride {stride:g} is longer than --window {window:g}: time would be skipped"
        )


def frame_seconds(track: TrackData) -> float:
    """The usual time from one frame of a track to the next."""
    if len(track.pts_seconds) < 2:
        return STILL_SECONDS
    return float(np.median(np.diff(track.pts_seconds)))


def seen_segments(track: TrackData) -> list[tuple[int, int]]:
    """Stretches [first, last) of a track's frames between which the face was not seen."""
    gap = max(GAP_SECONDS, GAP_INTERVALS * frame_seconds(track))
    cuts = np.flatnonzero(np.diff(track.pts_seconds) > gap) + 1
    edges = [0, *cuts.tolist(), len(track.pts_seconds)]
    return list(itertools.pairwise(edges))


def windows_of(
    track: TrackData, *, window: float, stride: float, num_frames: int
) -> Iterator[Window]:
    """Cut a track into windows; none spans a gap, and all of the seen time is covered.

    A stretch shorter than a window is one window. The last window of a stretch ends with it.

    Args:
        track: The track; n frames.
        window: Length of a window in seconds.
        stride: Seconds from one window to the next.
        num_frames: T, the frames chosen from each window.
    """
    last_frame = frame_seconds(track)
    grid = TimeGrid(window, num_frames)
    for first, last in seen_segments(track):
        pts_seconds = track.pts_seconds[first:last]
        end = float(pts_seconds[-1]) + last_frame
        is_short = end - float(pts_seconds[0]) + last_frame / 2 < window
        for start in _starts(float(pts_seconds[0]), end, window, stride, last_frame / 2):
            low, high = np.searchsorted(
                pts_seconds, [start - last_frame / 4, start + window - last_frame / 4]
            )
            if high == low:
                continue
            if is_short:
                chosen = low + sample_test(int(high - low), num_frames)
            else:
                chosen = _sample(pts_seconds, int(low), int(high), start, grid)
            boxes = track.box_xyxy_px[first + low : first + high].astype(np.float64)
            until = end if high == len(pts_seconds) else float(pts_seconds[high])
            yield Window(float(pts_seconds[low]), until, first + chosen, boxes.mean(axis=0))


def _sample(
    pts_seconds: NDArray[np.float64], low: int, high: int, start: float, grid: TimeGrid
) -> NDArray[np.int64]:
    """The published test sampling, with the points of a grid instead of segments of equal count.

    Windows then share frames, which are cropped and encoded once. A window of at most T frames that
    are all shown at points has exactly these, as published.

    Args:
        pts_seconds: (n,) times of a stretch in which the face is seen.
        low: The first frame of the window.
        high: The frame after its last one.
        start: When the window begins.
        grid: The points.
    """
    shown = grid.shown_at(grid.points_in(start), pts_seconds)
    count = high - low
    if count <= grid.num_frames and set(range(low, high)) <= set(shown.tolist()):
        return low + sample_test(count, grid.num_frames)
    return shown


def _starts(start: float, end: float, window: float, stride: float, slack: float) -> list[float]:
    room = end - start - window
    if room <= slack:
        return [start]
    starts = [start + number * stride for number in range(int((room + slack) / stride) + 1)]
    if end - (starts[-1] + window) > slack:
        starts.append(end - window)
    return starts
