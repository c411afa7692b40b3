"""The Python API: load a model, use it on videos, frames or batches of frames."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfercli.artifacts.model_card import ModelCard
from dfercli.config import AnswerPrecision, PredictConfig
from dfercli.data.augmentation import resize
from dfercli.data.sampling import sample_test
from dfercli.errors import DataError
from dfercli.inference.caption_tokens import caption_tokens
from dfercli.inference.ensemble import ensemble
from dfercli.inference.loaded_model import LoadedModel, load_checkpoint
from dfercli.inference.locate import locate_trained, split_models
from dfercli.prediction.run import run
from dfercli.progress import Progress, usual_progress
from dfercli.report.video_prediction import VideoPrediction

StreamValues = Tensor | Sequence[Tensor | None] | Sequence[str | None]
"""One further stream of B clips: images (B, T, 3, S, S), or a sequence with None for missing ones;
captions are texts."""


@dataclass(frozen=True)
class FramesPrediction:
    """The predictions for B clips that were given as frames.

    Attributes:
        label_set: The K class names.
        probabilities: (B, K) float64, calibrated; rows sum to 1.
    """

    label_set: tuple[str, ...]
    probabilities: NDArray[np.float64]

    @property
    def labels(self) -> list[str]:
        """The most probable class of each clip."""
        return [self.label_set[index] for index in self.probabilities.argmax(axis=1)]

    @property
    def confidences(self) -> NDArray[np.float64]:
        """(B,) the probability of that class."""
        highest: NDArray[np.float64] = self.probabilities.max(axis=1)
        return highest


class Recognizer:
    """A model of facial expressions; `dfercli.load` returns one.

    Example:
        >>> from dfercli import load
        >>> model = load("runs/faces-dfer-clip-20250101-120000")
        >>> model.predict_video("clip.mp4").to_dataframe()
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """Where the model comes from."""
        return self._model.name

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self._model.card

    @property
    def precision(self) -> str:
        """The precision of the computation, such as `32`, `bf16-mixed` or `int8`."""
        return self._model.precision

    @property
    def label_set(self) -> tuple[str, ...]:
        """The K class names, in the order of the outputs."""
        return self._model.label_set

    @property
    def num_frames(self) -> int:
        """T, frames per clip."""
        return self._model.num_frames

    @property
    def image_size(self) -> int:
        """S, the side of a frame in pixels."""
        return self._model.image_size

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that the model was trained on and uses if it gets them."""
        return self._model.streams

    def logits(self, frames: Tensor, **streams: StreamValues) -> Tensor:
        """Compare clips with classes.

        Args:
            frames: (B, T, 3, S, S), float in [0, 1] or uint8, RGB, on any device.
            streams: Further streams of the clips, if the model was trained on them: `landmarks`,
                `parsing` and `regions` in the shape of the frames (`dfercli.data.streams` draws
                them); `captions`, B texts. None in place of an entry: that clip has none.

        Returns:
            (B, K) float32 on the CPU.

        Raises:
            DataError: frames or streams of another shape or kind, or streams that the model was not
                trained on.
        """
        return self._model.logits(frames, **self._views(streams))

    def probabilities(self, frames: Tensor, **streams: StreamValues) -> NDArray[np.float64]:
        """Calibrated probabilities (B, K) of clips as `logits` takes them; rows sum to 1.

        Each clip has the calibration of the streams that it has.
        """
        return self._model.probabilities(frames, **self._views(streams))

    def _views(self, streams: Mapping[str, StreamValues]) -> dict[str, tuple[Tensor, Tensor]]:
        """The streams, each with the clips that have it."""
        side = (self.num_frames, 3, self.image_size, self.image_size)
        length = self.card.context_length
        return {
            name: caption_tokens(values, self.label_set, length)
            if name == "captions"
            else _with_presence(values, side)
            for name, values in streams.items()
        }

    def predict_video(
        self,
        path: str | os.PathLike[str],
        *,
        window: float = PredictConfig.window,
        stride: float = PredictConfig.stride,
        config: PredictConfig | None = None,
        progress: Progress | None = None,
    ) -> VideoPrediction:
        """Find the faces of a video and recognise their expressions, window by window.

        Args:
            path: A video, an image, or a folder of numbered images.
            window: Length of a window in seconds.
            stride: Seconds from one window to the next.
            config: All other settings of `dfer predict`. By default faces are found in this
                process; `PredictConfig(workers=2)` starts two, for which a script needs the usual
                `if __name__ == "__main__":`.
            progress: Where to report. By default bars in a notebook; notes go to the logger
                `dfercli`.

        Returns:
            One prediction per face track and window; none if no face was found, with the
            reason in `failure`. A notebook shows it as a timeline; `plot()` is a figure, `spans()`,
            `summary()` and `to_dataframe()` are data frames.

        Raises:
            ConfigError: settings that make no sense.
            DataError: no such file, or more than one source in a folder.
        """
        settings = replace(
            config or PredictConfig(workers=0),
            sources=(os.fspath(path),),
            window=window,
            stride=stride,
        )
        result = run(settings, progress or usual_progress(), self._model, with_pictures=True)
        if len(result.videos) > 1:
            names = ", ".join(video.source for video in result.videos[:3])
            raise DataError(f"{path} holds more than one source: {names}", hint="name one of them")
        return result.videos[0]

    def predict_frames(self, frames: NDArray[np.uint8] | Tensor) -> FramesPrediction:
        """Recognise face crops that are in memory: one clip or a batch of clips.

        Any number and size of frames will do: frames are chosen by the published test
        sampling and resized to the model's size.

        Args:
            frames: An array (T, H, W, 3) or (B, T, H, W, 3) uint8 RGB; or a tensor
                (T, 3, H, W) or (B, T, 3, H, W), uint8 or float in [0, 1].

        Raises:
            DataError: frames of another shape or kind.
        """
        clips = _as_clips(frames)
        chosen = torch.from_numpy(sample_test(clips.shape[1], self.num_frames))
        clips = clips[:, chosen.to(clips.device)]
        if clips.shape[-2:] != (self.image_size, self.image_size):
            if clips.dtype != torch.uint8:
                clips = (clips * 255).round().clamp(0, 255).to(torch.uint8)
            clips = torch.stack([resize(clip, self.image_size) for clip in clips])
        return FramesPrediction(self.label_set, self.probabilities(clips))


def _with_presence(values: StreamValues, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The images of clips, zeros if missing, and which clips have them."""
    if isinstance(values, Tensor):
        return values, torch.ones(len(values), dtype=torch.bool)
    present = torch.tensor([one is not None for one in values], dtype=torch.bool)
    there = [one for one in values if isinstance(one, Tensor)]
    blank = torch.zeros_like(there[0]) if there else torch.zeros(shape, dtype=torch.uint8)
    stacked = [one if isinstance(one, Tensor) else blank for one in values]
    return torch.stack(stacked) if stacked else torch.zeros(0, *shape), present


def _as_clips(frames: NDArray[np.uint8] | Tensor) -> Tensor:
    """Frames as (B, T, 3, H, W), uint8 or float in [0, 1]."""
    is_array = isinstance(frames, np.ndarray)
    if is_array and frames.dtype != np.uint8:
        raise DataError(f"frames: expected an array of uint8, got {frames.dtype}")
    clips = torch.from_numpy(np.ascontiguousarray(frames)) if is_array else torch.as_tensor(frames)
    if clips.ndim == 4:
        clips = clips.unsqueeze(0)
    if is_array and clips.ndim == 5:
        clips = clips.movedim(-1, 2)
    if clips.ndim != 5 or clips.shape[2] != 3 or 0 in clips.shape:
        expected = (
            "(T, H, W, 3) or (B, T, H, W, 3)" if is_array else "(T, 3, H, W) or (B, T, 3, H, W)"
        )
        raise DataError(f"frames: expected shape {expected}, got {tuple(frames.shape)}")
    return clips


def load(
    path: str | os.PathLike[str],
    device: str = "auto",
    precision: AnswerPrecision = "auto",
    *,
    trust_code: bool = False,
) -> Recognizer:
    """Load a trained model, or several as one.

    Args:
        path: A run, a fold, a checkpoint folder, a published .pth or an exported .onnx file; else a
            name of `dfer models`, or `owner/name` on the hub, fetched once. Several, separated by
            commas, are averaged.
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or `mps`.
        precision: `auto` (the value of `DFER_PRECISION`; else mixed on a GPU, and on a CPU for
            which it was measured to be faster; else 32 bits), `32`, `bf16-mixed`, `16-mixed`, or
            on a CPU `int8`.
        trust_code: Load a .torchscript file. TorchScript is code that can read and change files:
            allow it only if you trust its author. No other file can run code when it is loaded.

    Raises:
        ArtifactError: missing, cut short, corrupt or incompatible.
        ConfigError: TorchScript that is not trusted; or the device or the precision is
            not available.
    """
    progress = usual_progress()
    places = [locate_trained(name, progress) for name in split_models(os.fspath(path))]
    models = [
        load_checkpoint(place, device=device, precision=precision, trust_code=trust_code)
        for place in places
    ]
    return Recognizer(models[0] if len(models) == 1 else ensemble(models))
