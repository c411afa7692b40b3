"""The last block of a ViT computes only the class token if no other token is read."""

from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn


class ClassTokenBlock(ResidualAttentionBlock):  # type: ignore[misc]  # open_clip has no types
    """The last block of an image encoder of which only the class token is read.

    That token is the same up to rounding. The others are only keys and values in it: of a
    ViT-B's 12 blocks three quarters of one are not computed.
    """

    def forward(
        self,
        q_x: Tensor,
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """Apply the block; (N, S, D) tokens, the class token first -> (N, 1, D)."""
        normed = self.ln_1(q_x)
        first = normed[:, :1]
        attended = self.attention(q_x=first, k_x=normed, v_x=normed, attn_mask=attn_mask)
        x = q_x[:, :1] + self.ls_1(attended)
        out: Tensor = x + self.ls_2(self.mlp(self.ln_2(x)))
        return out


def read_class_token_alone(visual: nn.Module) -> None:
    """Let the last block of a ViT compute only the class token if no other token is read."""
    if (
        isinstance(visual, VisionTransformer)
        and visual.pool_type == "tok"
        and visual.attn_pool is None
        and not visual.output_tokens
        and type(visual.transformer.resblocks[-1]) is ResidualAttentionBlock
    ):
        _become(visual, ResidualAttentionBlock, ClassTokenBlock)


def read_all_tokens(visual: nn.Module) -> None:
    """Undo `read_class_token_alone`."""
    if isinstance(visual, VisionTransformer):
        _become(visual, ClassTokenBlock, ResidualAttentionBlock)


def _become(visual: VisionTransformer, old: type[nn.Module], new: type[nn.Module]) -> None:
    """Make the last block, if it is of one kind, one of another kind with the same weights."""
    blocks = visual.transformer.resblocks
    if type(blocks[-1]) is old:
        block = new.__new__(new)
        block.__dict__ = blocks[-1].__dict__
        blocks[-1] = block
