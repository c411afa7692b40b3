"""Read the model card of anything that predicts, without building the model."""

from pathlib import Path

from dfercli.artifacts import model_card
from dfercli.artifacts.exported_files import is_exported, is_torchscript, torchscript_card
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.config import ModelConfig
from dfercli.inference.exported import load_exported
from dfercli.inference.restore import restore_model, texts_of_method
from dfercli.labels import SEVEN
from dfercli.models.build import build_model
from dfercli.models.clip_backbone import build_clip, clip_architecture, require_clip
from dfercli.models.cost import ModelCost, cost_of


def read_model_card(path: Path) -> tuple[Path, ModelCard]:
    """Find a checkpoint and read its card.

    Args:
        path: A run, a fold, a checkpoint folder, a published .pth or an exported file.

    Returns:
        The checkpoint, and its card.

    Raises:
        ArtifactError: missing or broken.
    """
    if is_exported(path):
        is_code = is_torchscript(path)
        return path, torchscript_card(path) if is_code else load_exported(path, "cpu")[1]
    if path.is_file():
        return path, restore_model(path).card
    checkpoint = find_checkpoint(path)
    return checkpoint, model_card.read_model_card(checkpoint)


def run(config: ModelConfig, label_set: tuple[str, ...] = SEVEN) -> ModelCost:
    """Count the cost of a method without loading weights.

    Raises:
        ConfigError: an unknown CLIP, or one that the method cannot use.
    """
    require_clip(config.clip, config.clip_weights)
    positive, negative = texts_of_method(config, label_set)
    name = config.clip.rpartition("/")[0] or config.clip
    clip = build_clip(clip_architecture(name), draw=False)
    return cost_of(build_model(clip, [*positive, *negative], config))
