"""The reference of `dfer bench`: the arithmetic of the published code of DFER-CLIP.

A stand-in, written from scratch: float32 throughout, the class texts encoded in full length in
every forward pass, frames read and augmented one by one with PIL, plain SGD. It is used for
comparison only.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from open_clip.transformer import QuickGELU as OpenClipQuickGelu
from PIL import Image, ImageEnhance
from torch import Tensor, nn

from dfercli.data.augmentation import AugmentDraw
from dfercli.models.class_token import read_all_tokens
from dfercli.models.clip_backbone import QuickGelu, replace_activations
from dfercli.models.clip_text import encode_token_embeddings
from dfercli.models.dfer_clip import TEMPERATURE, DferClip


class PublishedDferClip(nn.Module):
    """DFER-CLIP as published, on the weights of one of our models.

    Args:
        model: Its modules are used, not copied, and get back open_clip's activations and blocks.
    """

    def __init__(self, model: DferClip) -> None:
        super().__init__()
        self.clip = model.clip
        replace_activations(self.clip, QuickGelu, OpenClipQuickGelu)
        read_all_tokens(self.clip.visual)
        self.temporal = model.temporal
        self.context = model.context

    def forward(self, frames: Tensor) -> Tensor:
        """Compare clips with classes: (B, T, 3, H, W) float32 in [0, 1] -> (B, K) logits."""
        images = rearrange(frames, "b t c h w -> (b t) c h w")
        features = rearrange(self.clip.visual(images), "(b t) d -> b t d", b=frames.shape[0])
        video = F.normalize(self.temporal(features), dim=-1)  # (B, D)
        prompts = self.context(self.clip.token_embedding)  # (K, L, W)
        texts = encode_token_embeddings(
            self.clip, prompts, self.context.eot, length=prompts.shape[1]
        )
        return video @ F.normalize(texts, dim=-1).T / TEMPERATURE


def published_frames(paths: Sequence[Path], draw: AugmentDraw, size: int) -> Tensor:
    """Read and augment the frames of a clip as published, frame by frame.

    Args:
        paths: The sampled frames.
        draw: What happens to all of them; with a crop.
        size: Side of the result in pixels.

    Returns:
        (T, 3, size, size) float32 in [0, 1].
    """
    assert draw.crop is not None
    top, left, height, width = draw.crop
    images = [Image.open(path).convert("RGB") for path in paths]
    if draw.brightness != 1:
        images = [ImageEnhance.Brightness(image).enhance(draw.brightness) for image in images]
    if draw.rotation_degrees:
        images = [image.rotate(draw.rotation_degrees) for image in images]
    images = [image.crop((left, top, left + width, top + height)) for image in images]
    images = [image.resize((size, size), Image.Resampling.BILINEAR) for image in images]
    if draw.flip:
        images = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    stacked = np.concatenate([np.array(image) for image in images], axis=2)  # (S, S, 3 T)
    planes = torch.from_numpy(stacked).permute(2, 0, 1).contiguous().float().div(255)
    return planes.reshape(-1, 3, size, size)
