"""The temporal encoder of DFER-CLIP (Zhao & Patras, BMVC 2023, section 3.2)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class TemporalAttention(nn.Module):
    """Multi-head self-attention over frames: fused qkv without bias, output with bias."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.to_out = nn.Linear(heads * head_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; (B, S, D) -> (B, S, D)."""
        q, k, v = rearrange(self.to_qkv(x), "b s (qkv h d) -> qkv b h s d", qkv=3, h=self.heads)
        x = F.scaled_dot_product_attention(q, k, v)  # (B, h, S, d)
        mixed: Tensor = self.to_out(rearrange(x, "b h s d -> b s (h d)"))
        return mixed


class TemporalBlock(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, width: int, heads: int, head_width: int, mlp_width: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = TemporalAttention(width, heads, head_width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, mlp_width)
        self.mlp_out = nn.Linear(mlp_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; (B, S, D) -> (B, S, D)."""
        x = x + self.attention(self.attention_norm(x))
        hidden = F.gelu(self.mlp_in(self.mlp_norm(x)), approximate="tanh")
        out: Tensor = x + self.mlp_out(hidden)
        return out


class TemporalEncoder(nn.Module):
    """Frame features -> one video feature, by a transformer with a class token.

    As published: class token and learned positions drawn from N(0, 1), pre-norm blocks, no norm
    at the end, no dropout. With no layers it is the mean over frames, the paper's baseline.

    Args:
        width: D, the width of the frame features.
        num_frames: T.
        layers: Number of blocks; 0 means mean pooling.
        heads: Attention heads.
        head_width: Width of one head.
        mlp_width: Hidden width of the MLP.
    """

    def __init__(
        self,
        width: int,
        num_frames: int,
        layers: int = 1,
        heads: int = 8,
        head_width: int = 64,
        mlp_width: int = 1024,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TemporalBlock(width, heads, head_width, mlp_width) for _ in range(layers)
        )
        if layers:
            self.class_token = nn.Parameter(torch.randn(1, 1, width))
            self.position = nn.Parameter(torch.randn(1, num_frames + 1, width))

    def forward(self, frame_features: Tensor) -> Tensor:
        """Summarise a clip.

        Args:
            frame_features: (B, T, D).

        Returns:
            (B, D) video features, not normalised.
        """
        if not len(self.blocks):
            return frame_features.mean(dim=1)
        batch = frame_features.shape[0]
        class_token = self.class_token.expand(batch, -1, -1)  # (B, 1, D)
        x = torch.cat([class_token, frame_features], dim=1)  # (B, T + 1, D)
        x = x + self.position[:, : x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return x[:, 0]
