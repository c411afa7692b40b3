"""Learned context tokens around each class text (DFER-CLIP, section 3.3; after CoOp)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor, nn

from dfercli.models.clip_text import encode_token_embeddings, tokenize

ClassPosition = Literal["end", "middle", "front"]


class ContextTokens(nn.Module):
    """N learned vectors that stand before, around or behind each class text.

    The text is tokenised as N placeholders `X`, a space and the class text. Placeholders are
    replaced by the learned vectors; SOT, class text and EOT keep CLIP's frozen token embeddings.

    Args:
        clip: The backbone, for the text width and the context length.
        class_texts: K texts in label order.
        num_tokens: N.
        class_specific: Own vectors per class (K, N, W), else shared ones (N, W).
        class_position: Where the class text stands: `end` (SOT, context, text, EOT), `middle`
            (half of the context on each side) or `front` (SOT, text, context, EOT).

    Attributes:
        length: Positions up to the last EOT; on the host, since reading it from the device would
            wait.

    Raises:
        ConfigError: a class text is too long for CLIP's context together with N tokens.
    """

    tokens: Tensor
    slot: Tensor
    eot: Tensor

    def __init__(
        self,
        clip: CLIP,
        class_texts: Sequence[str],
        num_tokens: int,
        *,
        class_specific: bool,
        class_position: ClassPosition,
    ) -> None:
        super().__init__()
        text_width = clip.token_embedding.embedding_dim
        groups = (len(class_texts),) if class_specific and num_tokens else ()
        vectors = torch.empty(*groups, num_tokens, text_width).normal_(std=0.02)
        self.vectors = nn.Parameter(vectors, requires_grad=num_tokens > 0)
        placeholders = "X " * num_tokens
        tokens = tokenize([placeholders + text for text in class_texts], clip.context_length)
        eot = tokens.argmax(dim=-1)  # (K,)
        self.length = int(eot.max()) + 1
        tokens, slot = _arrange(tokens, eot, num_tokens, class_position)
        self.register_buffer("tokens", tokens, persistent=False)  # (K, L)
        self.register_buffer("slot", slot, persistent=False)  # (K, L), -1 where a token stands
        self.register_buffer("eot", eot, persistent=False)

    def forward(self, token_embedding: nn.Embedding) -> Tensor:
        """Return the embeddings of the whole prompts.

        Args:
            token_embedding: CLIP's frozen token embedding.

        Returns:
            (K, L, W), without positions.
        """
        embeddings: Tensor = token_embedding(self.tokens)  # (K, L, W)
        if not self.vectors.numel():
            return embeddings
        vectors = self.vectors.expand(self.tokens.shape[0], -1, -1)  # (K, N, W)
        index = self.slot.clamp(min=0).unsqueeze(-1).expand(-1, -1, vectors.shape[-1])
        learned = vectors.gather(1, index)  # (K, L, W)
        return torch.where((self.slot >= 0).unsqueeze(-1), learned, embeddings)

    def encode(self, clip: CLIP) -> Tensor:
        """Encode the prompts by CLIP's text tower, (K, D) float32 of unit length."""
        prompts = self(clip.token_embedding)  # (K, L, W)
        features = encode_token_embeddings(clip, prompts, self.eot, length=self.length)
        return F.normalize(features.float(), dim=-1)


def _arrange(
    tokens: Tensor, eot: Tensor, num_tokens: int, class_position: ClassPosition
) -> tuple[Tensor, Tensor]:
    """Move the class text to its position.

    Args:
        tokens: (K, L) as tokenised: SOT, N placeholders, class text, EOT, zeros.
        eot: (K,) position of EOT.
        num_tokens: N.
        class_position: Where the class text shall stand.

    Returns:
        tokens (K, L) in their new order, and for each the index of the context vector that
        replaces it (K, L), -1 where the token itself stays.
    """
    before = {"end": num_tokens, "middle": num_tokens // 2, "front": 0}[class_position]
    source = torch.arange(tokens.shape[1]).repeat(tokens.shape[0], 1)  # (K, L)
    for k, end in enumerate(eot.tolist()):
        context = torch.arange(1, 1 + num_tokens)
        class_text = torch.arange(1 + num_tokens, end)
        source[k, 1:end] = torch.cat([context[:before], class_text, context[before:]])
    is_context = (source >= 1) & (source <= num_tokens)
    return tokens.gather(1, source), torch.where(is_context, source - 1, -1)
