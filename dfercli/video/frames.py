"""One decoded frame, which frames to keep, and timestamps that only increase."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN_FPS = 25.0  # stands in for a rate that no one knows
CLEARLY_FURTHER = 1.25
RESTART_SECONDS = 1.0  # a larger jump back is a stream that restarts, not jitter


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        index: Its number among the source's presented frames, from 0.
        pts_seconds: Presentation time from the start of the source; strictly increasing.
        image: (H, W, 3) uint8 RGB, upright.
        wanted: False for a frame between those to keep; see `Selection.between_seconds`.
    """

    index: int
    pts_seconds: float
    image: NDArray[np.uint8]
    wanted: bool = True


@dataclass(frozen=True)
class Selection:
    """Which frames of a source to keep; all by default.

    Attributes:
        every: Keep every n-th frame.
        fps: Keep at most this many frames per second.
        start_seconds: Drop frames before.
        end_seconds: Drop frames from here on.
        between_seconds: If selected frames are clearly further apart, also yield frames between
            them, about so far apart, as not wanted; None for none.
        indices: Keep only frames with these numbers, whatever `every` and `fps` say.
    """

    every: int = 1
    fps: float | None = None
    start_seconds: float = 0.0
    end_seconds: float | None = None
    between_seconds: float | None = None
    indices: frozenset[int] | None = None


ALL_FRAMES = Selection()


def num_bytes(frame: Frame) -> int:
    """The memory that the picture of a frame takes."""
    return frame.image.nbytes


class Picker:
    """Decides frame by frame, in order, which frames a `Selection` keeps.

    Args:
        selection: The frames to keep.
        fps: Frame rate of the source, 0 if unknown.
    """

    def __init__(self, selection: Selection, fps: float) -> None:
        self._selection = selection
        self._seen = 0
        self._last_index = None if selection.indices is None else max(selection.indices, default=-1)
        self._due_seconds: float | None = None
        self._picked_seconds: float | None = None  # the last one, wanted or between
        self._step_seconds: float | None = None  # to a frame between, None where there are none
        interval = 1.0 / (fps or UNKNOWN_FPS)
        kept_seconds = max(selection.every * interval, 1.0 / (selection.fps or math.inf))
        between = selection.between_seconds
        if between is not None and kept_seconds > CLEARLY_FURTHER * between:
            self._step_seconds = between - interval / 2  # of the frames around, the nearest

    def pick(self, index: int, pts_seconds: float) -> bool | None:
        """Decide on the next frame: True keeps it, False only tracks faces in it, None drops it."""
        if self._selection.indices is not None:
            return True if index in self._selection.indices else None
        wanted = self._keep(pts_seconds)
        if not wanted and not self._is_between(pts_seconds):
            return None
        self._picked_seconds = pts_seconds
        return wanted

    def _is_between(self, pts_seconds: float) -> bool:
        if self._step_seconds is None or self._picked_seconds is None:
            return False
        due = self._picked_seconds + self._step_seconds
        return pts_seconds >= due and not self._past_end(pts_seconds)

    def is_over(self, index: int, pts_seconds: float) -> bool:
        """Tell whether neither this frame nor a later one can be kept."""
        if self._last_index is not None and index > self._last_index:
            return True
        return self._past_end(pts_seconds)

    def _past_end(self, pts_seconds: float) -> bool:
        end = self._selection.end_seconds
        return end is not None and pts_seconds >= end

    def _keep(self, pts_seconds: float) -> bool:
        selection = self._selection
        if pts_seconds < selection.start_seconds or self._past_end(pts_seconds):
            return False
        self._seen += 1
        if (self._seen - 1) % selection.every:
            return False
        if selection.fps is None:
            return True
        interval = 1.0 / selection.fps
        if self._due_seconds is None:
            self._due_seconds = pts_seconds
        if pts_seconds < self._due_seconds - 1e-3:  # decord's times are rounded
            return False
        # Count from the due time, not from the frame, to keep the average rate right.
        self._due_seconds = max(self._due_seconds + interval, pts_seconds + interval / 2)
        return True


class Clock:
    """Makes presentation times strictly increasing.

    A missing time, or one a little too early, follows its predecessor by half a frame; a stream
    that starts again (as in joined recordings) continues where it was.
    """

    def __init__(self, fps: float) -> None:
        self._interval = 1.0 / (fps or UNKNOWN_FPS)
        self._last: float | None = None
        self._offset = 0.0
        self.repaired = 0

    def next(self, pts_seconds: float | None) -> float:
        """Return the time of the next frame, given the time in the file."""
        last = self._last
        if last is None:
            now = 0.0 if pts_seconds is None else pts_seconds
        elif pts_seconds is None or not math.isfinite(pts_seconds):
            now = last + self._interval
            self.repaired += 1
        else:
            now = pts_seconds + self._offset
            if now <= last - RESTART_SECONDS:
                self._offset += last + self._interval - now
                now = last + self._interval
                self.repaired += 1
            elif now <= last:
                now = last + self._interval / 2
                self.repaired += 1
        self._last = now
        return now
