"""One decoded frame, which frames to keep, and timestamps that only go forwards."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESTART_SECONDS = 1.0  # a jump back by more is a stream that starts again, not jitter


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        index: Its number among the source's presented frames, from 0.
        pts_seconds: Presentation time from the start of the source; strictly increasing.
        image: (H, W, 3) uint8 RGB, upright.
    """

    index: int
    pts_seconds: float
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Selection:
    """Which frames of a source to keep; all by default.

    Attributes:
        every: Keep every n-th frame.
        fps: Keep at most so many frames per second.
        start_seconds: Drop frames before.
        end_seconds: Drop frames from here on.
    """

    every: int = 1
    fps: float | None = None
    start_seconds: float = 0.0
    end_seconds: float | None = None


ALL_FRAMES = Selection()


class Picker:
    """Decides frame by frame, in order, what a `Selection` keeps."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._seen = 0
        self._due_seconds: float | None = None

    def past_end(self, pts_seconds: float) -> bool:
        """Tell whether no later frame can be kept."""
        end = self._selection.end_seconds
        return end is not None and pts_seconds >= end

    def keep(self, pts_seconds: float) -> bool:
        """Tell whether to keep the next frame."""
        selection = self._selection
        if pts_seconds < selection.start_seconds or self.past_end(pts_seconds):
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
        # Count from the time that was due, not from the frame, so that the rate is met on average.
        self._due_seconds = max(self._due_seconds + interval, pts_seconds + interval / 2)
        return True


class Clock:
    """Makes presentation times strictly increasing.

    A missing time, or one a little too early, follows its predecessor by half a frame; a stream
    that starts again (as in joined recordings) continues where it was.
    """

    def __init__(self, fps: float) -> None:
        self._interval = 1.0 / fps if fps > 0 else 1.0 / 25.0
        self._last: float | None = None
        self._offset = 0.0
        self.repaired = 0

    def next(self, pts_seconds: float | None) -> float:
        """Return the time of the next frame, given what the file says."""
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
