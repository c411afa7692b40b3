"""Decode ahead in a thread, so that decoding and what follows overlap."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
PATIENCE_SECONDS = 0.1


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetched(items: Iterable[ItemT], depth: int) -> Iterator[ItemT]:
    """Yield `items`, made in a thread that runs at most `depth` items ahead.

    An error raised while making them is raised here, after the items before it.
    """
    waiting: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=PATIENCE_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
            put(_End(error))
        else:
            put(_End(None))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join()
