"""Weights for the published implementation without a file: a closed formula of their names."""

import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfercli.models.clip_text import tokenize

GOLDEN = Path(__file__).parent / "golden"
CONTEXT_TOKENS = 8
TEXTS = (
    "bright eyes, lifted cheeks, and lips pulled up at both corners.",
    "heavy eyelids, lip corners pulled down, and inner brows raised.",
    "a calm face with a closed relaxed mouth and level brows.",
    "brows pressed low and together, hard eyes, and a tight jaw.",
    "brows high, eyes wide open, and a dropped jaw.",
    "a wrinkled nose, a raised upper lip, and squinting eyes.",
    "brows raised and drawn together, tense eyelids, and stretched lips.",
)
NORMS = (".ln_", "ln_pre", "ln_post", "ln_final", ".norm.")


def weight_by_formula(name: str, shape: tuple[int, ...]) -> Tensor:
    """A weight by its published name, float32: noise from a sine, scaled by the fan-in."""
    if name.endswith("logit_scale"):
        return torch.tensor(2.659)
    index = np.arange(math.prod(shape), dtype=np.float64)
    noise = np.sin(12.9898 * index + zlib.crc32(name.encode()) % 1000) * 43758.5453
    noise = 2 * (noise - np.floor(noise)) - 1
    is_scale = name.endswith(".weight") and any(part in name for part in NORMS)
    fan = math.prod(shape[1:]) if len(shape) == 4 else shape[-1]
    spread = 0.1 if len(shape) == 1 else math.sqrt(3 / fan)
    values = (1.0 if is_scale else 0.0) + spread * noise
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def weights_by_formula(kind: str) -> dict[str, Tensor]:
    """All weights of a published checkpoint; context tokens are `specific` to a class or not."""
    weights = {}
    for line in (GOLDEN / "formula-names.txt").read_text().splitlines():
        name, *shape = line.split()
        sizes = tuple(int(size) for size in shape)
        if name == "prompt_learner.ctx" and kind == "generic":
            sizes = sizes[1:]
        weights[name] = weight_by_formula(name, sizes)
    tokens = formula_tokens()
    embedded = weights["clip_model_.token_embedding.weight"][tokens]  # (K, L, W)
    weights["prompt_learner.token_prefix"] = embedded[:, :1]
    weights["prompt_learner.token_suffix"] = embedded[:, 1 + CONTEXT_TOKENS :]
    return weights


def formula_tokens() -> Tensor:
    """The class texts after placeholders for the context tokens, (7, 77)."""
    return tokenize(["X " * CONTEXT_TOKENS + text for text in TEXTS], 77)
