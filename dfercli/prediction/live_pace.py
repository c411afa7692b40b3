"""The speed of live prediction: frames per second, and the delay of the picture."""

import time
from collections import deque

import numpy as np

RECENT_SECONDS = 2.0


class LivePace:
    """Times of frames, from the moment at which they came until they were shown.

    Attributes:
        delays_seconds: Of all frames so far.
    """

    def __init__(self) -> None:
        self._came: dict[int, float] = {}
        self._recent: deque[tuple[float, float]] = deque()
        self._first = self._last = 0.0
        self.delays_seconds: list[float] = []

    def came(self, index: int, at_seconds: float) -> None:
        """A frame came.

        Args:
            index: Its number.
            at_seconds: Of `time.monotonic`.
        """
        self._came[index] = at_seconds

    def shown(self, index: int) -> None:
        """The frame and its predictions were shown."""
        now = time.monotonic()
        delay = now - self._came.pop(index)
        self._first = self._first if self.delays_seconds else now
        self._last = now
        self.delays_seconds.append(delay)
        self._recent.append((now, delay))
        while self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()

    def now(self) -> str:
        """The last two seconds in a line."""
        if len(self._recent) < 2:
            return "-"
        span = self._recent[-1][0] - self._recent[0][0]
        rate = (len(self._recent) - 1) / max(span, 1e-6)
        delay = float(np.mean([delay for _, delay in self._recent]))
        return f"{rate:.0f} frames/s, delay {1000 * delay:.0f} ms"

    def whole(self) -> str | None:
        """A summary in one line; None if there were fewer than two frames."""
        count = len(self.delays_seconds)
        if count < 2:
            return None
        rate = (count - 1) / max(self._last - self._first, 1e-6)
        median, most = (1000 * float(np.percentile(self.delays_seconds, q)) for q in (50, 95))
        return (
            f"{count} frames, {rate:.1f} per second; median delay {median:.0f} ms, "
            f"95 % below {most:.0f} ms"
        )
