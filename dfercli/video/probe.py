"""The metadata of a video file, read without decoding."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av

from dfercli.errors import DataError
from dfercli.video.containers import av_errors, open_container

EARLIEST_YEAR = 1990


@dataclass(frozen=True)
class VideoFacts:
    """The metadata of a video file.

    Attributes:
        seconds: Its length; None if it does not say.
        codec: Name of the video codec, such as `h264`.
        pixel_format: Such as `yuv420p`.
        fps: Mean frames per second; None if it does not say.
        recorded_at: When it was recorded, as it says, with a time zone; else None.
    """

    seconds: float | None
    codec: str
    pixel_format: str
    fps: float | None = None
    recorded_at: datetime | None = None


def probe_video(path: Path) -> VideoFacts | None:
    """Read the metadata of a file; None if it is not a video that can be decoded."""
    try:
        with av_errors(path), open_container(path) as container:
            stream = container.streams.best("video")
            if stream is None:
                return None
            context: Any = container.streams.video[0].codec_context
            if context is None:  # there is no decoder
                return None
            seconds = None if container.duration is None else container.duration / av.time_base
            return VideoFacts(
                seconds,
                context.name,
                str(context.pix_fmt),
                float(stream.average_rate) if stream.average_rate else None,
                _recorded_at({**stream.metadata, **container.metadata}),
            )
    except DataError:
        return None


def _recorded_at(metadata: Mapping[str, str]) -> datetime | None:
    """The creation time of a file; programs that have none write the beginning of some epoch."""
    try:
        said = metadata.get("creation_time", "").strip().replace("Z", "+00:00")
        found = datetime.fromisoformat(said)
    except ValueError:
        return None
    if found.year < EARLIEST_YEAR:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
