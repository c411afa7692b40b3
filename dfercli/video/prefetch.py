"""Make items, such as decoded frames, ahead in a thread: making and using them overlap."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
PATIENCE_SECONDS = 0.1


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Room:
    """Bytes that items may take from when they are made until the next one is asked for."""

    def __init__(self, num_bytes: int) -> None:
        self._free = self._all = num_bytes
        self._changed = threading.Condition()

    def wait_for(self, num_bytes: int, timeout: float) -> bool:
        """Wait until there is room, or nothing at all takes any."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._free >= num_bytes or self._free == self._all, timeout
            )

    def take(self, num_bytes: int) -> None:
        with self._changed:
            self._free -= num_bytes
            self._changed.notify()


def prefetched(
    items: Iterable[ItemT],
    depth: int,
    max_bytes: int = 0,
    size_of: Callable[[ItemT], int] = lambda item: 0,
) -> Iterator[ItemT]:
    """Yield `items`, made in a thread that runs at most `depth` items ahead.

    An error raised while making them is raised here, after the items before it.

    Args:
        items: To be made in the thread.
        depth: How many may wait.
        max_bytes: How much memory all of them may take, with the one in use; as an item is as
            large as the one before, no further one is begun that would not fit. One alone may be
            larger: then nothing is made ahead.
        size_of: The bytes that an item takes.
    """
    waiting: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    room = _Room(max_bytes)

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=PATIENCE_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def may_make(num_bytes: int) -> bool:
        while not stopped.is_set():
            if room.wait_for(num_bytes, PATIENCE_SECONDS):
                return True
        return False

    def produce() -> None:
        num_bytes = 0
        stream = iter(items)
        try:
            while may_make(num_bytes):
                try:
                    item = next(stream)
                except StopIteration:
                    put(_End(None))
                    return
                num_bytes = size_of(item)
                room.take(num_bytes)
                if not put([item, num_bytes]):
                    return
                del item  # else it lives until the next one is made
        except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
            put(_End(error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            taken = waiting.get()
            if isinstance(taken, _End):
                if taken.error is not None:
                    raise taken.error
                return
            num_bytes = taken.pop()
            yield taken.pop()  # the consumer may free it before asking for the next one
            room.take(-num_bytes)
    finally:
        stopped.set()
        thread.join()
