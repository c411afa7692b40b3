"""Pixel values as a model wants them. Normalisation is part of the model, resizing is not."""

from typing import Literal

import torch
from open_clip.constants import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    OPENAI_DATASET_MEAN,
    OPENAI_DATASET_STD,
)
from torch import Tensor, nn

Normalization = Literal["none", "clip", "imagenet"]
MEAN_AND_STD = {
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "clip": (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
}


class PixelNormalization(nn.Module):
    """uint8 or float [0, 1] frames -> float frames as the image encoder takes them.

    Args:
        kind: `none` leaves [0, 1] as it is, which is what DFER-CLIP's published runs do; `clip`
            and `imagenet` subtract a mean and divide by a standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: Normalization) -> None:
        super().__init__()
        self.kind = kind
        mean, std = MEAN_AND_STD[kind]
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Normalise frames (..., 3, H, W); uint8 in 0..255 or float in [0, 1]."""
        if frames.dtype == torch.uint8:
            frames = frames.to(self.mean.dtype) / 255
        if self.kind == "none":
            return frames
        return (frames - self.mean) / self.std
