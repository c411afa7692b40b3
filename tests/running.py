"""The command in its own process and session, for tests of signals, locks and kills."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from trainings import DFER


class Running:
    """A `dfer` command that is running.

    Args:
        arguments: After `dfer`.
        folder: For its stdout, its stderr and its temporary folder.
    """

    def __init__(self, *arguments: object, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(
                [DFER, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(self.temporary)},
            )
        self.pid = self._process.pid

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def wait_until(self, there: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something that the command makes exists."""
        deadline = time.monotonic() + seconds
        while not there() and not self.is_over and time.monotonic() < deadline:
            time.sleep(0.02)
        assert there(), self.err

    def ended(self, seconds: float = 60) -> int:
        """Wait for the end and return the exit code, negative if a signal killed it."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"still running after {seconds} s: {self.err}") from None

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()
