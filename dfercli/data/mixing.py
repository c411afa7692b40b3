"""Mixup and CutMix of the clips of a batch.

Mixup: Zhang et al., ICLR 2018, arXiv 1710.09412; CutMix: Yun et al., ICCV 2019, arXiv 1905.04899.
One draw for a batch, as in timm: all frames of a clip are mixed with those of its partner in the
same way, and its target becomes soft (see `targets.py`). The partner is half a batch away. So the
pairs are the same in any number of processes that divides half the batch.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dfercli.config import AugmentConfig
from dfercli.data.batches import Batch, StreamValues

MIX_DRAW = 0x313  # to differ from the draws of a clip


@dataclass(frozen=True)
class MixDraw:
    """How the clips of one batch are mixed.

    Attributes:
        own: Share of a clip itself; the rest is its partner's.
        box: For CutMix the part that is the partner's: top, bottom, left, right, as shares.
    """

    own: float
    box: tuple[float, float, float, float] | None = None


def draw_mix(config: AugmentConfig, seed: int, step: int) -> MixDraw | None:
    """Draw how the batch of a step is mixed, the same in all processes; None where it is not."""
    if not config.mixup and not config.cutmix:
        return None
    rng = np.random.default_rng([seed, step, MIX_DRAW])
    cuts = bool(config.cutmix) and (not config.mixup or rng.uniform() < 0.5)
    alpha = config.cutmix if cuts else config.mixup
    own = float(rng.beta(alpha, alpha))
    if not cuts:
        return MixDraw(own)
    half = math.sqrt(1 - own) / 2
    down, right = rng.uniform(size=2).tolist()
    box = tuple(
        min(max(centre + side, 0.0), 1.0) for centre in (down, right) for side in (-half, half)
    )
    return MixDraw(own, (box[0], box[1], box[2], box[3]))


def mix_clips(batch: Batch, draw: MixDraw | None, num_classes: int) -> Batch:
    """Mix each clip with its partner.

    A landmark or parsing image is mixed like the frames, where both clips have one. A caption is
    that of the clip with the greater share.

    Args:
        batch: With frames (B, T, 3, S, S) uint8, on any device.
        draw: How; None leaves the batch as it is.
        num_classes: K.

    Returns:
        The batch, with labels (B, K) float32.
    """
    if draw is None:
        return batch
    size = batch.frames.shape[-1] if isinstance(batch.frames, Tensor) else 0
    pixels = None if draw.box is None else [round(share * size) for share in draw.box]
    own = draw.own
    if pixels is not None:  # what the rounded box leaves
        top, bottom, left, right = pixels
        own = 1 - (bottom - top) * (right - left) / size**2
    labels = batch.labels
    if labels.ndim == 1:
        labels = F.one_hot(labels, num_classes).float()
    streams = {
        name: _mixed_caption(values, own)
        if name == "captions"
        else (_mixed(values[0], own, pixels), values[1] & _partner(values[1]))
        for name, values in batch.streams.items()
    }
    return replace(
        batch,
        frames=_mixed(batch.frames, own, pixels),
        labels=own * labels + (1 - own) * _partner(labels),
        streams=streams,
    )


def _partner(values: Tensor) -> Tensor:
    return values.roll(len(values) // 2, dims=0)


def _mixed(images: object, own: float, pixels: list[int] | None) -> Tensor:
    assert isinstance(images, Tensor), "raw clips are augmented before they are mixed"
    assert images.dtype == torch.uint8
    if pixels is not None:
        top, bottom, left, right = pixels
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = _partner(images)[..., top:bottom, left:right]
        return mixed
    mixed = torch.empty_like(images)
    partner = _partner(images)
    for clip, other, place in zip(images, partner, mixed, strict=True):  # bounds the memory
        place.copy_(torch.lerp(other.float(), clip.float(), own).round_())
    return mixed


def _mixed_caption(values: StreamValues, own: float) -> StreamValues:
    tokens, present = values
    assert isinstance(tokens, Tensor)
    return values if own >= 0.5 else (_partner(tokens), _partner(present))
