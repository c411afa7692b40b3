"""Processes that leave Ctrl-C to whoever started them."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach; whoever starts them hears it and stops them.

    A terminal sends Ctrl-C to every process. What a process starts inherits the signals that it
    holds back, so that none of them is open to one even while it begins. Windows has no such
    signals; there every process answers Ctrl-C by itself.
    """
    if sys.platform == "win32":
        yield
        return
    # The first process started by `spawn` starts a tracker with it, which would let Ctrl-C in.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
