"""How long-running work reports: a small protocol, and its implementation for library use.

Stages take a `Progress`. The command line passes one that draws bars on stderr; the default
writes notes to the `dfercli` logger and draws nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

logger = logging.getLogger("dfercli")


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, steps: float = 1) -> None:
        """Report that `steps` more of the total are done."""

    def status(self, **values: float | int | str) -> None:
        """Show current values, such as ``loss=0.31``, beside the bar."""


class Progress(Protocol):
    """What a stage may report while it works."""

    def task(self, description: str, total: float | None = None) -> AbstractContextManager[Task]:
        """Open a task of `total` steps; `None` means that the number is unknown."""

    def note(self, message: str) -> None:
        """Say one line that the user should know, such as a fallback that was taken."""

    def info(self, message: str) -> None:
        """Say one line about the progress of the work; `--quiet` leaves it out."""


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


class SilentProgress(LogProgress):
    """Says nothing: for processes beside the one that reports."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def info(self, message: str) -> None:
        """Say nothing."""
