"""CLIP's text tower in pieces: tokens, embeddings of tokens, features."""

from collections.abc import Sequence
from functools import cache

import open_clip
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from dfercli.errors import ConfigError

CLIP_VOCABULARY = 49_408


def require_clip_texts(model: open_clip.CLIP) -> None:
    """Refuse a backbone whose texts are not CLIP tokens, read at their end.

    Raises:
        ConfigError: a SigLIP or another one with its own tokenizer.
    """
    if model.text_pool_type != "argmax" or model.vocab_size != CLIP_VOCABULARY:
        raise ConfigError(
            f"class texts need CLIP's tokens: this backbone has a vocabulary of "
            f"{model.vocab_size:,} (CLIP's is {CLIP_VOCABULARY:,}) and reads a text at its "
            f"{model.text_pool_type!r} token",
            hint="without class texts it can be used: --method clip-lora",
        )


def text_parameters(model: open_clip.CLIP) -> list[nn.Parameter]:
    """All parameters of the text tower, its embeddings and projection included."""
    modules = [model.token_embedding, model.transformer, model.ln_final]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    parameters.append(model.positional_embedding)
    projection = model.text_projection
    parameters += (
        list(projection.parameters()) if isinstance(projection, nn.Module) else [projection]
    )
    return parameters


@cache
def _tokenizer() -> SimpleTokenizer:
    """CLIP's tokenizer; making it reads 262,000 lines, which costs more than all class texts."""
    return SimpleTokenizer()


def tokenize(texts: Sequence[str], context_length: int) -> Tensor:
    """Tokenise texts as CLIP does: SOT, tokens, EOT, zeros.

    Returns:
        (len(texts), context_length) int64. The EOT id is the largest: its position is the argmax.

    Raises:
        ConfigError: a text is longer than the context; it is named with its length.
    """
    tokenizer = _tokenizer()
    for text in texts:
        length = len(tokenizer.encode(text)) + 2
        if length > context_length:
            raise ConfigError(
                f"text of {length} tokens, CLIP takes {context_length} "
                f"(start, end and context tokens included): {text!r}",
                hint="shorten it, or use fewer context tokens",
            )
    tokens: Tensor = tokenizer(list(texts), context_length)
    return tokens


def tokenize_captions(texts: Sequence[str], context_length: int) -> Tensor:
    """Tokenise texts of any length, truncated to the context, EOT kept.

    Returns:
        (len(texts), L) int64, L the length of the longest.
    """
    tokens: Tensor = _tokenizer()(list(texts), context_length)
    return tokens[:, : int(tokens.argmax(dim=-1).max()) + 1]


def decode_tokens(rows: list[list[int]]) -> list[str]:
    """The texts of CLIP tokens (without SOT and EOT), spaced as people write where that is safe."""
    tokenizer = _tokenizer()
    texts = []
    for tokens in rows:
        spaced = tokenizer.decode(tokens).strip()
        text = spaced
        for mark in (*",.;:!?", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"):
            text = text.replace(f" {mark}", mark)
        texts.append(text if tokenizer.encode(text) == tokens else spaced)
    return texts


def encode_token_embeddings(
    model: open_clip.CLIP, embeddings: Tensor, eot: Tensor, *, length: int | None = None
) -> Tensor:
    """Run CLIP's text transformer on token embeddings and read the feature at EOT.

    The attention is causal, so tokens after EOT have no effect; they are cut off.

    Args:
        model: The backbone.
        embeddings: (K, L, W) token embeddings without positions, W the text width.
        eot: (K,) int64, position of EOT in each row.
        length: Positions to run; None for those up to the last EOT.

    Returns:
        (K, D) text features, not normalised.
    """
    length = int(eot.max()) + 1 if length is None else length
    dtype = model.transformer.get_cast_dtype()
    x = embeddings[:, :length].to(dtype)
    x = x + model.positional_embedding[:length].to(dtype)
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)  # (K, length, W)
    x = x[torch.arange(x.shape[0], device=x.device), eot]  # (K, W)
    project = model.text_projection
    features: Tensor = project(x) if isinstance(project, nn.Linear) else x @ project  # (K, D)
    return features


def encode_texts(model: open_clip.CLIP, texts: list[str]) -> Tensor:
    """Encode plain texts without context tokens.

    Returns:
        (len(texts), D) float32 features of unit length.
    """
    require_clip_texts(model)
    device = model.positional_embedding.device
    tokens = tokenize(texts, model.context_length).to(device)
    features = encode_token_embeddings(model, model.token_embedding(tokens), tokens.argmax(-1))
    return F.normalize(features.float(), dim=-1)
