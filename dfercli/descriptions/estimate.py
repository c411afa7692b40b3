"""Estimate the requests and tokens of a run before anything is sent."""

import math
from dataclasses import dataclass

LETTERS_PER_TOKEN = 4
TOKENS_PER_IMAGE = 85
TOKENS_PER_TILE = 170
"""OpenAI's count for an image in high detail: a base, and a number per tile of 512 px."""


@dataclass(frozen=True)
class Estimate:
    """The estimated requests of a run.

    Attributes:
        prompts: The rendered LLM prompts, one of each kind.
        requests: Requests, at most, when every answer can be used.
        tokens: Tokens of all these requests, without the answers; a rough estimate.
    """

    prompts: tuple[str, ...]
    requests: int
    tokens: int


def estimate_tokens(prompt: str, image_sizes_px: tuple[tuple[int, int], ...] = ()) -> int:
    """Estimate the tokens of a prompt and of its images, given as (height, width)."""
    tiles = sum(
        math.ceil(height / 512) * math.ceil(width / 512) for height, width in image_sizes_px
    )
    text = math.ceil(len(prompt) / LETTERS_PER_TOKEN)
    return text + TOKENS_PER_IMAGE * len(image_sizes_px) + TOKENS_PER_TILE * tiles
