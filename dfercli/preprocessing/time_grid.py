"""The moments at which windows look at a face: one time grid for all windows of all sources.

A window of any start holds exactly T of the grid's points, so windows share frames, and it is
known while a video is read which frames no window will ever look at.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLOCK_SECONDS = 1e-3  # clocks are rounded, so a frame may begin a little later than it should
ROUNDING = 1e-6  # tolerance of computed times, in steps
GAP_SECONDS = 0.25  # a face that is not seen for longer begins another stretch of time


@dataclass(frozen=True)
class TimeGrid:
    """Points in time, `num_frames` to a window; point k lies in the middle of step k.

    Attributes:
        window: Length of a window in seconds.
        num_frames: T, the frames of each window that the model sees.
    """

    window: float
    num_frames: int

    @property
    def step_seconds(self) -> float:
        """Seconds from one point to the next."""
        return self.window / self.num_frames

    def points_in(self, start_seconds: float) -> NDArray[np.int64]:
        """The numbers (T,) of the points in the window that begins then."""
        first = int(np.ceil(start_seconds / self.step_seconds - 0.5 - ROUNDING))
        return first + np.arange(self.num_frames, dtype=np.int64)

    def first_points(self, pts_seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """For frames with these times, the number of the first point that may show each (n,).

        A frame is shown at the points from its first one up to that of the next frame.
        """
        steps = (pts_seconds - CLOCK_SECONDS) / self.step_seconds - 0.5
        return np.ceil(steps).astype(np.int64)

    def is_shown(self, pts_seconds: float, next_seconds: float) -> bool:
        """Whether a point shows the frame of a time, given the time of the next frame."""
        first, after = self.first_points(np.array([pts_seconds, next_seconds]))
        return bool(after > first)

    def shown_at(
        self, points: NDArray[np.int64], pts_seconds: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """The positions, among frames in order of time, of the frames that these points show.

        Points before the first frame show that one.
        """
        rows = np.searchsorted(self.first_points(pts_seconds), points, side="right") - 1
        return rows.clip(0).astype(np.int64)

    def looked_at(self, pts_seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which frames of a whole track windows may look at (n,).

        These are the frames that a point shows, or all if the face is seen for less than a window.
        """
        first = self.first_points(pts_seconds)
        wanted = np.append(first[1:] > first[:-1], True)
        cuts = np.flatnonzero(np.diff(pts_seconds) > GAP_SECONDS) + 1
        for stretch in np.split(np.arange(len(pts_seconds)), cuts):
            times = pts_seconds[stretch]
            wanted[stretch[-1]] = True
            if times[-1] - times[0] < self.window:
                wanted[stretch] = True
        return wanted
