"""The further views of a clip beside its frames: images of landmarks and parts, captions.

Landmark images are black. The regions inside the 68 points of iBUG 300-W are filled, then the lines
between neighbouring points are drawn over them:

    face (jaw and brows)  60 60 60     jaw line       200 200 200
    eyes                   0 90 200    eye outlines     0 200 255
    lips                 170  0  70    lip outlines   255  90 160
    mouth opening         90  0 130    brows          255 220   0
    nose                   0 110  60   nose lines       0 255 120

Of five points, the weak stand-in, the eyes and the nose are discs and the mouth is a line.

Images of parsing maps and of regions have the colours of `PARSING_RGB`. Left and right parts have
the same colours, so a mirrored image is the image of the mirrored face.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfercli.artifacts.face_parts import (
    REGIONS,
    landmarks_path,
    maps_folder,
    read_landmarks,
    read_parsing,
    stream_place,
)
from dfercli.data.clips import Clip
from dfercli.data.frames import list_frames
from dfercli.errors import DataError

Rgb = tuple[int, int, int]

JAW, LEFT_BROW, RIGHT_BROW = range(17), range(17, 22), range(22, 27)
NOSE_BRIDGE, NOSE_BASE = range(27, 31), range(31, 36)
LEFT_EYE, RIGHT_EYE = range(36, 42), range(42, 48)
OUTER_LIPS, INNER_LIPS = range(48, 60), range(60, 68)

FILLED: tuple[tuple[Sequence[int], Rgb], ...] = (
    ([*JAW, *reversed(RIGHT_BROW), *reversed(LEFT_BROW)], (60, 60, 60)),
    ([27, *NOSE_BASE], (0, 110, 60)),
    (LEFT_EYE, (0, 90, 200)),
    (RIGHT_EYE, (0, 90, 200)),
    (OUTER_LIPS, (170, 0, 70)),
    (INNER_LIPS, (90, 0, 130)),
)
LINES: tuple[tuple[Sequence[int], bool, Rgb], ...] = (
    (JAW, False, (200, 200, 200)),
    (LEFT_BROW, False, (255, 220, 0)),
    (RIGHT_BROW, False, (255, 220, 0)),
    (NOSE_BRIDGE, False, (0, 255, 120)),
    (NOSE_BASE, False, (0, 255, 120)),
    (LEFT_EYE, True, (0, 200, 255)),
    (RIGHT_EYE, True, (0, 200, 255)),
    (OUTER_LIPS, True, (255, 90, 160)),
    (INNER_LIPS, True, (255, 90, 160)),
)
"""Points, whether the line is closed, colour."""

PARSING_RGB: dict[str, Rgb] = {
    "background": (0, 0, 0),
    "skin": (204, 160, 130),
    "brows": (255, 220, 0),
    "eyes": (0, 160, 255),
    "nose": (0, 200, 110),
    "upper_lip": (255, 60, 120),
    "mouth": (90, 0, 130),
    "lower_lip": (190, 0, 80),
    "hair": (90, 60, 30),
    "ears": (230, 120, 60),
    "neck": (150, 110, 90),
    "clothes": (70, 90, 120),
    "glasses": (200, 255, 255),
    "hat": (120, 20, 20),
}

SUBPIXEL_BITS = 4
LINE_SHARE = 1 / 112  # width of a line by the side of the picture
DISC_SHARE = 1 / 28  # radius of a disc of one of five points


def draw_landmarks(points: NDArray[np.floating], height: int, width: int) -> NDArray[np.uint8]:
    """Draw the 68 points of one face as regions and lines, or five as discs and a line.

    Args:
        points: (68, 2) or (5, 2) in pixels; NaN where none were found, which gives a black picture.
        height: Of the picture.
        width: Of the picture.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    image = np.zeros((height, width, 3), np.uint8)
    if not np.isfinite(points).all():
        return image
    fixed = np.rint(points * (1 << SUBPIXEL_BITS)).astype(np.int32)
    thickness = max(1, round(min(height, width) * LINE_SHARE))
    if len(points) == 5:
        _draw_five(image, fixed, thickness)
        return image
    for part, colour in FILLED:
        cv2.fillPoly(image, [fixed[list(part)]], colour, cv2.LINE_AA, SUBPIXEL_BITS)
    for part, closed, colour in LINES:
        curve = [fixed[list(part)]]
        cv2.polylines(image, curve, closed, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return image


def _draw_five(image: NDArray[np.uint8], fixed: NDArray[np.int32], thickness: int) -> None:
    """Draw both eyes, the nose and the corners of the mouth, given in parts of a pixel."""
    height, width = image.shape[:2]
    radius = round(min(height, width) * DISC_SHARE * (1 << SUBPIXEL_BITS))
    mouth = [fixed[3:5]]
    cv2.polylines(image, mouth, False, (255, 90, 160), 2 * thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    colours = ((0, 200, 255), (0, 200, 255), (0, 255, 120), (255, 90, 160), (255, 90, 160))
    for (x, y), colour in zip(fixed.tolist(), colours, strict=True):
        cv2.circle(image, (x, y), radius, colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)


def colour_parsing(regions: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give each region its colour; (..., H, W) indices -> (..., H, W, 3) uint8 RGB."""
    palette = np.array([PARSING_RGB[name] for name in REGIONS], np.uint8)
    return palette[regions]


@dataclass(frozen=True)
class StreamReader:
    """Where the further views of clips are read from.

    Attributes:
        names: Which of `landmarks`, `parsing`, `regions` and `captions` are wanted.
        folder: Folder with `landmarks/`, `parsing/` and `regions/`; None for each clip's own face
            store.
        captions: Clip -> tokens (L,) int64 of its caption, all of one length.
    """

    names: tuple[str, ...] = ()
    folder: Path | None = None
    captions: Mapping[str, Tensor] = field(default_factory=dict)

    def has(self, name: str, clip: Clip) -> bool:
        """Whether a clip has a stream; only the place is looked at, no file is opened."""
        if name == "captions":
            return clip.clip_id in self.captions
        folder = self.folder or clip.store
        if folder is None:
            return False
        return stream_place(folder, name, clip.clip_id).exists()

    def missing(self, clips: Sequence[Clip]) -> dict[str, int]:
        """How many of some clips lack each stream."""
        return {name: sum(not self.has(name, clip) for clip in clips) for name in self.names}

    @property
    def no_tokens(self) -> Tensor:
        """Tokens (L,) in the place of a caption that is missing."""
        length = len(next(iter(self.captions.values()), (0,)))
        return torch.zeros(length, dtype=torch.int64)

    def tokens(self, clip: Clip) -> Tensor | None:
        """The tokens (L,) of a clip's caption, None where it has none."""
        return self.captions.get(clip.clip_id)

    def images(
        self,
        name: str,
        clip: Clip,
        paths: Sequence[Path],
        chosen: Sequence[int],
        size: Sequence[int],
    ) -> Tensor | None:
        """Read or draw the images of one stream of a clip.

        Args:
            name: `landmarks`, `parsing` or `regions`.
            clip: The clip.
            paths: Its n frames.
            chosen: Indices (T,) of the frames that are looked at.
            size: (H, W) of the frames.

        Returns:
            (T, 3, H, W) uint8; None where the clip lacks the stream.

        Raises:
            DataError: files that are broken or do not fit the frames.
        """
        if not self.has(name, clip):
            return None
        folder = self.folder or clip.store
        assert folder is not None
        if name == "landmarks":
            drawn = _landmark_images(folder, clip, len(paths), chosen, size)
        else:
            drawn = _map_images(folder, name, clip, paths, chosen, size)
        return None if drawn is None else torch.from_numpy(drawn).permute(0, 3, 1, 2)


def _landmark_images(
    folder: Path, clip: Clip, num_frames: int, chosen: Sequence[int], size: Sequence[int]
) -> NDArray[np.uint8] | None:
    points = read_landmarks(folder, clip.clip_id)
    if len(points) != num_frames:
        raise DataError(
            f"{landmarks_path(folder, clip.clip_id)} is of {len(points)} frames, "
            f"the clip has {num_frames}",
            hint="run `dfer preprocess` again with --overwrite",
        )
    return landmark_images(points[list(chosen)], size)


def _map_images(
    folder: Path,
    stream: str,
    clip: Clip,
    paths: Sequence[Path],
    chosen: Sequence[int],
    size: Sequence[int],
) -> NDArray[np.uint8] | None:
    place = maps_folder(folder, stream, clip.clip_id)
    masks = {path.stem: path for path in list_frames(place)}
    maps = []
    for index in chosen:
        path = masks.get(paths[index].stem)
        if path is None:
            raise DataError(f"clip {clip.clip_id}: no map of frame {paths[index].name} in {place}")
        regions = read_parsing(path)
        if regions.shape != tuple(size):
            raise DataError(f"{path}: expected {size[0]} x {size[1]} pixels, got {regions.shape}")
        maps.append(regions)
    return map_images(stream, np.stack(maps))


def landmark_images(points: NDArray[np.floating], size: Sequence[int]) -> NDArray[np.uint8] | None:
    """Draw the landmarks of a clip's frames.

    Args:
        points: (T, 68 or 5, 2) in pixels; NaN where none were found.
        size: (H, W) of the pictures.

    Returns:
        (T, H, W, 3) uint8 RGB; None where no frame has landmarks.
    """
    if not np.isfinite(points).all(axis=(1, 2)).any():
        return None
    return np.stack([draw_landmarks(frame, size[0], size[1]) for frame in points])


def map_images(stream: str, maps: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Colour the maps of a clip's frames, (T, H, W) indices -> (T, H, W, 3) uint8 RGB.

    Returns:
        None for regions of landmarks that no frame has.
    """
    return None if stream == "regions" and not maps.any() else colour_parsing(maps)
