"""Captions as tokens for a model, without the words that name a class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dfercli.descriptions.leaks import LeakGuard, path_pattern, word_pattern
from dfercli.errors import DataError
from dfercli.models.clip_text import tokenize_captions


def caption_tokens(
    captions: Any, label_set: Sequence[str], context_length: int
) -> tuple[Tensor, Tensor]:
    """Tokenise the captions of clips; words that name a class are masked, as in training.

    Args:
        captions: B texts; None for a clip without one.
        label_set: Class names.
        context_length: Of the model's text encoder.

    Returns:
        (B, L) int64 tokens, zeros for a clip without one; and (B,) bool, which clips have one.

    Raises:
        DataError: something other than texts.
    """
    if isinstance(captions, str | Tensor) or not all(
        one is None or isinstance(one, str) for one in captions
    ):
        raise DataError("captions: expected a sequence of texts, with None where there is none")
    present = torch.tensor([one is not None for one in captions], dtype=torch.bool)
    guard = LeakGuard(word_pattern(label_set), path_pattern([]))
    texts = [guard.mask(one)[0] for one in captions if one is not None]
    if not texts:
        return torch.zeros(len(present), 1, dtype=torch.int64), present
    rows = tokenize_captions(texts, context_length)
    tokens = torch.zeros(len(present), rows.shape[1], dtype=torch.int64)
    tokens[present] = rows
    return tokens, present
