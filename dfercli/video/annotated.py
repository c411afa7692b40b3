"""Write timed frames as H.264 MP4 with the sound of their source."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.atomic import atomic_path
from dfercli.errors import DataError, UnwritableError
from dfercli.progress import logger
from dfercli.video.containers import mark_as_own
from dfercli.video.frames import Frame
from dfercli.video.sound import open_sound

TIME_BASE = Fraction(1, 90000)  # fine enough for every frame rate in use
STILL_SECONDS = 1 / 25


def write_annotated(
    path: Path,
    frames: Iterable[Frame],
    *,
    sound_of: Path | None,
    note: Callable[[str], None] = logger.warning,
    crf: int = 20,
) -> int:
    """Write frames at their own presentation times atomically.

    The video begins with its first frame, and has its size: others, as a folder may hold them, are
    scaled and bordered. An odd width or height is padded by one repeated pixel, as 4:2:0 chroma
    needs even sides. Frames are consumed one at a time.

    Args:
        path: The file to write; its name ends in `.mp4`.
        frames: RGB, with strictly increasing times.
        sound_of: A video whose sound is kept, if it has any; None: write none.
        note: Called with one line if there is sound that cannot be kept.
        crf: x264 constant rate factor: 18 is visually lossless, 35 shows blocks.

    Returns:
        The number of frames written.

    Raises:
        DataError: no frame at all.
        UnwritableError: the system or the encoder refused the write.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise DataError(f"cannot write {path}: there is no frame")
    with atomic_path(path) as temporary:
        try:
            return _write(temporary, path, first, stream, sound_of, note, crf)
        except av.error.FFmpegError as error:
            raise UnwritableError(f"cannot write {path}: {error.strerror or error}") from error


def _write(
    temporary: Path,
    path: Path,
    first: Frame,
    rest: Iterator[Frame],
    sound_of: Path | None,
    note: Callable[[str], None],
    crf: int,
) -> int:
    height, width = first.image.shape[:2]
    with ExitStack() as stack:
        # The index goes to the front, so that browsers can start before they have the whole file.
        options = {"movflags": "+faststart"}
        container = stack.enter_context(av.open(str(temporary), "w", format="mp4", options=options))
        mark_as_own(container)
        video = container.add_stream("libx264", options={"crf": str(crf), "preset": "veryfast"})
        video.width, video.height = width + width % 2, height + height % 2
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = TIME_BASE
        sound = None
        if sound_of is not None:
            begin = first.pts_seconds
            sound = open_sound(container, sound_of, from_seconds=begin, stack=stack, note=note)
        count, frame, pts = 0, first, -1
        while True:
            seconds = frame.pts_seconds - first.pts_seconds
            even = np.pad(
                _fitted(frame.image, (height, width)),
                ((0, height % 2), (0, width % 2), (0, 0)),
                mode="edge",
            )
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            pts = max(pts + 1, round(seconds / TIME_BASE))  # no two frames at one tick
            picture.pts, picture.time_base = pts, TIME_BASE
            container.mux(video.encode(picture))
            count += 1
            if sound is not None:
                sound.write_until(seconds)
            following = next(rest, None)
            if following is None:
                break
            frame = following
        container.mux(video.encode())
        if sound is not None:
            sound.close(seconds + STILL_SECONDS)
    return count


def _fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image, scaled and bordered to (height, width)."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    scale = min(size[0] / height, size[1] / width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.zeros((*size, 3), np.uint8)
    canvas[: fitted[1], : fitted[0]] = cv2.resize(image, fitted, interpolation=cv2.INTER_AREA)
    return canvas
