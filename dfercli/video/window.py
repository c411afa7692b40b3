"""A window on the screen, in its own process.

OpenCV's windows crash in a process that has loaded PyAV or decord: each brings its own copies of
the libraries that talk to the display.
"""

import contextlib
import multiprocessing
import os
from multiprocessing.connection import Connection

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.errors import ConfigError
from dfercli.processes import block_signals

NO_DISPLAY = "no window can be opened on this machine's display"


class Window:
    """Shows pictures one after the other; use as a context manager.

    Args:
        title: The title of the window.
    """

    def __init__(self, title: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_show_all, args=(theirs, title), daemon=True)
        with block_signals():
            self._process.start()
        theirs.close()

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join()

    def show(self, image: NDArray[np.uint8]) -> bool:
        """Show a picture.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            False once q was pressed or the window was closed.

        Raises:
            ConfigError: there is no display.
        """
        try:
            self._connection.send(image)
            goes_on: bool = self._connection.recv()
        except (EOFError, OSError) as error:
            raise ConfigError(NO_DISPLAY, hint="--headless") from error
        return goes_on


def _show_all(connection: Connection, title: str) -> None:
    """Show pictures until the other end closes; without a display Qt aborts the process."""
    stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)  # Qt prints much about fonts and missing displays
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError, cv2.error):
        while True:
            cv2.imshow(title, cv2.cvtColor(connection.recv(), cv2.COLOR_RGB2BGR))
            os.dup2(stderr, 2)
            key = cv2.waitKey(1) & 0xFF
            is_open = cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
            connection.send(key != ord("q") and is_open)
