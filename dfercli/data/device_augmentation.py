"""Training augmentation of a whole batch on the device that trains.

The pictures equal those of `dfercli.data.augmentation` within one or two grey levels. Crop,
flip and resize are one linear map of rows and one of columns, and so two matrix products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dfercli.data.augmentation import AugmentDraw
from dfercli.data.random_operations import apply_operations

CLIPS_AT_ONCE = 16
"""Bounds the memory: a clip of 16 frames of 224 px takes 30 MB for each step in float32."""


@dataclass(frozen=True)
class RawClip:
    """The decoded frames of one clip, and how to augment them.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        draw: The draw of the clip.
        image_size: Side S that the frames are resized to.
    """

    frames: Tensor
    draw: AugmentDraw
    image_size: int


@dataclass(frozen=True)
class RawClips:
    """The raw clips of a batch, of any sizes, in one piece of memory for one transfer.

    Attributes:
        pixels: Of all clips one after the other, (N,) uint8.
        shapes: (T, H, W, 3) of each clip.
        draws: The draw of each clip.
        image_size: Side S that the frames are resized to.
    """

    pixels: Tensor
    shapes: tuple[torch.Size, ...]
    draws: tuple[AugmentDraw, ...]
    image_size: int

    @classmethod
    def of(cls, clips: Sequence[RawClip]) -> "RawClips":
        """Join the clips of a batch."""
        return cls(
            torch.from_numpy(np.concatenate([clip.frames.numpy().ravel() for clip in clips])),
            tuple(clip.frames.shape for clip in clips),
            tuple(clip.draw for clip in clips),
            clips[0].image_size,
        )

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, part: slice) -> "RawClips":
        sizes = [shape.numel() for shape in self.shapes]
        first, last, _ = part.indices(len(self))
        pixels = self.pixels[sum(sizes[:first]) : sum(sizes[:last])]
        return RawClips(pixels, self.shapes[part], self.draws[part], self.image_size)

    def pin_memory(self) -> "RawClips":
        """Copy to page-locked memory."""
        pixels = self.pixels.pin_memory()
        return RawClips(pixels, self.shapes, self.draws, self.image_size)

    def augmented(self, device: torch.device) -> Tensor:
        """Move to a device and augment there; (B, T, 3, S, S) uint8."""
        pixels = self.pixels.to(device, non_blocking=True)
        clips = [
            piece.view(shape)
            for piece, shape in zip(
                pixels.split([shape.numel() for shape in self.shapes]), self.shapes, strict=True
            )
        ]
        size = self.image_size
        result = pixels.new_empty(len(self), self.shapes[0][0], 3, size, size)
        for shape in dict.fromkeys(self.shapes):
            alike = [number for number, own in enumerate(self.shapes) if own == shape]
            for start in range(0, len(alike), CLIPS_AT_ONCE):
                some = alike[start : start + CLIPS_AT_ONCE]
                frames = torch.stack([clips[number] for number in some])
                augmented = augment_clips(frames, [self.draws[n] for n in some], size)
                for number, own in zip(some, augmented, strict=True):
                    result[number] = own
        return result


def augment_clips(
    frames: Tensor, draws: Sequence[AugmentDraw], size: int, dtype: torch.dtype | None = None
) -> Tensor:
    """Apply to each clip its draw, on the device where the frames are.

    Args:
        frames: (B, T, H, W, 3) uint8.
        draws: The draw of each clip.
        size: Side S of the result in pixels.
        dtype: In which the pictures are resized; by default float16 on CUDA, which holds 0 to 255
            to an eighth, and float32 elsewhere.

    Returns:
        (B, T, 3, S, S) uint8.
    """
    if dtype is None:
        dtype = torch.float16 if frames.device.type == "cuda" else torch.float32
    b, t, height, width, _ = frames.shape

    def values(of_each: Sequence[Any]) -> Tensor:
        return torch.tensor(of_each, dtype=torch.float32).to(frames.device, non_blocking=True)

    moved = frames.permute(0, 2, 1, 4, 3).float()  # (B, H, T, 3, W)
    if any(draw.brightness != 1 for draw in draws):
        factor = values([draw.brightness for draw in draws]).view(b, 1, 1, 1, 1)
        moved = (moved * factor).clamp_(max=255).floor_()
    if any(draw.rotation_degrees for draw in draws):
        degrees = values([draw.rotation_degrees for draw in draws])
        moved = _rotate(moved, degrees, nearest=draws[0].nearest)
    tops, lefts, heights, widths = values([draw.crop for draw in draws]).T
    flips = values([draw.flip for draw in draws]).bool()
    rows = _weights(tops, heights, torch.zeros_like(flips), height, size).to(dtype)  # (B, S, H)
    columns = _weights(lefts, widths, flips, width, size).to(dtype)  # (B, S, W)
    moved = moved.to(dtype).reshape(b, height * t * 3, width)
    moved = moved @ columns.transpose(1, 2)  # (B, H T 3, S)
    moved = rows @ moved.view(b, height, t * 3 * size)  # (B, S, T 3 S)
    moved = moved.round_().clamp_(0, 255).to(torch.uint8)
    pictures = moved.view(b, size, t, 3, size).permute(0, 2, 3, 1, 4).contiguous()
    for clip, draw in zip(pictures, draws, strict=True):
        if draw.operations or draw.erased:
            clip.copy_(apply_operations(clip, draw.operations, draw.erased))
    return pictures


def _rotate(frames: Tensor, degrees: Tensor, *, nearest: bool) -> Tensor:
    """Rotate (B, H, T, 3, W) counter-clockwise about the centre, black outside."""
    b, height, t, _, width = frames.shape
    cosine, sine = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    zero = torch.zeros_like(degrees)
    # Where in the source a pixel comes from; both axes run from -1 to 1, whatever the shape.
    source = torch.stack(
        [cosine, -sine * height / width, zero, sine * width / height, cosine, zero]
    )
    pictures = frames.permute(0, 2, 3, 1, 4).reshape(b, t * 3, height, width)
    grid = functional.affine_grid(source.T.view(b, 2, 3), list(pictures.shape), align_corners=False)
    mode = "nearest" if nearest else "bilinear"
    rotated = functional.grid_sample(pictures, grid, mode=mode, align_corners=False)
    return rotated.view(b, t, 3, height, width).permute(0, 3, 1, 2, 4)


def _weights(start: Tensor, length: Tensor, flip: Tensor, source: int, size: int) -> Tensor:
    """How much each source pixel counts in each target pixel, along one side.

    Bilinear; where it shrinks, each target pixel averages over all that fall into it. Pixels
    outside the crop do not count.

    Args:
        start: First pixel of the crop, (B,).
        length: Pixels of the crop, (B,).
        flip: Whether the target is mirrored, (B,) bool.
        source: Pixels of the source.
        size: Pixels S of the target.

    Returns:
        (B, S, source) float32; each row sums to one.
    """
    scale = (length / size)[:, None, None]
    pixels = torch.arange(source, device=start.device) + 0.5 - start[:, None]  # (B, source)
    targets = torch.arange(size, device=start.device) + 0.5
    targets = torch.where(flip[:, None], size - targets, targets)  # (B, S)
    distance = (pixels[:, None, :] - targets[:, :, None] * scale).abs() / scale.clamp(min=1)
    inside = (pixels > 0) & (pixels < length[:, None])
    weights = (1 - distance).clamp(min=0) * inside[:, None, :]
    return weights / weights.sum(dim=-1, keepdim=True)
