"""Frames of a camera as they come; frames that arrive during processing are dropped."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from dfercli.artifacts.pictures import check_size, silent_opencv
from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.errors import DataError
from dfercli.video.frames import Frame

UNKNOWN_FPS = 25.0
PATIENCE_SECONDS = 10.0


class Camera:
    """The newest frames of a camera, or all frames of a stream; use as a context manager.

    Args:
        name: Number of a camera, or the address of a stream or file.
        max_pixels: The largest accepted picture.

    Attributes:
        fps: The rate that it reports.
        taken_at: When the newest frame that was yielded came, by `time.monotonic`.

    Raises:
        DataError: it cannot be opened, or its pictures are too large.
    """

    def __init__(self, name: str, max_pixels: int = MAX_PIXELS) -> None:
        self._name = name
        self._is_live = name.isdecimal()
        with silent_opencv():
            self._capture = cv2.VideoCapture(int(name) if self._is_live else name)
        if not self._capture.isOpened():
            raise DataError(f"cannot open camera {name}", hint="--camera 0 is the first one")
        width, height = (
            int(self._capture.get(which))
            for which in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        check_size(Path(name), width, height, max_pixels)
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or UNKNOWN_FPS
        self.taken_at = 0.0
        self._newest: tuple[float, np.ndarray] | None = None
        self._arrived = threading.Condition()
        self._ended = False

    def __enter__(self) -> "Camera":
        if self._is_live:
            threading.Thread(target=self._grab, name="camera", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._arrived:
            self._ended = True
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames with the seconds since the first; RGB."""
        begin: float | None = None
        index = 0
        while (taken := self._next_live() if self._is_live else self._next_of_stream()) is not None:
            seconds, bgr = taken
            self.taken_at = seconds if self._is_live else time.monotonic()
            begin = seconds if begin is None else begin
            image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(index, seconds - begin, image)
            index += 1

    def _grab(self) -> None:
        """Keep only the newest frame, so the picture never lags."""
        while not self._ended:
            is_there, bgr = self._capture.read()
            with self._arrived:
                self._ended = self._ended or not is_there
                self._newest = (time.monotonic(), bgr) if is_there else None
                self._arrived.notify()

    def _next_live(self) -> tuple[float, np.ndarray] | None:
        with self._arrived:
            ready = self._arrived.wait_for(
                lambda: self._newest is not None or self._ended, PATIENCE_SECONDS
            )
            if not ready:
                raise DataError(f"camera {self._name} gives no frame")
            taken, self._newest = self._newest, None
            return taken

    def _next_of_stream(self) -> tuple[float, np.ndarray] | None:
        is_there, bgr = self._capture.read()
        if not is_there:
            return None
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, bgr
