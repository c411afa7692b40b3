"""Training augmentation as published for DFER-CLIP: one draw for all frames of a clip."""

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from dfercli.config import AugmentConfig
from dfercli.data.random_operations import (
    MOVES,
    Erased,
    Operation,
    apply_operations,
    draw_erased,
    draw_operations,
)

CROP_TRIES = 10
CROP_ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class AugmentDraw:
    """The changes to every frame of one clip, in this order.

    Attributes:
        brightness: Factor; the result is clipped at white.
        rotation_degrees: Angle about the centre, counter-clockwise; uncovered corners are black.
        crop: top, left, height, width in pixels; this part is resized to the model's size.
        flip: Whether the frames are mirrored.
        nearest: Whether a rotated pixel is the nearest one of the picture, not a mean of four.
        operations: RandAugment's.
        erased: A rectangle to paint over.
    """

    brightness: float
    rotation_degrees: float
    crop: tuple[int, int, int, int]
    flip: bool
    nearest: bool = False
    operations: tuple[Operation, ...] = ()
    erased: Erased | None = None

    def of_drawn_images(self) -> "AugmentDraw":
        """The draw for landmark and parsing images: it moves them but keeps their brightness."""
        moves = tuple(own for own in self.operations if own[0] in MOVES)
        return replace(self, brightness=1.0, operations=moves, erased=None)


def draw_augmentation(
    height: int, width: int, config: AugmentConfig, rng: np.random.Generator
) -> AugmentDraw:
    """Draw the augmentation of one clip whose frames are `height` x `width` pixels."""
    brightness = 1 + config.brightness * rng.uniform(-1, 1)
    rotation_degrees = config.rotation_degrees * rng.uniform(-1, 1)
    crop = _draw_crop(height, width, config.crop_scale, rng)
    down, right = rng.uniform(), rng.uniform()
    if crop is None:  # as published: a square of the short side, anywhere
        side = min(height, width)
        crop = (round(down * (height - side)), round(right * (width - side)), side, side)
    flip = bool(rng.uniform() < config.flip)
    # Drawn last, so a training without them keeps its draws.
    operations: tuple[Operation, ...] = ()
    erased = None
    if config.rand_augment:
        operations = draw_operations(config.rand_augment, config.rand_magnitude, rng)
    if config.erasing and rng.uniform() < config.erasing:
        erased = draw_erased(rng)
    nearest = config.rotation_pixels == "nearest"
    return AugmentDraw(
        brightness, rotation_degrees, crop, flip, nearest, operations=operations, erased=erased
    )


def _draw_crop(
    height: int, width: int, smallest_scale: float, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """Draw a random part of the picture; None if ten tries found none that fits."""
    if smallest_scale >= 1:
        return (0, 0, height, width)
    for _ in range(CROP_TRIES):
        area = height * width * rng.uniform(smallest_scale, 1.0)
        aspect = rng.uniform(*CROP_ASPECT)
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if rng.uniform() < 0.5:
            crop_width, crop_height = crop_height, crop_width
        if crop_width <= width and crop_height <= height:
            top = int(rng.integers(height - crop_height + 1))
            left = int(rng.integers(width - crop_width + 1))
            return (top, left, crop_height, crop_width)
    return None


def augment(frames: Tensor, draw: AugmentDraw, size: int) -> Tensor:
    """Apply one draw to all frames of a clip, on the CPU.

    Args:
        frames: (T, 3, H, W) uint8; fastest if the channels are last in memory.
        draw: The draw.
        size: Side S of the result in pixels.

    Returns:
        (T, 3, S, S) uint8.
    """
    result = np.empty((len(frames), 3, size, size), np.uint8)
    for image, planes in zip(frames.permute(0, 2, 3, 1).numpy(), result, strict=True):
        _augment_image(np.ascontiguousarray(image), draw, size, planes)
    return apply_operations(torch.from_numpy(result), draw.operations, draw.erased)


def _augment_image(
    image: NDArray[Any], draw: AugmentDraw, size: int, planes: NDArray[np.uint8]
) -> None:
    """Augment one picture (H, W, 3) into `planes` (3, S, S).

    A single picture fits the processor's cache; a whole clip does not.
    """
    top, left, height, width = draw.crop
    if not draw.rotation_degrees:
        image = image[top : top + height, left : left + width]
    if draw.brightness != 1:
        brighter = np.minimum(np.arange(256) * draw.brightness, 255).astype(np.uint8)
        image = cv2.LUT(image, brighter)
    if draw.rotation_degrees:
        centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, draw.rotation_degrees, 1)
        matrix[:, 2] -= left, top  # only the part that the crop keeps
        how = cv2.INTER_NEAREST if draw.nearest else cv2.INTER_LINEAR
        image = cv2.warpAffine(image, matrix, (width, height), flags=how)
    if height > size or width > size:
        image = resize(torch.from_numpy(image).permute(2, 0, 1), size).permute(1, 2, 0).numpy()
    else:
        # Equal within one grey level: enlarging needs no antialiasing.
        image = cv2.resize(image, (size, size))
    if draw.flip:
        image = cv2.flip(image, 1)
    cv2.split(image, list(planes))


def resize(frames: Tensor, size: int) -> Tensor:
    """Resize (..., 3, H, W) uint8 frames to (..., 3, size, size), bilinear with antialiasing."""
    if frames.shape[-2:] == (size, size):
        return frames
    resized: Tensor = tvf.resize(frames, [size, size], antialias=True)
    return resized.to(torch.uint8)
