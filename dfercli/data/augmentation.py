"""Training augmentation as published for DFER-CLIP: one draw for all frames of a clip."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from dfercli.config import AugmentConfig

CROP_TRIES = 10
CROP_ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class AugmentDraw:
    """What happens to every frame of one clip.

    Attributes:
        brightness: Factor.
        rotation_degrees: Angle, counter-clockwise.
        crop: top, left, height, width in pixels; None where ten tries found none that fits.
        corner: Position in 0..1 (down, right) of the square crop that is taken instead.
        flip: Whether the frames are mirrored.
    """

    brightness: float
    rotation_degrees: float
    crop: tuple[int, int, int, int] | None
    corner: tuple[float, float]
    flip: bool


def draw_augmentation(
    height: int, width: int, config: AugmentConfig, rng: np.random.Generator
) -> AugmentDraw:
    """Draw the augmentation of one clip whose frames are `height` x `width` pixels."""
    return AugmentDraw(
        brightness=1 + config.brightness * rng.uniform(-1, 1),
        rotation_degrees=config.rotation_degrees * rng.uniform(-1, 1),
        crop=_draw_crop(height, width, config.crop_scale, rng),
        corner=(rng.uniform(), rng.uniform()),
        flip=bool(rng.uniform() < config.flip),
    )


def _draw_crop(
    height: int, width: int, smallest_scale: float, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
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
    """Apply one draw to all frames of a clip.

    Args:
        frames: (T, 3, H, W) uint8.
        draw: What to do.
        size: Side of the result in pixels.

    Returns:
        (T, 3, size, size) uint8.
    """
    if draw.brightness != 1:
        frames = tvf.adjust_brightness(frames, draw.brightness)
    if draw.rotation_degrees:
        frames = tvf.rotate(frames, draw.rotation_degrees)
    if draw.crop is None:
        frames = tvf.resize(frames, [size], antialias=True)  # short side
        down, right = (
            round(share * (side - size))
            for share, side in zip(draw.corner, frames.shape[-2:], strict=True)
        )
        frames = tvf.crop(frames, down, right, size, size)
    else:
        frames = tvf.resized_crop(frames, *draw.crop, size=[size, size], antialias=True)
    return frames.flip(-1) if draw.flip else frames


def resize(frames: Tensor, size: int) -> Tensor:
    """Resize (T, 3, H, W) uint8 frames to (T, 3, size, size), bilinear with antialiasing."""
    if frames.shape[-2:] == (size, size):
        return frames
    return tvf.resize(frames, [size, size], antialias=True).to(torch.uint8)
