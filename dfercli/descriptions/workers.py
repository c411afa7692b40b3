"""Several requests at a time."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from dfercli.attempts import Crash, attempt
from dfercli.errors import DferError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def run_concurrently(
    function: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    threads: int,
    *,
    begin_no_more_after: type[DferError],
) -> Iterator[tuple[ItemT, ResultT | DferError | Crash]]:
    """Call `function` for every item in `threads` threads; yield results as they come.

    An error that a user can cause is yielded as the result of its item, and a bug as a `Crash`.
    After an error of the kind `begin_no_more_after`, running calls finish and no more are started.
    When the caller stops iterating (or is interrupted), no more are started, and the threads do
    not keep the process alive.
    """
    waiting: queue.SimpleQueue[ItemT] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    done: queue.SimpleQueue[tuple[ItemT, ResultT | Crash | BaseException] | None] = (
        queue.SimpleQueue()
    )
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                done.put((item, attempt(partial(function, item))))
            except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
                done.put((item, error))
        done.put(None)  # this thread is done

    running = min(threads, len(items))
    for _ in range(running):
        threading.Thread(target=work, daemon=True).start()
    try:
        while running:
            outcome = done.get()
            if outcome is None:
                running -= 1
                continue
            item, result = outcome
            if isinstance(result, begin_no_more_after):
                stop.set()
            if isinstance(result, BaseException) and not isinstance(result, DferError):
                raise result
            yield item, result
    finally:
        stop.set()
