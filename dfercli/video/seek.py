"""Find where decoding can begin in the middle of a file, and the number of that frame.

Frames are numbered from the beginning of the source. Packets are read and counted up to the wanted
moment, which is far cheaper than decoding them. The count is a frame number only if every packet
holds one picture and pictures are shown in order of time. Else decoding begins at the start.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av

from dfercli.errors import DataError
from dfercli.video.containers import av_errors, open_container, video_stream

CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # with an index
CODECS = ("h264", "hevc", "av1", "vp9")  # one shown picture in each packet
WORTH_SECONDS = 5.0  # decoding so few seconds is as fast as finding a place to begin
MARGIN_SECONDS = 0.5  # begin clearly before the wanted moment, to compare frames
COMPARED_FRAMES = 8


@dataclass(frozen=True)
class Landing:
    """A key frame.

    Attributes:
        index: Its number among the source's presented frames.
        pts: Its presentation time, in the stream's time base.
        first_seconds: Presentation time of the source's first frame.
    """

    index: int
    pts: int
    first_seconds: float


def find_landing(
    path: Path, number: int, start_seconds: float, alive: Callable[[], None], max_pixels: int
) -> Landing | None:
    """The last key frame clearly before a moment; None if decoding has to begin at the start.

    Args:
        path: The video.
        number: Of the stream among its video streams.
        start_seconds: The moment, from the time that the stream says it begins.
        alive: Called for each packet read.
        max_pixels: Larger frames are not decoded.
    """
    if start_seconds < WORTH_SECONDS:
        return None
    try:
        with av_errors(path), open_container(path, max_pixels=max_pixels) as container:
            stream = video_stream(container, path, number, max_pixels)
            codec = stream.codec_context.codec.canonical_name
            if container.format.name not in CONTAINERS or codec not in CODECS:
                return None
            if stream.time_base is None:
                return None
            origin, time_base = stream.start_time or 0, float(stream.time_base)
            begin = origin + (start_seconds - MARGIN_SECONDS) / time_base
            times, key = _times_and_key(container, stream, begin, alive)
            if key is None or key <= times[0]:
                return None
            index = times.index(key)
            landing = Landing(index, key, (times[0] - origin) * time_base)
            expected = times[index : index + COMPARED_FRAMES]
            return landing if frames_from(container, stream, landing, expected) else None
    except DataError:
        return None  # damaged: decoding from the start reaches the damage and reports it


def _times_and_key(
    container: Any, stream: Any, begin: float, alive: Callable[[], None]
) -> tuple[list[int], int | None]:
    """The times of the packets, sorted, up to a key frame after `begin`, and of the one before it.

    The key frame is None where the times do not tell which frame is shown when.
    """
    times: list[int] = []
    key = None
    try:
        for pts, is_key in packet_times(container, stream, alive):
            if is_key and pts > begin:
                break
            key = pts if is_key else key
            times.append(pts)
    except UnclearTimesError:
        return times, None
    unique = len(set(times)) == len(times)
    return sorted(times), key if unique else None


class UnclearTimesError(Exception):
    """The times of packets do not tell which frame is shown when."""


def packet_times(
    container: Any, stream: Any, alive: Callable[[], None]
) -> Iterator[tuple[int, bool]]:
    """Yield the time of each packet in a file's order, and whether it holds a key frame.

    All frames that are shown before a key frame come before it.

    Raises:
        UnclearTimesError: the times are not those of the frames.
    """
    latest = None
    for packet in container.demux(stream):
        alive()
        if packet.size == 0:  # the end
            return
        if packet.pts is None or packet.is_corrupt or packet.is_discard:
            raise UnclearTimesError
        if packet.is_keyframe:
            # Time that jumps back, as in joined recordings, shows at a key frame.
            if latest is not None and packet.pts <= latest:
                raise UnclearTimesError
        elif latest is None:  # a first packet that nothing can be decoded from
            raise UnclearTimesError
        yield packet.pts, bool(packet.is_keyframe)
        latest = packet.pts if latest is None else max(latest, packet.pts)


def frames_from(container: Any, stream: Any, landing: Landing, expected: list[int]) -> bool:
    """Whether the frames decoded after a landing have exactly the times of the packets."""
    frames = islice(decode_from(container, stream, landing), len(expected))
    return [frame.pts for frame in frames] == expected


def decode_from(container: Any, stream: Any, landing: Landing) -> Iterator[av.VideoFrame]:
    """Yield the frames of an open container after a landing."""
    container.seek(landing.pts, stream=stream, backward=True)

    def is_after(frame: av.VideoFrame) -> bool:
        # Others are leading pictures of an open group, or of a seek that went further back.
        return frame.pts is None or frame.pts >= landing.pts

    yield from filter(is_after, container.decode(stream))  # which keeps no picture
