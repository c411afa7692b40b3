"""The metadata of a video file, read without decoding."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from dfercli.errors import DataError
from dfercli.video.containers import av_errors, open_container


@dataclass(frozen=True)
class VideoFacts:
    """The metadata of a video file.

    Attributes:
        seconds: Its length; None where it does not say.
        codec: Name of the video codec, such as `h264`.
        pixel_format: Such as `yuv420p`.
    """

    seconds: float | None
    codec: str
    pixel_format: str


def probe_video(path: Path) -> VideoFacts | None:
    """Read what a file says about itself; None where it is not a video that can be decoded."""
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
            )
    except DataError:
        return None
