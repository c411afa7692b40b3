"""A checkpoint of the tiny CLIP with random weights, for tests of the steps after training."""

from dataclasses import replace
from pathlib import Path

from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.config import ModelConfig
from dfercli.inference.restore import new_model

LABELS = ("happiness", "sadness", "neutral")


def write_toy_checkpoint(folder: Path, *, num_frames: int = 4, **card_entries) -> Path:
    """Write a checkpoint; `card_entries` go into its model.json."""
    config = ModelConfig(clip="tiny/random", num_frames=num_frames)
    model = new_model(config, LABELS, seed=3)
    card = replace(model.card, **card_entries)
    save_checkpoint(folder, model.module.state_dict(), card.to_json())
    return folder
