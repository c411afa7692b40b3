"""Adapters in the frozen towers of CLIP, as in AIM.

Yang et al., "AIM: Adapting Image Models for Efficient Video Action Recognition", ICLR 2023,
arXiv 2302.03024. Each block of open_clip or timm is wrapped by an `AdaptedBlock`, which calls the
block's own frozen attention and MLP. The last layer of every adapter starts at zero, so an
adapted tower begins as the frozen one, frame by frame.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from open_clip import CLIP
from open_clip.transformer import ResidualAttentionBlock, Transformer
from timm.layers import DropPath
from torch import Tensor, nn

from dfercli.config import FineCliperConfig
from dfercli.errors import ConfigError
from dfercli.models.vit import attention, first_norm, mlp, second_norm, vit_blocks


class Adapter(nn.Module):
    """A bottleneck D -> ratio D -> D with GELU, whose second layer starts at zero.

    Args:
        width: D.
        ratio: Width of the bottleneck over D.
        skip: Whether the input is added to the output.
    """

    def __init__(self, width: int, ratio: float, *, skip: bool) -> None:
        super().__init__()
        bottleneck = max(1, round(width * ratio))
        self.skip = skip
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt features (..., D) -> (..., D)."""
        adapted: Tensor = self.up(F.gelu(self.down(x)))
        return x + adapted if self.skip else adapted


class AdaptedBlock(nn.Module):
    """The common part of the wrapped blocks of both towers: attention and MLP with adapters.

    Args:
        block: The frozen block, a plain one of open_clip or timm.
        attention_adapter: Whether there is an adapter, with skip, after the attention.
        mlp_adapter: Whether there is an adapter beside or after the MLP.
        config: Ratio, scale and placement.
        drop_path: Probability in training that the MLP adapter is skipped.
    """

    def __init__(
        self,
        block: nn.Module,
        *,
        attention_adapter: bool,
        mlp_adapter: bool,
        config: FineCliperConfig,
        drop_path: float,
    ) -> None:
        super().__init__()
        width = first_norm(block).normalized_shape[0]
        self.block: Any = block
        self.attention_adapter = (
            Adapter(width, config.adapter_ratio, skip=True) if attention_adapter else nn.Identity()
        )
        self.mlp_adapter = Adapter(width, config.adapter_ratio, skip=False) if mlp_adapter else None
        self.mlp_scale = config.adapter_scale
        self.mlp_is_parallel = config.mlp_placement == "parallel"
        self.drop_path = DropPath(drop_path)

    def get_weight_dtype(self) -> torch.dtype:
        """What open_clip's transformer asks its first block for."""
        dtype: torch.dtype = self.block.get_weight_dtype()
        return dtype

    def forward(
        self,
        q_x: Tensor,
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """Apply the block; the arguments are those of open_clip's block.

        Args:
            q_x: (N, S, D) tokens.
            k_x: None, as both towers use only self-attention.
            v_x: None.
            attn_mask: (S, S), in the text encoder.

        Returns:
            (N, S, D).
        """
        return self.adapted_mlp(self.adapted_attention(q_x, attn_mask))

    def attend(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """The block's own attention after its first norm, without the residual."""
        return attention(self.block, first_norm(self.block)(x), attn_mask)

    def adapted_attention(self, x: Tensor, attn_mask: Tensor | None) -> Tensor:
        """X + A(attention(x)), A with skip; (N, S, D) -> (N, S, D)."""
        adapted: Tensor = self.attention_adapter(self.attend(x, attn_mask))
        return x + adapted

    def adapted_mlp(self, x: Tensor) -> Tensor:
        """X + MLP(x) + scale A(x), or A of the MLP's output; (N, S, D) -> (N, S, D)."""
        normed = second_norm(self.block, x)
        out = mlp(self.block, normed)
        if self.mlp_adapter is None:
            return x + out
        adapted = self.mlp_adapter(normed if self.mlp_is_parallel else out)
        kept: Tensor = self.drop_path(self.mlp_scale * adapted)
        return x + out + kept


class AdaptedImageBlock(AdaptedBlock):
    """A block of the image encoder that also attends over time.

    Temporal: the block's own attention over the T frames at each token position, through an
    adapter without skip, added. Spatial: attention, then an adapter with skip. MLP: an adapter in
    parallel.

    Args:
        block: The frozen block, a plain one of open_clip or timm.
        num_frames: T; the batch of images is made of whole clips.
        config: Which adapters, and their shape.
        drop_path: Probability in training that the temporal or the MLP adapter is skipped.
    """

    def __init__(
        self,
        block: nn.Module,
        num_frames: int,
        config: FineCliperConfig,
        drop_path: float,
    ) -> None:
        super().__init__(
            block,
            attention_adapter="spatial" in config.adapters,
            mlp_adapter="mlp" in config.adapters,
            config=config,
            drop_path=drop_path,
        )
        width = first_norm(block).normalized_shape[0]
        self.num_frames = num_frames
        self.temporal_adapter: nn.Module | None = None
        self.temporal_adapter_in: nn.Module = nn.Identity()
        if "temporal" in config.adapters:
            self.temporal_adapter = Adapter(width, config.adapter_ratio, skip=False)
            if config.second_temporal_adapter:
                self.temporal_adapter_in = Adapter(width, config.adapter_ratio, skip=True)

    def adapted_attention(self, x: Tensor, attn_mask: Tensor | None) -> Tensor:
        """Attend over time, then over the tokens of each frame; (B T, S, D) -> (B T, S, D)."""
        if self.temporal_adapter is not None:
            x = x + self.drop_path(self.temporal(x))
        return super().adapted_attention(x, attn_mask)

    def temporal(self, x: Tensor) -> Tensor:
        """What the temporal adapter adds; (B T, S, D) -> (B T, S, D)."""
        assert self.temporal_adapter is not None
        tokens = x.shape[1]
        over_time = rearrange(x, "(b t) s d -> (b s) t d", t=self.num_frames)
        normed = self.temporal_adapter_in(first_norm(self.block)(over_time))
        attended = attention(self.block, normed)
        adapted: Tensor = self.temporal_adapter(attended)
        return rearrange(adapted, "(b s) t d -> (b t) s d", s=tokens)


def adapt_image_encoder(clip: CLIP, num_frames: int, config: FineCliperConfig) -> None:
    """Wrap the blocks of CLIP's image encoder in place; freeze it before.

    Raises:
        ConfigError: the image encoder is not a ViT of open_clip's plain blocks.
    """
    blocks = vit_blocks(clip, "adapters")
    rates = _drop_path_rates(len(blocks), config)
    for index in _adapted_blocks(len(blocks), config):
        blocks[index] = AdaptedImageBlock(blocks[index], num_frames, config, rates[index])


def adapt_text_encoder(clip: CLIP, config: FineCliperConfig) -> None:
    """Wrap the blocks of CLIP's text encoder in place; freeze it before.

    Raises:
        ConfigError: the text encoder is not made of open_clip's plain blocks.
    """
    if not config.text_adapters:
        return
    transformer = clip.transformer
    layers = len(transformer.resblocks)
    rates = _drop_path_rates(layers, config)
    for index in _adapted_blocks(layers, config):
        transformer.resblocks[index] = AdaptedBlock(
            _plain_block(transformer, index),
            attention_adapter="attention" in config.text_adapters,
            mlp_adapter="mlp" in config.text_adapters,
            config=config,
            drop_path=rates[index],
        )


def _adapted_blocks(layers: int, config: FineCliperConfig) -> range:
    return range(max(0, layers - config.adapted_blocks) if config.adapted_blocks else 0, layers)


def _drop_path_rates(layers: int, config: FineCliperConfig) -> list[float]:
    return [config.drop_path * index / max(1, layers - 1) for index in range(layers)]


def _plain_block(transformer: Transformer, index: int) -> ResidualAttentionBlock:
    block = transformer.resblocks[index]
    if not isinstance(block, ResidualAttentionBlock) or not transformer.batch_first:
        raise ConfigError(
            f"adapters wrap open_clip's plain residual blocks, this CLIP has {type(block).__name__}"
        )
    return block
