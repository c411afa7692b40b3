"""Checkpoints: a folder with `model.safetensors` and `model.json`, training state beside them.

`model.json` says how to build the model and what it was selected on; `model.safetensors`
holds its weights. Neither can run code when it is read.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dfercli.artifacts.atomic import atomic_folder
from dfercli.artifacts.model_card import CARD_NAME, MODEL_SCHEMA, WEIGHTS_NAME
from dfercli.artifacts.torch_files import load_torch, save_torch
from dfercli.documents import dump_json
from dfercli.errors import ArtifactError, UnwritableError

TRAINING_STATE_NAME = "training_state.pt"


def save_checkpoint(
    folder: Path,
    weights: dict[str, Tensor],
    card: dict[str, Any],
    training_state: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint atomically.

    Args:
        folder: Where; replaced if it exists.
        weights: Name -> tensor.
        card: What goes into model.json, without its schema.
        training_state: What a resumed run needs: tensors, numbers and containers of them.

    Raises:
        ArtifactError: the system refused the write (disk full, …).
    """
    with atomic_folder(folder) as temporary:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        try:
            save_file(plain, temporary / WEIGHTS_NAME)
            (temporary / WEIGHTS_NAME).chmod(0o644)  # safetensors lets only the owner read
        except SafetensorError as error:  # it wraps the system's error (disk full)
            raise UnwritableError(f"cannot write checkpoint {folder}: {error}") from error
        if training_state is not None:
            save_torch(training_state, temporary / TRAINING_STATE_NAME)
        text = dump_json({"schema": MODEL_SCHEMA, **card}, indent=2)
        (temporary / CARD_NAME).write_text(text + "\n", encoding="utf-8")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read model.safetensors into memory of its own.

    Raises:
        ArtifactError: missing, cut short or corrupt.
    """
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise ArtifactError(f"no such file: {path}")
    try:
        return load_file(path, backend="pread")  # half of the time of copies from a mapped file
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"checkpoint is cut short or corrupt: {path}: {error}") from error


def read_training_state(folder: Path) -> dict[str, Any]:
    """Read the training state beside a checkpoint, without executing anything in it.

    Raises:
        ArtifactError: missing, cut short, corrupt, or built to run code.
    """
    path = folder / TRAINING_STATE_NAME
    if not path.is_file():
        raise ArtifactError(f"no training state to resume from: {path}")
    state = load_torch(path)
    if not isinstance(state, dict):
        raise ArtifactError(f"training state is not a table: {path}")
    return state
