"""The frames of a clip on disk: which files they are, and in which order."""

import os
import re
from pathlib import Path

from dfercli.errors import DataError

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `2.jpg` before `10.jpg`, padded or not."""
    return tuple(
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    )


def is_video_file(path: Path) -> bool:
    """Tell by its suffix whether `path` names a video file."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_frame_name(name: str) -> bool:
    """Tell by its name whether a file is a frame; hidden files (macOS leaves `._1.jpg`) are not."""
    return name.lower().endswith(FRAME_SUFFIXES) and not name.startswith(".")


def list_frames(location: Path) -> list[Path]:
    """The frames of a clip in order of time, whether their numbers are padded or not.

    Args:
        location: The folder of the clip; other files in it are ignored.

    Raises:
        DataError: the folder is missing or holds no frame; the clip is named.
    """
    return [location / name for name in sorted(frame_names(location), key=natural_key)]


def frame_names(location: Path) -> list[str]:
    """The names of the frames in the folder of a clip, in no order.

    Raises:
        DataError: the folder is missing or holds no frame; the clip is named.
    """
    try:
        with os.scandir(location) as entries:
            names = [entry.name for entry in entries if is_frame_name(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"clip {location.name}: no folder of frames at {location}",
            hint="see what else is missing with: dfer data check",
        ) from None
    except OSError as error:
        raise DataError(
            f"clip {location.name}: cannot read {location}: {error.strerror}"
        ) from error
    if not names:
        raise DataError(
            f"clip {location.name}: no frame in {location} "
            f"(expected {', '.join(suffix[1:] for suffix in FRAME_SUFFIXES)})",
            hint="see what else is missing with: dfer data check",
        )
    return names
