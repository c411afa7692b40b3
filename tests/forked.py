"""The command in a process of its own that is there at once: forked from one that imported it all.

Signals, locks and kills are about processes; that each of them would import PyTorch anew is not.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from trainings import DFER

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["dfercli.cli.app", "dfercli.training.run", "dfercli.prediction.recognise", "dfercli.demo"]
)


class Running:
    """A `dfer` command under way in a session of its own.

    Args:
        arguments: After `dfer`.
        folder: Where its output, its error output and its temporary folder go.
        terminal: Path of the terminal that it is to write to instead.
    """

    def __init__(self, *arguments: object, folder: Path, terminal: str | None = None) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        places = (str(self._out), str(self._err)) if terminal is None else (terminal, terminal)
        lines = [str(argument) for argument in arguments]
        self._process = CONTEXT.Process(
            target=_run, args=(lines, places, dict(os.environ), str(self.temporary))
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def is_over(self) -> bool:
        return self._process.exitcode is not None

    def wait_until(self, there: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is there that the command makes."""
        deadline = time.monotonic() + seconds
        while not there() and not self.is_over and time.monotonic() < deadline:
            time.sleep(0.01)
        assert there(), self._err.read_text() if self._err.exists() else "nothing came"

    def ended(self, seconds: float = 60) -> int:
        """Wait for the end; the exit code, negative where a signal killed it."""
        self._process.join(seconds)
        code = self._process.exitcode
        if code is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"still running after {seconds} s: {self._err.read_text()}")
        return code

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()


def _run(
    arguments: list[str], places: tuple[str, str], environment: dict[str, str], temporary: str
) -> None:
    os.setsid()
    for target, place in zip((1, 2), places, strict=True):
        # Of the leader of a session, the first terminal that it opens becomes its own.
        os.dup2(os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environment, TMPDIR=temporary)
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv = [DFER, *arguments]
    from dfercli.cli.app import main

    main()
