"""Decode untrusted pictures; the size is read from the header first."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.config.preprocessing import MAX_PIXELS
from dfercli.errors import TooLargeError

# What Pillow raises on a damaged header.
DAMAGE = (SyntaxError, ValueError, OSError, KeyError, TypeError, OverflowError, struct.error)


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Keep OpenCV from saying on stderr what our own message says."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def decode_picture(
    content: bytes, path: Path, flags: int = cv2.IMREAD_COLOR, max_pixels: int | None = None
) -> NDArray[np.uint8] | None:
    """Decode a JPEG, PNG, BMP, WebP or TIFF picture.

    Args:
        content: The file's bytes.
        path: The file, for the message.
        flags: Those of `cv2.imdecode`.
        max_pixels: The largest picture that is decoded, as the user set it; None for 8K.

    Returns:
        The result of `cv2.imdecode`; None where it is not a picture.

    Raises:
        TooLargeError: it has more pixels; nothing was decoded.
    """
    size = _size_in_header(content)
    if size is None:
        return None
    check_size(path, *size, max_pixels)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


def scaled(
    image: NDArray[np.uint8], scale: float, interpolation: int = cv2.INTER_AREA
) -> NDArray[np.uint8]:
    """A picture in another size; no side gets shorter than one pixel, however narrow it is.

    Args:
        image: (H, W, 3) uint8.
        scale: New sides in parts of the old ones.
        interpolation: OpenCV's.
    """
    height, width = image.shape[:2]
    if min(height, width) * scale >= 1:
        return np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation), np.uint8
        )
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def check_size(path: Path, width: int, height: int, max_pixels: int | None = None) -> None:
    """Refuse a picture, or a video of pictures, that is larger than the bound.

    Args:
        path: The file, for the message.
        width: Of a picture.
        height: Of a picture.
        max_pixels: The bound that the user set; None for 8K.

    Raises:
        TooLargeError: it has more pixels.
    """
    bound = MAX_PIXELS if max_pixels is None else max_pixels
    if width * height > bound:
        option = "" if max_pixels is None else " (--max-pixels)"
        raise TooLargeError(
            f"{path}: {width} x {height} are {width * height:,} pixels, expected at most "
            f"{bound:,}{option}"
        )


def _size_in_header(content: bytes) -> tuple[int, int] | None:
    """Width and height; None where the format is not supported."""
    # Imported here, as reading only videos does not need it.
    from PIL import ImageFile
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    # The first bytes of each format. OpenCV would accept more formats, whatever the name.
    headers: dict[bytes, type[ImageFile.ImageFile]] = {
        b"\xff\xd8\xff": JpegImageFile,
        b"\x89PNG": PngImageFile,
        b"BM": BmpImageFile,
        b"RIFF": WebPImageFile,
        b"II*\0": TiffImageFile,
        b"MM\0*": TiffImageFile,
    }
    for start, kind in headers.items():
        if content.startswith(start):
            try:
                with kind(io.BytesIO(content)) as picture:
                    return picture.size
            except DAMAGE:
                return None
    return None
