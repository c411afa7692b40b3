"""Count the CLIP tokens of a text."""

from collections.abc import Callable
from functools import cache

CLIP_TOKENS = 77
"""Length of CLIP's text input, start and end tokens included."""


@cache
def token_counter() -> Callable[[str], int]:
    """Return a function that counts the CLIP tokens of a text, without start and end token.

    Loads open_clip and its vocabulary (seconds) at the first call.
    """
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    return lambda text: len(tokenizer.encode(text))


def text_limit(context_tokens: int) -> int:
    """Tokens left for a text besides start, end and `context_tokens` learned tokens."""
    return CLIP_TOKENS - 2 - context_tokens
