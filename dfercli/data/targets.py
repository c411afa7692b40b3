"""What a clip is to be recognised as: one class, or a share of each (a soft target).

A soft target enters by `Clip.soft_label`, shares by class name, and is trained on alone: clips that
choose a checkpoint or are measured on are judged by their one `label`, and those without one are
not among them. From there on a target is what `torch.nn.functional.cross_entropy` takes: class
indices (B,) int64, or shares of the classes (B, K) float32. `dfercli.models.losses` says what
either costs.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dfercli.data.clips import Clip, label_index
from dfercli.errors import DataError

SUM_TOLERANCE = 1e-4


def soft_targets(clips: Sequence[Clip], label_set: Sequence[str]) -> Tensor | None:
    """The shares of all classes in each clip, (N, K) float32; None where no clip has soft ones.

    Raises:
        DataError: shares that are no shares, or of unknown classes; the clip is named.
    """
    if not any(clip.soft_label for clip in clips):
        return None
    targets = torch.zeros(len(clips), len(label_set))
    for row, clip in zip(targets, clips, strict=True):
        if not clip.soft_label:
            row[label_index(clip, label_set)] = 1.0
            continue
        for name, share in _checked_shares(clip, label_set):
            row[list(label_set).index(name)] = share
    return targets


def _checked_shares(clip: Clip, label_set: Sequence[str]) -> Sequence[tuple[str, float]]:
    shares = clip.soft_label
    unknown = [name for name in shares if name not in label_set]
    if unknown:
        raise DataError(
            f"clip {clip.clip_id} has a share of {unknown[0]!r}, "
            f"which is not in the label set ({', '.join(label_set)})"
        )
    total = math.fsum(shares.values())
    if not all(share >= 0 for share in shares.values()) or not abs(total - 1) < SUM_TOLERANCE:
        raise DataError(
            f"clip {clip.clip_id}: expected shares of classes of at least 0 that add up to 1, "
            f"got {dict(shares)}"
        )
    return list(shares.items())


def recognised(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether each clip's prediction is its class, or one of those with the greatest share.

    Args:
        logits: (B, K).
        targets: (B,) class indices, or (B, K) shares.

    Returns:
        (B,) bool.
    """
    predicted = logits.argmax(-1)
    if targets.ndim == 1:
        return predicted == targets
    return targets.gather(1, predicted[:, None]).squeeze(1) == targets.amax(-1)
