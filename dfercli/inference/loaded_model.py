"""A model ready for inference: frames in, logits and calibrated probabilities out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dfercli.artifacts.exported_files import is_exported
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.config import AnswerPrecision
from dfercli.errors import DataError
from dfercli.inference.arithmetic import as_asked
from dfercli.inference.devices import (
    is_large,
    keep_encoder_in_bfloat16,
    precision_for_answers,
    resolve_device,
    rounds_weights,
)
from dfercli.inference.eight_bits import encode_in_int8
from dfercli.inference.exported import load_exported
from dfercli.inference.probabilities import softmax
from dfercli.inference.restore import RestoredModel, restore_model
from dfercli.models.method import FRAMES

Compute = Callable[[Tensor], Tensor]


class LoadedModel:
    """A model of expressions, on its device.

    Args:
        forward: Frames (B, T, 3, S, S), uint8 or float in [0, 1], to logits (B, K).
        card: What the model says about itself.
        name: Where it came from, as text.
        encode: Where the model encodes each frame alone: frames (N, 3, S, S) to their features
            (N, D), which `forward` takes as (B, T, D) in place of frames.
        precision: That it computes in.
        encoder: The part that takes the time, where it may be compiled.

    Attributes:
        card: What the model says about itself.
        name: Where it came from, as text.
        precision: That it computes in, as `bf16-mixed`.
        encoder: The image encoder, where it is on a CPU, large, and may be compiled.
    """

    def __init__(
        self,
        forward: Compute,
        card: ModelCard,
        name: str,
        encode: Compute | None = None,
        precision: str = "32",
        encoder: nn.Module | None = None,
    ) -> None:
        self._forward = forward
        self._encode = encode
        self.card = card.looking_at((FRAMES,))  # further streams are not given here
        self.name = name
        self.precision = precision
        self.encoder = encoder

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
    def shares_frames(self) -> bool:
        """Whether a frame that several clips hold is encoded once."""
        return self._encode is not None

    def logits(self, frames: Tensor) -> Tensor:
        """Logits (B, K), float32 on the CPU, of clips; see `dfercli.Recognizer.logits`."""
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
        return logits.clone()  # so that callers may train on it, unlike on an inference tensor

    def probabilities(self, frames: Tensor) -> NDArray[np.float64]:
        """Calibrated probabilities (B, K) of clips as `logits` takes them; rows sum to 1."""
        return self._calibrated(self.logits(frames))

    def probabilities_of_clips(
        self, frames: Tensor, clips: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Calibrated probabilities of clips that share frames; rows sum to 1.

        A model that encodes each frame alone encodes each one once.

        Args:
            frames: (N, 3, S, S), as the frames of `logits`.
            clips: (B, T), the numbers of the frames of each clip.

        Returns:
            (B, K).
        """
        if self._encode is None:
            return self.probabilities(frames[clips])
        return self.probabilities_of_features(self.encode_frames(frames)[clips])

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Encode each frame alone, where the model does; (N, 3, S, S) -> (N, D)."""
        if self._encode is None:
            raise TypeError(f"{self.name} encodes no frame alone")
        with torch.inference_mode():
            return self._encode(frames)

    def probabilities_of_features(self, features: Tensor) -> NDArray[np.float64]:
        """Calibrated probabilities (B, K) of what `encode_frames` gave for clips, (B, T, D)."""
        with torch.inference_mode():
            return self._calibrated(self._forward(features).float().cpu())

    def _calibrated(self, logits: Tensor) -> NDArray[np.float64]:
        return softmax(logits.numpy(), self.card.calibration["temperature"])


def ready(
    model: RestoredModel,
    name: str,
    *,
    device: str = "auto",
    precision: AnswerPrecision = "auto",
) -> LoadedModel:
    """Put a model on its device.

    Raises:
        ConfigError: the device or the precision is not available.
    """
    place = resolve_device(device)
    module = model.module.to(place).eval()
    module.merge()
    resolved, mixed = precision_for_answers(precision, place, module)
    if resolved == "int8":
        encode_in_int8(module)
    is_rounded = resolved != "int8" and rounds_weights(precision, resolved, place)
    if is_rounded:
        keep_encoder_in_bfloat16(module.clip.visual)

    # On a CPU the rounded encoder alone is in bfloat16: casting the rest costs more than it saves.
    is_mixed = resolved not in ("32", "int8") and not (is_rounded and place.type == "cpu")

    def on_device(compute: Compute) -> Compute:
        def run(values: Tensor) -> Tensor:
            with torch.autocast(place.type, mixed, enabled=is_mixed):
                return compute(values.to(place, non_blocking=True))

        return run

    encode = on_device(module.frame_features) if module.encodes_frames_alone else None
    compiles = place.type == "cpu" and is_large(module) and resolved != "int8"
    encoder = module.clip.visual if compiles else None
    return LoadedModel(on_device(module), model.card, name, encode, resolved, encoder)


def load_checkpoint(
    path: Path,
    *,
    device: str = "auto",
    precision: AnswerPrecision = "auto",
    clip_weights: Path | None = None,
    trust_code: bool = False,
) -> LoadedModel:
    """Load a run, a fold, a checkpoint folder, a published .pth or an exported file.

    Args:
        path: Where it is.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: Of an exported file always 32 bits.
        clip_weights: File of the CLIP that the model was trained on, where the checkpoint leaves
            it out.
        trust_code: Load a .torchscript file, which is code and can do whatever you may do.

    Raises:
        ArtifactError: missing, cut short, corrupt or incompatible.
        ConfigError: TorchScript that is not trusted; or the device or the precision is
            not available.
    """
    as_asked(precision)  # refuses a wrong word before weights are read
    if is_exported(path):
        forward, card = load_exported(path, device, trust_code=trust_code)
        return LoadedModel(forward, card, str(path))
    checkpoint = path if path.is_file() else find_checkpoint(path)
    model = restore_model(checkpoint, clip_weights=clip_weights)
    return ready(model, str(checkpoint), device=device, precision=precision)
