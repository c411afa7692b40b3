"""Locks between processes and threads, released by the system when their holder dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfercli.artifacts.atomic import unwritable
from dfercli.errors import ArtifactError


@contextmanager
def exclusive(path: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold the lock that the file `path` stands for.

    The file is made where it is missing, and stays.

    Args:
        path: The file that stands for the lock.
        busy: What to say where another holds it; None waits as long as that lasts.

    Raises:
        ArtifactError: the file cannot be made, or another holds the lock and `busy` is given.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise unwritable(path, error) from error
    with file:  # closing gives the lock back
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if busy is None else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ArtifactError(busy or str(path)) from None
        yield
