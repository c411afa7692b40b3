"""Cut a long video at key frames into stretches that are read side by side.

Readers of neighbouring stretches both read the time around the seam between them. A video is cut
only where the times of its packets tell which frame is shown when, and where the frames decoded
after each cut have these times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.errors import DataError
from dfercli.video.containers import av_errors, open_container, video_stream
from dfercli.video.seek import (
    CODECS,
    COMPARED_FRAMES,
    CONTAINERS,
    Landing,
    UnclearTimesError,
    frames_from,
    packet_times,
)

OVERLAP_SECONDS = 1.0  # from where a stretch is read to its own first frame
SHORTEST = 8 * OVERLAP_SECONDS


@dataclass(frozen=True)
class Stretch:
    """A part of a video.

    Attributes:
        number: From 0.
        count: How many stretches the video has.
        landing: Where decoding begins; None for the beginning of the video.
        start_seconds: Its own frames begin here.
        end_seconds: Those of the next stretch begin here; infinity for the last one.
        num_frames: Of the whole video.
    """

    number: int
    count: int
    landing: Landing | None
    start_seconds: float
    end_seconds: float
    num_frames: int

    def holds(self, pts_seconds: float) -> bool:
        """Whether the frame of a time is one of its own."""
        return self.start_seconds <= pts_seconds < self.end_seconds

    def holds_each(self, pts_seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The same for several frames (n,)."""
        return (self.start_seconds <= pts_seconds) & (pts_seconds < self.end_seconds)


def cut_into_stretches(
    path: Path, count: int, max_pixels: int, alive: Callable[[], None] = lambda: None
) -> list[Stretch]:
    """Cut a video into about equal stretches; return an empty list if it cannot be cut.

    Args:
        path: The video.
        count: The wanted number; there are fewer if key frames are rare.
        max_pixels: Larger frames are not decoded.
        alive: Called for each packet read.
    """
    try:
        with av_errors(path), open_container(path, max_pixels=max_pixels) as container:
            best = container.streams.best("video")
            if best is None or container.format.name not in CONTAINERS:
                return []
            number = next(i for i, one in enumerate(container.streams.video) if one is best)
            stream = video_stream(container, path, number, max_pixels)
            if stream.codec_context.codec.canonical_name not in CODECS or stream.time_base is None:
                return []
            packets = list(packet_times(container, stream, alive))
            times = sorted(pts for pts, _ in packets)
            if not times or len(set(times)) < len(times):
                return []
            origin, time_base = stream.start_time or 0, float(stream.time_base)
            keys = [pts for pts, is_key in packets if is_key]
            landings = []
            for pts in _seams(keys, times, count, time_base):
                index = times.index(pts)
                landing = Landing(index, pts, (times[0] - origin) * time_base)
                expected = times[index : index + COMPARED_FRAMES]
                if frames_from(container, stream, landing, expected):
                    landings.append(landing)
    except (DataError, UnclearTimesError):
        return []  # reading it as a whole will report the fault
    starts = [(landing.pts - origin) * time_base + OVERLAP_SECONDS for landing in landings]
    return [
        Stretch(place, len(starts) + 1, landing, start, end, len(times))
        for place, (landing, start, end) in enumerate(
            zip(
                [None, *landings],
                [float("-inf"), *starts],
                [*starts, float("inf")],
                strict=True,
            )
        )
        if landings
    ]


def _seams(keys: list[int], times: list[int], count: int, time_base: float) -> list[int]:
    """The key frames nearest to equal parts, clearly apart from one another and from the ends."""
    apart = SHORTEST / time_base
    chosen: list[int] = []
    for place in range(1, count):
        wanted = times[0] + (times[-1] - times[0]) * place / count
        nearest = min(keys, key=lambda pts: abs(pts - wanted))
        first = chosen[-1] if chosen else times[0]
        if nearest - first >= apart and times[-1] - nearest >= apart:
            chosen.append(nearest)
    return chosen
