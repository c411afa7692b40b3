"""Keeps Ray's messages about dead workers and machines out of our output."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

THREAD_OF_RAY = "ray_listen_error_messages"


@contextmanager
def without_messages_of_ray() -> Iterator[None]:
    """Drop what Ray writes to stdout from its own thread; `log_to_driver` does not stop that.

    What happened to a job is in its result.
    """
    with redirect_stdout(_WithoutRay(sys.stdout)):
        yield


class _WithoutRay:
    """A stream that is deaf to one thread.

    Args:
        stream: Where all else goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, unless it is Ray that does."""
        if threading.current_thread().name == THREAD_OF_RAY:
            return len(text)
        return self._stream.write(text)
