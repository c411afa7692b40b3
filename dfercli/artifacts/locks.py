"""Locks between processes and threads, released by the system when their holder dies.

The system's locks (flock, through filelock) do not name their holder, so a file beside the lock
does. On a file system without such locks the lock itself is a file; filelock takes it over only
from a dead process of the same machine.
"""

import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated

from dfercli.artifacts.atomic import read_json, unwritable, write_json
from dfercli.errors import ArtifactError
from dfercli.names import neighbour
from dfercli.typed import Range, typed

if TYPE_CHECKING:
    from filelock import FileLock

POLL_SECONDS = 0.01
ENDING_SECONDS = 0.5  # for a killed process to disappear
GONE_SECONDS = 10.0  # for the system to free the lock of a dead process


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        process: Its PID.
        host: The machine it runs on.
        since: Local time, ISO 8601.
        command: How it was started.
    """

    process: Annotated[int, Range(1, 2**31 - 1)]
    host: str
    since: str
    command: str

    @property
    def is_gone(self) -> bool:
        """Whether the process is known to be gone."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it belongs to another user
            return False
        return False


@contextmanager
def exclusive(
    path: Path, *, busy: str | None = None, stays: bool = True, of: Path | None = None
) -> Iterator[None]:
    """Hold the lock that the file `path` stands for.

    Args:
        path: The file that stands for the lock; it is made if missing.
        busy: What happens to what is locked, as `runs/x is being trained`: said, with who does it,
            where another holds the lock. None waits as long as that lasts.
        stays: Whether the file stays afterwards; else its folder goes, too, where that was made
            for it and is empty.
        of: The output that it guards, which is named where the file cannot be made.

    Raises:
        ArtifactError: the file cannot be made, or another holds the lock and `busy` is given.
    """
    from filelock import FileLock  # a worker that finds faces does not need it

    beside = path.with_name(f"{path.name}.holder")
    lock = FileLock(path)
    is_new = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, beside, busy)
    except OSError as error:
        raise unwritable(of or path, error) from error
    try:
        if busy is not None:
            write_json(beside, asdict(_this_process()))
        yield
    finally:
        beside.unlink(missing_ok=True)
        if not stays:
            path.unlink(missing_ok=True)
        lock.release()
        if is_new and not stays:
            with suppress(OSError):  # it is not empty
                path.parent.rmdir()


@contextmanager
def writing_file(path: Path) -> Iterator[None]:
    """Hold the lock of a file that is being written; no other process then writes it.

    Raises:
        ArtifactError: another process does (named).
    """
    lock = neighbour(path, ".", ".lock")
    with exclusive(lock, busy=f"{path} is being written", stays=False, of=path):
        yield


def _acquire(lock: "FileLock", beside: Path, busy: str | None) -> None:
    from filelock import Timeout

    deadline = time.monotonic() + GONE_SECONDS
    while True:
        try:
            lock.acquire(timeout=ENDING_SECONDS, poll_interval=POLL_SECONDS)
            return
        except Timeout:
            _check_takes_files(beside.parent)
            holder = _read_holder(beside)
        if busy is None:
            continue
        if holder is None or not holder.is_gone or time.monotonic() > deadline:
            raise _refusal(lock, holder, busy) from None


def _check_takes_files(folder: Path) -> None:
    """Raise the system's error if no file can be made in a folder.

    filelock takes a missing lock for one that its holder has just removed, and tries again; in a
    folder that takes no files, such as /proc, that never ends.
    """
    with NamedTemporaryFile(dir=folder, prefix="."):
        pass


def _refusal(lock: "FileLock", holder: Holder | None, busy: str) -> ArtifactError:
    if holder is None:
        return ArtifactError(f"{busy} by another process")
    hint = f"wait for it, or end it: kill {holder.process}"
    if holder.host != socket.gethostname():
        hint = (
            f"it runs on another machine; if it is dead there, remove {lock.lock_file} "
            "and run this again"
        )
    return ArtifactError(
        f"{busy} by process {holder.process} on {holder.host} since {holder.since} "
        f"({holder.command})",
        hint=hint,
    )


def _this_process() -> Holder:
    name, *arguments = sys.argv
    command = shlex.join([Path(name).name, *arguments])
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return Holder(os.getpid(), socket.gethostname(), since, command[:200])


def _read_holder(beside: Path) -> Holder | None:
    """Read who holds the lock; None if that is not written yet or not readable."""
    with suppress(ArtifactError):
        holder: Holder = typed(Holder, read_json(beside), str(beside))
        return holder
    return None
