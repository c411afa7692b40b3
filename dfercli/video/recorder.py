"""Record frames to a video file as they come, in the background."""

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dfercli.video.annotated import write_annotated
from dfercli.video.frames import Frame

WAITING_FRAMES = 64  # that are not encoded yet; then the camera waits, which drops frames
LOOK_SECONDS = 0.2


class Recorder:
    """Writes frames to an MP4 at their own times; use as a context manager.

    The file is there once the recording has ended, however it ends. Without a frame there is none.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: queue.Queue[Frame | None] = queue.Queue(WAITING_FRAMES)
        self._thread = ThreadPoolExecutor(1, "record")
        self._writing: Future[int] | None = None

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._writing is not None:
                self._put(None)
                self._writing.result()
        finally:
            self._thread.shutdown()

    def add(self, frame: Frame) -> None:
        """Record one more frame.

        Raises:
            UnwritableError: the system or the encoder refused the write.
        """
        if self._writing is None:
            self._writing = self._thread.submit(
                write_annotated, self._path, self._coming(), sound_of=None
            )
        self._put(frame)

    def _coming(self) -> Iterator[Frame]:
        while (frame := self._frames.get()) is not None:
            yield frame

    def _put(self, frame: Frame | None) -> None:
        while self._writing is not None:
            if self._writing.done():
                self._writing.result()  # raises why it could not go on
                return
            try:
                self._frames.put(frame, timeout=LOOK_SECONDS)
                return
            except queue.Full:
                continue
