"""Write frames as an H.264 MP4 file that every player opens."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.atomic import atomic_path
from dfercli.errors import DataError, UnwritableError

FINEST_RATE = 1001  # the largest denominator in use: 30000/1001


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: float | Fraction,
    *,
    crf: int = 20,
    preset: str = "veryfast",
    gop_seconds: float = 2.0,
) -> int:
    """Write `frames` to `path` atomically.

    Frames are consumed one at a time, so a generator of any length needs the memory of a few. An
    odd width or height is padded by one repeated pixel, as 4:2:0 chroma needs even sides.

    Args:
        path: The file to write; its name ends in `.mp4`.
        frames: (H, W, 3) uint8 RGB, all of one size.
        fps: Frames per second.
        crf: x264 constant rate factor: 18 is visually lossless, 35 shows blocks.
        preset: x264 preset.
        gop_seconds: Seconds between key frames.

    Returns:
        The number of frames written.

    Raises:
        DataError: no frame at all, or frames of different sizes.
        UnwritableError: the system or the encoder refused the write.
    """
    rate = Fraction(fps).limit_denominator(FINEST_RATE)
    with atomic_path(path) as temporary:
        try:
            return _encode(temporary, iter(frames), rate, crf, preset, gop_seconds, path)
        except av.error.FFmpegError as error:
            raise UnwritableError(f"cannot write {path}: {error.strerror or error}") from error


def _encode(
    temporary: Path,
    frames: Iterator[NDArray[np.uint8]],
    rate: Fraction,
    crf: int,
    preset: str,
    gop_seconds: float,
    path: Path,
) -> int:
    first = next(frames, None)
    if first is None:
        raise DataError(f"cannot write {path}: there is no frame")
    height, width = first.shape[:2]
    options = {"crf": str(crf), "preset": preset, "g": str(max(1, round(rate * gop_seconds)))}
    # x264's macroblock tree, in assembler, gives different bytes in each run.
    options["x264-params"] = "mbtree=0"
    count = 0
    with av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width = width + width % 2
        stream.height = height + height % 2
        stream.pix_fmt = "yuv420p"
        image: NDArray[np.uint8] | None = first
        while image is not None:
            if image.shape != first.shape:
                raise DataError(
                    f"cannot write {path}: frame {count} is {image.shape}, expected {first.shape}"
                )
            even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame.pts = count
            container.mux(stream.encode(frame))
            count += 1
            image = next(frames, None)
        container.mux(stream.encode())
    return count
