"""Fuse the streams of a clip into one feature, by softmax weights over those present."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class StreamFusion(nn.Module):
    """A weighted mean over the streams that a clip has.

    Args:
        streams: Names of the M streams.
        learned: Whether the weights are learned; else all present streams count equally.
        dropout: Probability in training that a stream of a clip is left out; one always stays.
    """

    def __init__(self, streams: Sequence[str], *, learned: bool, dropout: float) -> None:
        super().__init__()
        self.streams = tuple(streams)
        self.dropout = dropout
        can_learn = learned and len(self.streams) > 1
        self.weight_logits = nn.Parameter(torch.zeros(len(streams)), requires_grad=can_learn)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Fuse the streams of each clip.

        Args:
            features: (B, M, D).
            present: (B, M) bool, False where a clip lacks a stream.

        Returns:
            (B, D); zero for a clip that has no stream at all.
        """
        if self.training and self.dropout:
            kept = present & (torch.rand(present.shape, device=present.device) >= self.dropout)
            present = torch.where(kept.any(dim=1, keepdim=True), kept, present)
        weights = self.weights(present).unsqueeze(-1) * present.unsqueeze(-1)
        return (weights * features).sum(dim=1)

    def weights(self, present: Tensor) -> Tensor:
        """The weight of each stream, (B, M) float32: rows sum to 1 over what is present."""
        lowest = torch.finfo(self.weight_logits.dtype).min
        logits = self.weight_logits.expand(present.shape).masked_fill(~present, lowest)
        return logits.softmax(dim=1)
