"""Signals: which end a command, which let a training save first, and which processes get them.

Ctrl-C (SIGINT), a cluster or an operator (SIGTERM) and a terminal that closes (SIGHUP) ask for a
stop. It becomes `Stopped` in the main thread, which closes everything open on the way out. A
training defers the first stop until its work is saved. SIGUSR1 asks to save and continue; commands
that save as they work ignore it.
"""

import _thread
import contextlib
import errno
import gc
import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAVING = signal.SIGUSR1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h has them
LARGE_BLOCK_BYTES = 8 * 1024**2  # above frames of 1080p, which are allocated and freed all the time
ONE_REQUEST_SECONDS = 0.5
"""`timeout` and some schedulers signal a process and its group: the signal comes twice at once."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True)
class Asked:
    """The requests of signals.

    Attributes:
        stop: The number of the signal that asked to end; 0 if none did.
        save: Whether to save and go on.
    """

    stop: int = 0
    save: bool = False


class StopSignals:
    """The requests of signals to this process; made by `stop_signals`.

    Attributes:
        asked: The requests so far.
        agreed: The request that all processes of a training have agreed on; see `read_together`.
    """

    def __init__(self) -> None:
        self.asked = Asked()
        self.agreed = Asked()
        self._on_first: Callable[[int], None] | None = None
        self._heard_at = 0.0

    def take_save(self) -> Asked:
        """Return the requests; a save counts as handled."""
        asked = self.asked
        if asked.save:
            self.asked = replace(self.asked, save=False)
        return asked

    @contextlib.contextmanager
    def held_back(self, on_first: Callable[[int], None]) -> Iterator[None]:
        """The first stop is only recorded in `asked`, for the caller to check; a second one stops.

        Args:
            on_first: Gets the first signal, in its own thread.

        Raises:
            Stopped: at the end, if a stop was asked for and not handled.
        """
        self._on_first = on_first
        try:
            yield
        finally:
            self._on_first = None
        if self.asked.stop:
            raise Stopped(self.asked.stop)

    def hear(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal; Python calls this in the main thread."""
        if number == SAVING:
            self.asked = replace(self.asked, save=True)
            return
        if number == signal.SIGHUP:
            _leave_a_terminal_that_is_gone()
        before = self.asked.stop
        if before and time.monotonic() - self._heard_at < ONE_REQUEST_SECONDS:
            return
        self._heard_at = time.monotonic()
        self.asked = replace(self.asked, stop=number)
        if before or self._on_first is None:
            raise Stopped(number)
        # Not by `threading`, whose locks the main thread may hold at this moment.
        _thread.start_new_thread(self._on_first, (number,))


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Turn signals into `Stopped` while the context is open; within another, that one is used.

    Ignored signals (`nohup`), and signals that an enclosing program handles itself, are left alone;
    so are all signals outside the main thread, where Python has none.
    """
    around = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(around, StopSignals):
        yield around
        return
    signals = StopSignals()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (*STOPPING, SAVING):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, signals.hear)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def keeping_sigterm() -> Iterator[None]:
    """Start a library that installs its own SIGTERM handler (Ray), and restore ours."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _leave_a_terminal_that_is_gone() -> None:
    """Discard further output to a terminal that is gone, instead of failing."""
    for file in (1, 2):
        try:
            termios.tcgetattr(file)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), file)


@contextlib.contextmanager
def block_signals() -> Iterator[None]:
    """Start processes with these signals blocked; the parent gets them and stops its children.

    A terminal sends Ctrl-C to every process, and a cluster its signals to every process of a job. A
    child inherits the blocked signals, so it is safe from them even while it starts. Windows has no
    such signals; there every process answers Ctrl-C by itself.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker  # a tenth of the time of `dfer --help`

    # The first process that `spawn` starts brings a tracker along, which would let Ctrl-C in.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOPPING, SAVING})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """For imports of large packages: the collector finds nothing and takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def give_large_blocks_back() -> None:
    """Return freed blocks of `LARGE_BLOCK_BYTES` and more to the system at once, with glibc.

    Otherwise glibc keeps freed frames of 4K and 8K, up to 32 MB each, in every thread that had one.
    """
    import ctypes  # slow to import, and needed only where videos are read

    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BLOCK_BYTES)
