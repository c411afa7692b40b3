"""The command in its own process and session, for tests of signals, locks and kills."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fork_server import Forked

DFER = str(Path(sys.executable).with_name("dfer"))  # the installed command


class Running:
    """A `dfer` command that is running.

    Args:
        arguments: After `dfer`.
        folder: For its stdout, its stderr and its temporary folder.
        environment: Variables besides those of this process.
    """

    def __init__(self, *arguments: object, folder: Path, **environment: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = Forked(
                [DFER, *map(str, arguments)],
                out.fileno(),
                err.fileno(),
                {**os.environ, "TMPDIR": str(self.temporary), **environment},
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
        code = self._process.poll(seconds)
        if code is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"still running after {seconds} s: {self.err}")
        return code

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()


def two_processes(*arguments: object, folder: Path) -> tuple[Running, Running]:
    """Start a training in two processes, with what torchrun would tell them.

    `dfer --devices 2` starts the second one by itself if nobody does: see `test_distributed.py`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    shared = {
        **{"TORCHELASTIC_RUN_ID": "tests", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GROUP_RANK": "0"},
    }
    first, second = (
        Running(
            *arguments,
            *("--devices", 2),
            folder=folder / str(rank),
            **shared,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
        )
        for rank in range(2)
    )
    return first, second
