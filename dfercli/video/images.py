"""Single images and folders of numbered images as sources of frames."""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.pictures import decode_picture
from dfercli.documents import require_regular
from dfercli.errors import DataError
from dfercli.video.frames import ALL_FRAMES, Frame, Picker, Selection

MOST_WARNINGS = 20
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which `f2` comes before `f10`."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def read_image(path: Path, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) uint8 RGB, upright as its EXIF says, without its alpha.

    Raises:
        TooLargeError: it has more pixels than `max_pixels`, None for 8K.
        DataError: missing, empty, or not an image.
    """
    try:
        content = require_regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if not content:
        raise DataError(f"{path}: empty file (0 bytes)")
    image = decode_picture(content, path, cv2.IMREAD_COLOR_RGB, max_pixels)
    if image is None:
        raise DataError(f"{path}: not a readable image")
    return image


class ImageReader:
    """The selected frames of a folder of numbered images, or one image; iterate once.

    Args:
        path: The folder or the image.
        fps: Frames per second of a folder.
        selection: Which images.
        max_pixels: Larger images are not decoded.

    Attributes:
        path: The folder or the image.
        fps: Frames per second: as given for a folder, 0 for a single image.
        warnings: Images that could not be read, one line each.
        claimed_seconds: Length that the source claims: none.

    Raises:
        DataError: while iterating, where no image can be read.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        selection: Selection = ALL_FRAMES,
        max_pixels: int | None = None,
    ) -> None:
        self.path = path
        self._max_pixels = max_pixels
        self.warnings: list[str] = []
        self.claimed_seconds = 0.0
        self._selection = selection
        if path.is_dir():
            names = [entry.name for entry in path.iterdir() if is_image(entry)]
            self._images = [path / name for name in sorted(names, key=natural_key)]
            self.fps = fps
        else:
            self._images = [path]
            self.fps = 0.0

    def __iter__(self) -> Iterator[Frame]:
        """Read image by image."""
        picker = Picker(self._selection, self.fps)
        first_fault: DataError | None = None
        num_faults = num_wanted = 0
        for index, path in enumerate(self._images):
            seconds = index / self.fps if self.fps > 0 else 0.0
            wanted = picker.pick(index, seconds)
            if wanted is None:
                continue
            num_wanted += 1
            try:
                image = read_image(path, self._max_pixels)
            except DataError as error:
                num_faults += 1
                # Without what its traceback holds: the bytes of the file.
                first_fault = first_fault or error.with_traceback(None)
                if num_faults <= MOST_WARNINGS:
                    self.warnings.append(error.message)
                continue
            yield Frame(index, seconds, image, wanted)
            del image  # else it stays in memory until the next one arrives
        if not self._images:
            raise DataError(f"{self.path}: nothing to read in the folder")
        if first_fault is not None and num_faults == num_wanted:
            raise first_fault
        if num_faults > MOST_WARNINGS:
            self.warnings.append(f"{num_faults - MOST_WARNINGS} more images could not be read")


def is_image(path: Path) -> bool:
    """Tell by its name whether a file is an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def are_numbered_frames(names: list[str]) -> bool:
    """Tell whether image names are one prefix and a running number: the frames of one video."""
    stems = [re.fullmatch(r"(.*?)(\d+)", Path(name).stem) for name in names]
    prefixes = {match.group(1) if match else None for match in stems}
    return len(names) >= 2 and len(prefixes) == 1 and None not in prefixes
