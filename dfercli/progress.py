"""How long-running work reports: a small protocol, and its implementation for library use.

Stages take a `Progress`. The command line passes one that draws bars on stderr; the default
writes notes to the `dfercli` logger and draws nothing.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from html import escape
from typing import Any, Protocol

REDRAW_SECONDS = 0.2

logger = logging.getLogger("dfercli")


class Task(Protocol):
    """One piece of work in progress."""

    def advance(self, steps: float = 1) -> None:
        """Report that `steps` more of the total are done."""

    def status(self, **values: float | int | str) -> None:
        """Show current values, such as ``loss=0.31``, beside the bar."""


class Progress(Protocol):
    """What a stage may report while it works."""

    def task(self, description: str, total: float | None = None) -> AbstractContextManager[Task]:
        """Open a task of `total` steps; `None` means that the number is unknown."""

    def note(self, message: str) -> None:
        """Print one line that the user should know, such as a fallback."""

    def info(self, message: str) -> None:
        """Print one line about the progress of the work; `--quiet` leaves it out."""


class _NoTask:
    def advance(self, steps: float = 1) -> None:
        pass

    def status(self, **values: float | int | str) -> None:
        pass


class LogProgress:
    """Draws nothing; notes go to the `dfercli` logger as warnings, so they are never silent."""

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Task]:
        """Open a task that shows nothing."""
        yield _NoTask()

    def note(self, message: str) -> None:
        """Log `message` as a warning (on stderr unless logging is configured otherwise)."""
        logger.warning(message)

    def info(self, message: str) -> None:
        """Log `message` as information (not shown unless logging is configured)."""
        logger.info(message)


class _NotebookTask:
    """A bar in the output of a notebook's cell; redrawn a few times a second at most."""

    def __init__(self, description: str, total: float | None) -> None:
        from IPython.display import DisplayHandle

        self._description, self._total = description, total
        self._done, self._shown_at, self._status = 0.0, 0.0, ""
        self._handle = DisplayHandle()
        self._handle.display(self._bar())

    def advance(self, steps: float = 1) -> None:
        self._done += steps
        self._draw()

    def status(self, **values: float | int | str) -> None:
        self._status = "  ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
        )
        self._draw()

    def close(self) -> None:
        """Draw the last state."""
        self._handle.update(self._bar())

    def _draw(self) -> None:
        if time.monotonic() - self._shown_at >= REDRAW_SECONDS:
            self._shown_at = time.monotonic()
            self._handle.update(self._bar())

    def _bar(self) -> Any:
        from IPython.display import HTML

        words, of = escape(f"{self._description} {self._status}"), ""
        if self._total:
            of = f" of {self._total:g}"
            words = f'<progress max="{self._total:g}" value="{self._done:g}"></progress> {words}'
        return HTML(f"<div>{words}: {self._done:g}{of}</div>")


class NotebookProgress(LogProgress):
    """Bars in the output of a notebook's cell; notes go to the `dfercli` logger."""

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Task]:
        """Draw a bar with its count."""
        task = _NotebookTask(description, total)
        try:
            yield task
        finally:
            task.close()


def usual_progress() -> Progress:
    """Bars if a notebook can show them, else only notes."""
    ipython = sys.modules.get("IPython")  # a notebook has imported it
    shell = None if ipython is None else ipython.get_ipython()
    return NotebookProgress() if hasattr(shell, "kernel") else LogProgress()


class SilentProgress(LogProgress):
    """Prints nothing: for processes besides the one that reports."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def info(self, message: str) -> None:
        """Say nothing."""
