"""A model that is ready to answer: frames in, logits and calibrated probabilities out."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.config import Precision
from dfercli.errors import DataError
from dfercli.stages.exported import is_exported, load_exported
from dfercli.stages.inference import make_fabric, softmax
from dfercli.stages.models_on_disk import RestoredModel, restore_model


class LoadedModel:
    """A recogniser of expressions, on its device.

    Args:
        forward: Frames (B, T, 3, S, S), uint8 or float in [0, 1], to logits (B, K).
        card: What the model says about itself.
        name: Where it came from, in words.

    Attributes:
        card: What the model says about itself.
        name: Where it came from, in words.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], card: ModelCard, name: str) -> None:
        self._forward = forward
        self.card = card
        self.name = name

    @property
    def label_set(self) -> tuple[str, ...]:
        """The K class names, in the order of the outputs."""
        return self.card.label_set

    @property
    def num_frames(self) -> int:
        """T, frames per clip."""
        return int(self.card.sampling["num_frames"])

    @property
    def image_size(self) -> int:
        """S, the side of a frame in pixels."""
        return self.card.image_size

    @property
    def min_confidence(self) -> float:
        """Below it a prediction is uncertain, as chosen after training; 0 where nothing was."""
        return float(self.card.calibration.get("min_confidence", 0.0))

    def logits(self, frames: Tensor) -> Tensor:
        """Compare clips with classes.

        Args:
            frames: (B, T, 3, S, S), float in [0, 1] or uint8, RGB, on any device.

        Returns:
            (B, K) float32 on the CPU.

        Raises:
            DataError: frames of another shape or kind.
        """
        expected = (self.num_frames, 3, self.image_size, self.image_size)
        if frames.ndim != 5 or tuple(frames.shape[1:]) != expected:
            raise DataError(
                f"frames: expected shape (B, {', '.join(map(str, expected))}), "
                f"got {tuple(frames.shape)}"
            )
        if frames.dtype != torch.uint8 and not frames.is_floating_point():
            raise DataError(f"frames: expected uint8 or float in [0, 1], got {frames.dtype}")
        if frames.shape[0] == 0:
            return torch.zeros(0, len(self.label_set))
        with torch.inference_mode():
            logits = self._forward(frames).float().cpu()
        return logits.clone()  # an inference tensor could not be used in training outside

    def probabilities(self, frames: Tensor) -> NDArray[np.float64]:
        """Calibrated probabilities (B, K) of clips as `logits` takes them; rows sum to 1."""
        return softmax(self.logits(frames).numpy(), self.card.calibration["temperature"])


ModelT = TypeVar("ModelT", bound=LoadedModel)


def ready(
    model: RestoredModel,
    name: str,
    kind: type[ModelT],
    *,
    device: str = "auto",
    precision: Precision = "auto",
) -> ModelT:
    """Put a model on its device.

    Raises:
        ConfigError: the device or the precision is not to be had.
    """
    fabric = make_fabric(device, 1, precision)
    module = fabric.setup_module(model.module.eval())

    def forward(frames: Tensor) -> Tensor:
        return module(frames.to(fabric.device, non_blocking=True))

    return kind(forward, model.card, name)


def load_checkpoint(
    path: Path,
    kind: type[ModelT],
    *,
    device: str = "auto",
    precision: Precision = "auto",
    clip_weights: Path | None = None,
) -> ModelT:
    """Load a run, a fold, a checkpoint folder, a published .pth or an exported file.

    Args:
        path: Where it is.
        kind: `LoadedModel`, or a class made of it.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: Of an exported file always 32 bits.
        clip_weights: File of the CLIP that the model was trained on, where the checkpoint leaves
            it out.

    Raises:
        ArtifactError: missing, cut short, corrupt or incompatible.
        ConfigError: the device or the precision is not to be had.
    """
    if is_exported(path):
        forward, card = load_exported(path, device)
        return kind(forward, card, str(path))
    checkpoint = path if path.is_file() else find_checkpoint(path)
    model = restore_model(checkpoint, clip_weights=clip_weights)
    return ready(model, str(checkpoint), kind, device=device, precision=precision)
