"""Sort the times of pictures if a container stores them in decoding order."""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import av.error

# AVI has no presentation times: with B frames, pictures get each other's.
SWAPPED_IN = ("avi",)
FURTHEST_FRAMES = 16  # that a picture is decoded before it is shown: the most of H.264 and HEVC
HELD_BYTES = 96 * 1024**2


def pictures_with_times(
    frames: Iterable[Any], container: str, has_b_frames: bool
) -> Iterator[tuple[Any, float | None]]:
    """Yield decoded pictures, which come in order, each with its time in seconds, None if unknown.

    Where a container stores times in the order of decoding, the times of the pictures around are
    sorted first; pictures wait for that, but not more of them than fit into `HELD_BYTES`.

    Raises:
        FFmpegError: as `frames` raises it, after the pictures before it.
    """
    if container not in SWAPPED_IN or not has_b_frames:
        yield from map(_with_its_time, frames)  # which keeps no picture
        return
    waiting: deque[Any] = deque()
    times: list[float] = []
    fault: av.error.FFmpegError | None = None
    stream = iter(frames)
    while True:
        try:
            frame = next(stream, None)
        except av.error.FFmpegError as error:
            fault, frame = error, None
        if frame is None:
            break
        waiting.append(frame)
        if frame.time is not None:
            heapq.heappush(times, frame.time)
        num_bytes = frame.width * frame.height * 3 // 2
        if len(waiting) > min(FURTHEST_FRAMES, max(2, HELD_BYTES // max(1, num_bytes))):
            yield _first(waiting, times)
    while waiting:
        yield _first(waiting, times)
    if fault is not None:
        raise fault


def _with_its_time(frame: Any) -> tuple[Any, float | None]:
    return frame, frame.time


def _first(waiting: deque[Any], times: list[float]) -> tuple[Any, float | None]:
    frame = waiting.popleft()
    return frame, None if frame.time is None else heapq.heappop(times)
