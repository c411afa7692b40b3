"""The log of tracebacks for unexpected errors of single sources."""

import os
import shlex
import sys
import threading
import time
from pathlib import Path

from dfercli.attempts import Crash
from dfercli.progress import Progress

BUGS_FILE = "bugs.log"
BUG_STAGE = "bug"


class BugLog:
    """A file that grows by a traceback for each bug; made with the first. Safe with threads.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._count = 0

    def add(self, source: str, crash: Crash) -> str:
        """Log what happened with a source; return the reason for its row of failures.

        A log that cannot be written costs the traceback, not the other sources: the reason says so.
        """
        from importlib.metadata import version  # slow to import, and bugs are rare

        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:1000]
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        entry = (
            f"{when}  dfer {version('dfercli')}  {command}\nsource: {source}\n{crash.traceback}\n"
        )
        with self._lock:
            self._count += 1
            try:
                self._append(entry.encode("utf-8", "backslashreplace"))
            except OSError as error:
                kept = f"its traceback is lost: cannot write {self._path}: {error.strerror}"
            else:
                kept = f"traceback in {self._path}"
        return f"bug: {crash.reason}; {kept}"

    def tell(self, progress: Progress) -> None:
        """Ask the user to report the bugs, if there were any."""
        if self._count:
            what = "1 source" if self._count == 1 else f"{self._count} sources"
            progress.note(f"{what} hit a bug in dfer: please report it with {self._path}")

    def _append(self, entry: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A link in place of the file may lead anywhere.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path, flags, 0o666), "ab") as file:
            file.write(entry)


def users_log() -> Path:
    """The log of work that writes no file to put a log beside."""
    from platformdirs import user_log_path

    return user_log_path("dfer") / BUGS_FILE
