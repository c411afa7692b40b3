"""Windows of time over a face track, and the frames that the model sees of each."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.face_store import TrackData
from dfercli.data.sampling import sample_test
from dfercli.errors import ConfigError

GAP_SECONDS = 0.25
GAP_INTERVALS = 2.5  # of a slow video: as many frame intervals without the face are a gap
STILL_SECONDS = 1 / 25  # what a single frame lasts


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
        window: Seconds that a window lasts.
        stride: Seconds from one window to the next.
        num_frames: T, the frames chosen of each window.
    """
    last_frame = frame_seconds(track)
    for first, last in seen_segments(track):
        pts_seconds = track.pts_seconds[first:last]
        end = float(pts_seconds[-1]) + last_frame
        for start in _starts(float(pts_seconds[0]), end, window, stride, last_frame / 2):
            low, high = np.searchsorted(
                pts_seconds, [start - last_frame / 4, start + window - last_frame / 4]
            )
            if high == low:
                continue
            within = pts_seconds[low:high]
            chosen = first + low + _sample(within, start, window, num_frames, last_frame)
            boxes = track.box_xyxy_px[first + low : first + high].astype(np.float64)
            until = end if high == len(pts_seconds) else float(pts_seconds[high])
            yield Window(float(pts_seconds[low]), until, chosen, boxes.mean(axis=0))


def _sample(
    pts_seconds: NDArray[np.float64],
    start: float,
    window: float,
    num_frames: int,
    frame_seconds: float,
) -> NDArray[np.int64]:
    """The published test sampling, with segments of equal time instead of equal count.

    Windows that start a whole number of segments apart then share frames, which are encoded once.
    A window with fewer than T frames, or whose frames end early, has segments of equal count, as
    published.
    """
    too_short = pts_seconds[-1] + 1.5 * frame_seconds < start + window
    if len(pts_seconds) <= num_frames or too_short:
        return sample_test(len(pts_seconds), num_frames)
    middles = start + window * (np.arange(num_frames) + 0.5) / num_frames
    # The frame that is shown then; clocks are rounded, so a frame may begin a little later.
    shown = np.searchsorted(pts_seconds, middles + frame_seconds / 100, side="right") - 1
    return shown.clip(0).astype(np.int64)


def _starts(start: float, end: float, window: float, stride: float, slack: float) -> list[float]:
    room = end - start - window
    if room <= slack:
        return [start]
    starts = [start + number * stride for number in range(int((room + slack) / stride) + 1)]
    if end - (starts[-1] + window) > slack:
        starts.append(end - window)
    return starts
