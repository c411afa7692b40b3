"""Optional parts of a face store: landmarks of each crop, and the facial region of each pixel.

`landmarks/<clip_id>.npz` holds `landmarks_px` (n, 68, 2), or (n, 5, 2) of the weak stand-in,
float32 in pixels of the crops, a row per crop in order of time, NaN where none were found.
`parsing/<clip_id>/000000.png` holds uint8 indices into `REGIONS`, found by a network;
`regions/<clip_id>/000000.png` the same, drawn from the 68 landmarks. Maps are named and sized as
the crops.
"""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.arrays import ArraySpec, read_arrays
from dfercli.artifacts.atomic import atomic_folder, atomic_path
from dfercli.artifacts.pictures import decode_picture
from dfercli.documents import require_regular
from dfercli.errors import ArtifactError, DataError
from dfercli.names import inside

LANDMARK_ARRAYS = {"landmarks_px": ArraySpec(np.float32, (None, 2))}
NUMBERS_OF_LANDMARKS = (68, 5)

REGIONS = (
    "background",
    "skin",
    "brows",
    "eyes",
    "nose",
    "upper_lip",
    "mouth",
    "lower_lip",
    "hair",
    "ears",
    "neck",
    "clothes",
    "glasses",
    "hat",
)
"""Meaning of the values of a parsing map: the classes of CelebAMask-HQ, left and right as one."""


def landmarks_path(store: Path, clip_id: str) -> Path:
    """The file of a clip's landmarks."""
    return inside(store, "landmarks", f"{clip_id}.npz")


def maps_folder(store: Path, stream: str, clip_id: str) -> Path:
    """The folder of a clip's maps of `parsing` or `regions`."""
    return inside(store, stream, clip_id)


def stream_place(store: Path, stream: str, clip_id: str) -> Path:
    """The file or folder of a clip's landmarks, parsing maps or regions."""
    if stream == "landmarks":
        return landmarks_path(store, clip_id)
    return maps_folder(store, stream, clip_id)


def read_landmarks(store: Path, clip_id: str) -> NDArray[np.float32]:
    """Read a clip's landmarks, (n, 68, 2) or (n, 5, 2) float32 in pixels of the crops.

    Returns:
        NaN where none were found.

    Raises:
        ArtifactError: the file is missing or broken.
    """
    path = landmarks_path(store, clip_id)
    points = read_arrays(path, LANDMARK_ARRAYS)["landmarks_px"].astype(np.float32, copy=False)
    if points.shape[1] not in NUMBERS_OF_LANDMARKS:
        raise ArtifactError(f"{path}: expected 68 or 5 landmarks a crop, got {points.shape[1]}")
    return points


def read_parsing(path: Path) -> NDArray[np.uint8]:
    """Read one parsing map, (H, W) uint8 indices into `REGIONS`.

    Raises:
        DataError: missing, not a picture of one channel, or a value that is not a region.
    """
    try:
        content = require_regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read parsing map {path}: {error.strerror or error}") from error
    regions = decode_picture(content, path, cv2.IMREAD_UNCHANGED)
    if regions is None or regions.ndim != 2 or regions.dtype != np.uint8:
        raise DataError(f"not a parsing map of one 8-bit channel: {path}")
    if regions.max(initial=0) >= len(REGIONS):
        raise DataError(f"{path}: value {regions.max()} is not a region (0 to {len(REGIONS) - 1})")
    return regions.astype(np.uint8, copy=False)


def write_landmarks(store: Path, clip_id: str, landmarks_px: NDArray[np.floating]) -> None:
    """Write a clip's landmarks (n, 68 or 5, 2) in pixels of the crops atomically."""
    with atomic_path(landmarks_path(store, clip_id)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, landmarks_px=landmarks_px.astype(np.float32))


def write_maps(
    store: Path, stream: str, clip_id: str, maps: Iterable[tuple[str, NDArray[np.uint8]]]
) -> None:
    """Write a clip's maps atomically.

    Args:
        store: The face store.
        stream: `parsing` or `regions`.
        clip_id: The clip.
        maps: Of each crop, in order of time: its name without suffix, and (H, W) uint8 indices
            into `REGIONS`; taken one by one.

    Raises:
        ArtifactError: the system refused the write.
    """
    with atomic_folder(maps_folder(store, stream, clip_id)) as temporary:
        for name, regions in maps:
            _, png = cv2.imencode(".png", regions)
            (temporary / f"{name}.png").write_bytes(png.tobytes())
