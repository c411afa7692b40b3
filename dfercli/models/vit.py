"""The blocks of a plain vision transformer, whichever library it comes from.

open_clip's own `VisionTransformer` (ViT-B/32 to L/14 and larger) and timm's, which open_clip wraps
(SigLIP). Both are a row of blocks `x + attention(norm(x))`, `x + mlp(norm(x))`; only names differ.
"""

from dataclasses import dataclass
from typing import Any

from open_clip import CLIP
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.models.vision_transformer import Attention
from timm.models.vision_transformer import Block as TimmBlock
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn

from dfercli.errors import ConfigError

HINT = "for example ViT-B-16-quickgelu/openai, or tiny-vit/random as a toy"


@dataclass(frozen=True)
class WeightPlace:
    """Where a weight of a block stands.

    Attributes:
        part: The module that holds it.
        name: Its attribute there.
    """

    part: Any
    name: str


@dataclass(frozen=True)
class BlockWeights:
    """The matrices of one block.

    Attributes:
        qkv: Queries, keys and values in one, (3 D, D).
        out: The output of the attention, (D, D).
        mlp: Both layers of the MLP.
    """

    qkv: WeightPlace
    out: WeightPlace
    mlp: tuple[WeightPlace, WeightPlace]


Blocks = nn.ModuleList | nn.Sequential


def vit_blocks(clip: CLIP, what: str) -> Blocks:
    """The blocks of CLIP's image encoder, in order, where they stand: one may be replaced.

    Args:
        clip: The backbone.
        what: What needs them, for the message.

    Raises:
        ConfigError: it is no plain vision transformer.
    """
    visual = clip.visual
    blocks: Blocks
    if isinstance(visual, VisionTransformer):
        blocks, kind = visual.transformer.resblocks, ResidualAttentionBlock
    elif isinstance(visual, TimmModel) and isinstance(visual.trunk, TimmVisionTransformer):
        blocks, kind = visual.trunk.blocks, TimmBlock
    else:
        found = visual.trunk if isinstance(visual, TimmModel) else visual
        raise ConfigError(
            f"{what} need a vision transformer, this CLIP has a {type(found).__name__}", hint=HINT
        )
    for block in blocks:
        plain = type(block) is kind
        if not plain or (kind is TimmBlock and type(block.attn) is not Attention):
            strange = block.attn if plain else block
            raise ConfigError(
                f"{what} need plain transformer blocks, this CLIP has {type(strange).__name__}",
                hint=HINT,
            )
    return blocks


def first_norm(block: nn.Module) -> nn.LayerNorm:
    """The norm in front of a plain block's attention."""
    norm = block.ln_1 if isinstance(block, ResidualAttentionBlock) else block.norm1
    assert isinstance(norm, nn.LayerNorm)
    return norm


def attention(block: Any, normed: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """A plain block's attention of tokens (N, S, D), scaled, without norm and residual."""
    if isinstance(block, ResidualAttentionBlock):
        attended: Tensor = block.ls_1(block.attention(q_x=normed, attn_mask=attn_mask))
    else:
        attended = block.ls1(block.attn(normed, attn_mask=attn_mask))
    return attended


def second_norm(block: Any, x: Tensor) -> Tensor:
    """The norm in front of a plain block's MLP, of tokens (N, S, D)."""
    is_own = isinstance(block, ResidualAttentionBlock)
    normed: Tensor = block.ln_2(x) if is_own else block.norm2(x)
    return normed


def mlp(block: Any, normed: Tensor) -> Tensor:
    """A plain block's MLP of tokens (N, S, D), scaled, without norm and residual."""
    is_own = isinstance(block, ResidualAttentionBlock)
    out: Tensor = (block.ls_2 if is_own else block.ls2)(block.mlp(normed))
    return out


def weights_of(block: nn.Module) -> BlockWeights:
    """Where the matrices of a plain block stand."""
    if isinstance(block, ResidualAttentionBlock):
        return BlockWeights(
            WeightPlace(block.attn, "in_proj_weight"),
            WeightPlace(block.attn.out_proj, "weight"),
            (WeightPlace(block.mlp.c_fc, "weight"), WeightPlace(block.mlp.c_proj, "weight")),
        )
    assert isinstance(block, TimmBlock)
    return BlockWeights(
        WeightPlace(block.attn.qkv, "weight"),
        WeightPlace(block.attn.proj, "weight"),
        (WeightPlace(block.mlp.fc1, "weight"), WeightPlace(block.mlp.fc2, "weight")),
    )


def leave_projection_out(clip: CLIP) -> int:
    """Make CLIP's image encoder give what it has before the projection; returns its width.

    Of a SigLIP, which has no projection, that is what it gives anyway.
    """
    visual = clip.visual
    if isinstance(visual, VisionTransformer):
        width = int(visual.proj.shape[0])
        visual.proj = None
        return width
    trunk = visual.trunk
    visual.head = nn.Sequential()
    if isinstance(trunk.head, nn.Linear):
        trunk.head = nn.Identity()
    return int(trunk.num_features)
