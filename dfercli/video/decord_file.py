"""A video file in decord: the only place that calls it, and knows its exceptions.

decord has wheels only for Linux and Windows on x86-64. Elsewhere PyAV reads every file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import cv2  # noqa: F401 - before decord, whose zlib would else take the place of OpenCV's (PNG)
import numpy as np
from numpy.typing import NDArray


class DecordError(Exception):
    """Decord cannot continue with a file; PyAV may."""


@cache
def decord_module() -> Any | None:
    """The library; None where it is not installed."""
    try:
        import decord
    except ModuleNotFoundError:
        return None
    return decord


@contextmanager
def _faults(decord: Any) -> Iterator[None]:
    # Its own error; an unreadable file; no frames; an index shorter than the number of frames.
    damage = (decord.DECORDError, RuntimeError, AssertionError, IndexError, ValueError)
    try:
        yield
    except damage as error:
        raise DecordError(str(error)) from error


class DecordFile:
    """The frames of a file, in order.

    Attributes:
        pts_seconds: (n,) float64, the presentation time of each frame, n > 0.

    Args:
        decord: The library.
        path: The file.

    Raises:
        DecordError: at construction, a file that decord refuses (AV1, GIF, damage in the index).
    """

    def __init__(self, decord: Any, path: Path) -> None:
        self._decord = decord
        with _faults(decord):
            self._reader = decord.VideoReader(str(path))
            times = self._reader.get_frame_timestamp(range(len(self._reader)))
            pts_seconds = np.asarray(times, np.float64)[:, 0]
        if len(pts_seconds) == 0 or not np.isfinite(pts_seconds).all():
            raise DecordError("no times of frames")
        # Frames before time 0 are listed but not returned, as an edit list asks.
        if pts_seconds[-1] >= 0:
            pts_seconds = pts_seconds[pts_seconds >= 0]
        self.pts_seconds: NDArray[np.float64] = pts_seconds

    def skip(self, count: int) -> None:
        """Skip the next frames.

        Raises:
            DecordError: it cannot.
        """
        with _faults(self._decord):
            self._reader.skip_frames(count)

    def next(self) -> NDArray[np.uint8] | None:
        """The next frame, (H, W, 3) uint8 RGB; None at the end.

        Raises:
            DecordError: it cannot be decoded.
        """
        try:
            with _faults(self._decord):
                image = self._reader.next().asnumpy()
        except StopIteration:
            return None
        if image.ndim != 3 or image.shape[2] != 3:  # frames narrower than 32 pixels are misread
            raise DecordError(f"got {image.shape}")
        return np.asarray(image, np.uint8)


def open_decord(path: Path) -> DecordFile | None:
    """Open with decord; None where it refuses, or is not installed."""
    decord = decord_module()
    if decord is None:
        return None
    try:
        return DecordFile(decord, path)
    except DecordError:
        return None


def silence_decord() -> None:
    """Keep the messages of its FFmpeg off stderr, for the whole process."""
    decord = decord_module()
    if decord is not None:
        decord.logging.set_level(decord.logging.QUIET)
