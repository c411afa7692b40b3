"""Open video files for reading: the only place that does so with PyAV, and converts its errors.

Also here: the mark that identifies files that dfer wrote itself.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.documents import require_regular
from dfercli.errors import DataError

MARK_FIELD = "comment"
MARK = "dfer:annotated"
LARGEST_OPTION = 2**31 - 1
# PyAV 19 has no such argument: it keeps bytes that are not UTF-8 as surrogates.
LENIENT: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__[:2]) < 19 else {}


def open_container(
    path: Path, *, max_pixels: int = MAX_PIXELS, looks_at_pictures: bool = True
) -> InputContainer:
    """Open a video file for reading; the container is a context manager that closes it.

    Titles and the like may be in any encoding; bytes that are not UTF-8 are never an error.

    Args:
        path: The file.
        max_pixels: Clearly larger pictures are not decoded while probing.
        looks_at_pictures: Whether FFmpeg decodes the first pictures to probe the stream, which
            takes most of the time; without it, nothing can be decoded.

    Raises:
        DataError: not a readable video; with the reason.
    """
    options = _bounded(max_pixels) if looks_at_pictures else {"skip_frame": "all"}
    with av_errors(path):
        require_regular(path)
        # An absolute path is never taken for the name of a protocol, such as `concat:`.
        container: InputContainer = av.open(os.path.abspath(path), options=options, **LENIENT)
        return container


def video_stream(
    container: InputContainer, path: Path, number: int, max_pixels: int = MAX_PIXELS
) -> VideoStream:
    """A video stream of an open container, ready to be decoded frame by frame.

    Args:
        container: From `open_container`.
        path: Its file, for the message.
        number: Of the stream among the video streams.
        max_pixels: A frame that is clearly larger, whatever the file said, is not decoded.

    Raises:
        DataError: FFmpeg has no decoder for it.
    """
    stream = container.streams.video[number]
    context: Any = stream.codec_context  # None if there is no decoder
    if context is None:
        raise DataError(f"{path}: no decoder for this kind of video")
    context.options = _bounded(max_pixels)
    context.thread_type = "NONE"  # with threads, errors get lost and closing may hang
    return stream


def _bounded(max_pixels: int) -> dict[str, str]:
    """Decoders' options that refuse larger frames; they count whole blocks, beyond the edges."""
    return {"max_pixels": str(min(max_pixels * 3 // 2, LARGEST_OPTION))}


@contextmanager
def av_errors(path: Path) -> Iterator[None]:
    """Convert PyAV's exceptions while it reads `path` into a DataError with the reason."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise DataError(f"{path}: not a readable video ({av_reason(error)})") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def av_reason(error: av.error.FFmpegError) -> str:
    """FFmpeg's reason, in short."""
    return error.strerror or type(error).__name__


def mark_as_own(container: OutputContainer) -> None:
    """Record in a file's metadata that dfer made it from another video."""
    container.metadata[MARK_FIELD] = MARK


def is_own_output(path: Path) -> bool:
    """Tell whether dfer wrote a video itself: an annotated copy or preview, which is not a source.

    False for a file that cannot be read: reading it as a source reports why.
    """
    try:
        with av_errors(path), open_container(path, looks_at_pictures=False) as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
    except DataError:
        return False
    return tags.get(MARK_FIELD) == MARK
