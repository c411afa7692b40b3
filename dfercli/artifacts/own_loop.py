"""Asynchronous work from code that is not: each piece has its own event loop."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in an event loop of its own, and return its result.

    `asyncio.run` would wait for a name server that does not answer, however late it is. If this
    thread already runs a loop, as in a notebook, another thread does the work.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    if not _has_running_loop():
        return _run_in(loop, task)
    with ThreadPoolExecutor(1, "http") as pool:
        running = pool.submit(_run_in, loop, task)
        try:
            return running.result()
        finally:
            if not running.done():  # interrupted
                loop.call_soon_threadsafe(task.cancel)


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[T]") -> T:
    try:
        return loop.run_until_complete(task)
    finally:
        if not task.done():  # a signal broke in
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
