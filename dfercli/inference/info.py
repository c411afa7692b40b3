"""Read the model card of anything that predicts, without building the model."""

from pathlib import Path

from dfercli.artifacts import model_card
from dfercli.artifacts.exported_files import is_exported, is_torchscript, torchscript_card
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.inference.light_imports import import_models


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
        if is_torchscript(path):
            return path, torchscript_card(path)
        from dfercli.inference.exported import load_exported  # imports PyTorch

        return path, load_exported(path, "cpu")[1]
    if path.is_file():
        import_models()
        from dfercli.inference.restore import restore_model

        return path, restore_model(path).card
    checkpoint = find_checkpoint(path)
    return checkpoint, model_card.read_model_card(checkpoint)
