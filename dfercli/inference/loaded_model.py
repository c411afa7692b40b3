"""A model ready for inference: frames in, logits and calibrated probabilities out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dfercli.artifacts.exported_files import is_exported
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.config import AnswerPrecision
from dfercli.errors import ConfigError, DataError
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
from dfercli.models.finecliper import CAPTIONS
from dfercli.models.method import FRAMES, Method

Compute = Callable[..., Tensor]
Stream = tuple[Tensor, Tensor]
"""One further stream of B clips: images in the shape of the frames, or tokens (B, L); and (B,)
bool, which clips have it."""


class LoadedModel:
    """A model of expressions, on its device.

    Args:
        forward: Frames (B, T, 3, S, S), uint8 or float in [0, 1], to logits (B, K); further streams
            are keywords, see `Method.forward`.
        card: What the model says about itself.
        name: Where it came from, as text.
        encode: If the model encodes images by themselves: images (N, 3, S, S) to their features
            (N, D), which `forward` takes as (B, T, D) in place of images.
        precision: That it computes in.
        encoder: The slow part, if it may be compiled.
        restrict: Makes the model leave out the frames if they are not among these streams.

    Attributes:
        card: What the model says about itself.
        name: Where it came from, as text.
        precision: The precision of the computation, such as `bf16-mixed`.
        encoder: The image encoder, if it is on a CPU, large, and may be compiled.
        streams: The streams that it uses if it gets them.
    """

    def __init__(
        self,
        forward: Compute,
        card: ModelCard,
        name: str,
        encode: Compute | None = None,
        precision: str = "32",
        encoder: nn.Module | None = None,
        restrict: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self._forward = forward
        self._encode = encode
        self.card = card
        self.name = name
        self.precision = precision
        self.encoder = encoder
        self.streams = card.streams
        self._restrict = restrict

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
        """Whether a frame in several clips is encoded only once."""
        return self._encode is not None

    def logits(self, frames: Tensor, **streams: Stream) -> Tensor:
        """Logits (B, K), float32 on the CPU, of clips; see `dfercli.Recognizer.logits`."""
        self._check_images(FRAMES, frames, None)
        for name, (values, present) in streams.items():
            if name not in self.streams:
                raise DataError(f"{name}: the model was trained on {', '.join(self.streams)}")
            if name != CAPTIONS:
                self._check_images(name, values, len(frames))
            elif values.ndim != 2 or len(values) != len(frames) or values.dtype != torch.int64:
                raise DataError(
                    f"captions: expected (B, L) int64 tokens, got {tuple(values.shape)}"
                )
            if present.shape != (len(frames),):
                raise DataError(
                    f"{name}: expected for each clip whether it is there, got {present.shape}"
                )
        if frames.shape[0] == 0:
            return torch.zeros(0, len(self.label_set))
        with torch.inference_mode():
            logits = self._forward(frames, **streams).float().cpu()
        return logits.clone()  # callers may train on it, unlike on an inference tensor

    def _check_images(self, name: str, images: Tensor, count: int | None) -> None:
        expected = (self.num_frames, 3, self.image_size, self.image_size)
        fits = images.ndim == 5 and tuple(images.shape[1:]) == expected
        if not fits or count not in (None, len(images)):
            raise DataError(
                f"{name}: expected shape ({count or 'B'}, {', '.join(map(str, expected))}), "
                f"got {tuple(images.shape)}"
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise DataError(f"{name}: expected uint8 or float in [0, 1], got {images.dtype}")

    def probabilities(self, frames: Tensor, **streams: Stream) -> NDArray[np.float64]:
        """Calibrated probabilities (B, K) of clips as `logits` takes them; rows sum to 1.

        Each clip has the calibration of the streams that it has.
        """
        return self._calibrated(self.logits(frames, **streams), streams)

    def probabilities_of_clips(
        self, frames: Tensor, clips: NDArray[np.int64], **streams: Stream
    ) -> NDArray[np.float64]:
        """Calibrated probabilities of clips that share frames; rows sum to 1.

        A model that encodes images by themselves encodes each one once.

        Args:
            frames: (N, 3, S, S), as the frames of `logits`.
            clips: (B, T), the numbers of the frames of each clip.
            streams: Images (N, 3, S, S) of the same frames, or tokens (B, L); and (B,) bool, which
                clips have the stream.

        Returns:
            (B, K).
        """
        if self._encode is None:
            shared = self._of_clips(lambda images: images, clips, streams)
            return self.probabilities(frames[clips], **shared)
        shared = self._of_clips(self.encode_frames, clips, streams)
        return self.probabilities_of_features(self.encode_frames(frames)[clips], **shared)

    @staticmethod
    def _of_clips(
        encode: Callable[[Tensor], Tensor], clips: NDArray[np.int64], streams: Mapping[str, Stream]
    ) -> dict[str, Stream]:
        return {
            name: (values if name == CAPTIONS else encode(values)[clips], present)
            for name, (values, present) in streams.items()
        }

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Encode each image by itself, if the model does; (N, 3, S, S) -> (N, D)."""
        if self._encode is None:
            raise TypeError(f"{self.name} cannot encode single frames")
        with torch.inference_mode():
            return self._encode(frames)

    def probabilities_of_features(self, features: Tensor, **streams: Stream) -> NDArray[np.float64]:
        """Calibrated probabilities (B, K) of features (B, T, D) from `encode_frames`."""
        with torch.inference_mode():
            return self._calibrated(self._forward(features, **streams).float().cpu(), streams)

    def streams_of(self, count: int, streams: Mapping[str, Stream]) -> list[tuple[str, ...]]:
        """The streams that each of `count` clips has; all have frames."""
        has = {name: present.tolist() for name, (_, present) in streams.items()}
        return [
            tuple(
                name for name in self.streams if name == FRAMES or (name in has and has[name][row])
            )
            for row in range(count)
        ]

    @contextmanager
    def looking_at(self, streams: Sequence[str]) -> Iterator[None]:
        """Use only some of the streams for a while.

        Raises:
            ConfigError: frames, which an exported file always takes.
        """
        before = self.streams
        if FRAMES in before and FRAMES not in streams and self._restrict is None:
            raise ConfigError(
                f"{self.name} always takes frames",
                hint="dfer export --streams writes a file with other streams",
            )
        self.streams = tuple(name for name in before if name in streams)
        try:
            if self._restrict is not None:
                self._restrict(self.streams)
            yield
        finally:
            self.streams = before
            if self._restrict is not None:
                self._restrict(before)

    def threshold(self, streams: Sequence[str], asked: float | None) -> float:
        """The confidence below which a prediction from these streams is uncertain."""
        return self.card.calibration_of(streams)[1] if asked is None else asked

    def _calibrated(self, logits: Tensor, streams: Mapping[str, Stream]) -> NDArray[np.float64]:
        sets = self.streams_of(len(logits), streams)
        temperatures = {one: self.card.calibration_of(one)[0] for one in set(sets)}
        rows = np.array([temperatures[one] for one in sets], np.float64).reshape(-1, 1)
        return softmax(logits.numpy(), rows)


def look_at(module: Method, streams: Sequence[str]) -> None:
    """Restrict a model to some of its streams; without names it uses all of them.

    Raises:
        ConfigError: a stream that the model was not trained on.
    """
    unknown = [name for name in streams if name not in module.streams]
    if unknown:
        raise ConfigError(
            f"--streams {','.join(streams)}: the model was trained on {', '.join(module.streams)}"
        )
    if streams:
        module.streams = tuple(name for name in module.streams if name in streams)


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

    # On a CPU only the rounded encoder is in bfloat16: casting the rest costs more than it saves.
    is_mixed = resolved not in ("32", "int8") and not (is_rounded and place.type == "cpu")

    def on_device(compute: Compute) -> Compute:
        def run(values: Tensor, **streams: Stream) -> Tensor:
            there = {
                name: (one.to(place, non_blocking=True), present.to(place, non_blocking=True))
                for name, (one, present) in streams.items()
            }
            with torch.autocast(place.type, mixed, enabled=is_mixed):
                return compute(values.to(place, non_blocking=True), **there)

        return run

    encode = on_device(module.frame_features) if module.encodes_frames_alone else None
    compiles = place.type == "cpu" and is_large(module) and resolved != "int8"
    encoder = module.clip.visual if compiles else None
    restrict = partial(setattr, module, "streams")
    return LoadedModel(on_device(module), model.card, name, encode, resolved, encoder, restrict)


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
        precision: An exported file always uses 32 bits.
        clip_weights: File of the CLIP that the model was trained on, if the checkpoint leaves
            it out.
        trust_code: Load a .torchscript file, which is code and can do whatever you may do.

    Raises:
        ArtifactError: missing, cut short, corrupt or incompatible.
        ConfigError: TorchScript that is not trusted; or the device or the precision is
            not available.
    """
    as_asked(precision)  # refuses a wrong precision before weights are read
    if is_exported(path):
        forward, card = load_exported(path, device, trust_code=trust_code)
        return LoadedModel(forward, card, str(path))
    checkpoint = path if path.is_file() else find_checkpoint(path)
    model = restore_model(checkpoint, clip_weights=clip_weights)
    return ready(model, str(checkpoint), device=device, precision=precision)
