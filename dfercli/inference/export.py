"""`dfer export`: the visual path of a model as ONNX or TorchScript, text features baked in."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfercli.artifacts.atomic import atomic_path
from dfercli.artifacts.exported_files import (
    CARD_ENTRY,
    ONNX_SUFFIX,
    TORCHSCRIPT_SUFFIX,
    is_exported,
)
from dfercli.artifacts.locks import writing_file
from dfercli.artifacts.run_folder import find_checkpoint
from dfercli.config import ExportConfig
from dfercli.documents import dump_json
from dfercli.errors import ArtifactError, ConfigError
from dfercli.inference.exported import load_exported
from dfercli.inference.locate import locate_trained
from dfercli.inference.onnx_writing import round_to_int8, write_onnx
from dfercli.inference.restore import restore_model
from dfercli.models.build import METHODS
from dfercli.models.method import FRAMES, Method
from dfercli.progress import Progress

SUFFIXES = {"onnx": ONNX_SUFFIX, "torchscript": TORCHSCRIPT_SUFFIX}
TOLERANCE = 1e-4  # between the exported logits and PyTorch's
INT8_TOLERANCE = 1.0  # logits are 100 times cosines
TRACED_CLIPS, CHECKED_CLIPS = 2, 3  # different, to notice a batch size that was frozen


@dataclass(frozen=True)
class ExportResult:
    """The result of an export.

    Attributes:
        checkpoint: The source.
        out: The file.
        size_bytes: Its size.
        difference: The largest difference of a logit from PyTorch's.
    """

    checkpoint: Path
    out: Path
    size_bytes: int
    difference: float


class _Exported(nn.Module):
    """Frames (B, T, 3, S, S), float in [0, 1] -> logits (B, K), with fixed text features.

    Args:
        method: The model.
        wants_texts: Whether it compares classes by their texts.
    """

    text: Tensor

    def __init__(self, method: Method, *, wants_texts: bool) -> None:
        super().__init__()
        method.merge()
        encoder: Any = method
        if wants_texts:
            with torch.no_grad():
                self.register_buffer("text", encoder.text_features().detach().clone())
            encoder.text_features = lambda: self.text
        method.streams = (FRAMES,)
        self.method = method

    def forward(self, frames: Tensor) -> Tensor:
        logits: Tensor = self.method(frames)
        return logits


def run(config: ExportConfig, progress: Progress) -> ExportResult:
    """Export a checkpoint, load the file again, and compare it with PyTorch.

    Raises:
        ConfigError: an unknown format, or a name that does not fit it.
        ArtifactError: a checkpoint that cannot be used, a package that is missing, or a file that
            does not agree with PyTorch; such a file is removed.
    """
    out = _out_path(config)
    place = locate_trained(str(config.checkpoint), progress)
    checkpoint = place if place.is_file() else find_checkpoint(place)
    if is_exported(checkpoint):
        raise ConfigError(f"{checkpoint} is an exported model already")
    model = restore_model(checkpoint, clip_weights=config.clip_weights)
    streams = [name for name in model.module.streams if name != FRAMES]
    if streams:
        progress.note(f"the exported model looks at frames alone, not at {', '.join(streams)}")
    wants_texts = METHODS[model.config.method].wants_texts(model.config)
    module = _Exported(model.module.float().eval(), wants_texts=wants_texts).eval()
    shape = (model.module.num_frames, 3, model.module.image_size, model.module.image_size)
    example = _noise(TRACED_CLIPS, shape)
    card = dump_json(model.card.to_json())
    with (
        writing_file(out),
        atomic_path(out) as temporary,
        torch.no_grad(),
        progress.task("exporting", total=2) as task,
    ):
        if config.format == "onnx":
            write_onnx(module, example, temporary, {CARD_ENTRY: card})
        else:
            _write_torchscript(module, example, temporary, card)
        task.advance()
        clips = _noise(CHECKED_CLIPS, shape)
        difference = _checked(_difference(module, temporary, clips), TOLERANCE, out)
        if config.int8:
            round_to_int8(temporary, {CARD_ENTRY: card})
            difference = _checked(_difference(module, temporary, clips), INT8_TOLERANCE, out)
        task.advance()
    return ExportResult(checkpoint, out, out.stat().st_size, difference)


def _checked(difference: float, tolerance: float, out: Path) -> float:
    if not difference <= tolerance:
        raise ArtifactError(
            f"{out} was not kept: its logits differ from PyTorch's by {difference:.2g}, "
            f"allowed are {tolerance:g}"
        )
    return difference


def _out_path(config: ExportConfig) -> Path:
    if config.int8 and config.format != "onnx":
        raise ConfigError(f"--int8 goes with --format onnx, got {config.format}")
    suffix = SUFFIXES.get(config.format)
    if suffix is None:
        raise ConfigError(f"--format takes {' or '.join(SUFFIXES)}, got {config.format!r}")
    out = config.out or Path(f"model{suffix}")
    if out.suffix.lower() != suffix:
        raise ConfigError(f"--format {config.format} writes a name in {suffix}, got {out}")
    return out


def _noise(clips: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(clips, *shape, generator=torch.Generator().manual_seed(clips))


def _write_torchscript(module: nn.Module, example: Tensor, path: Path, card: str) -> None:
    with warnings.catch_warnings():
        # torch recommends torch.export, but its files need Python; TorchScript runs in C++.
        warnings.simplefilter("ignore")
        traced = torch.jit.freeze(torch.jit.trace(module, example))  # leaves unused weights out
        torch.jit.save(traced, str(path), _extra_files={CARD_ENTRY: card})


def _difference(module: nn.Module, path: Path, frames: Tensor) -> float:
    forward, _ = load_exported(path, "cpu", trust_code=True)  # we have just written it
    return float((forward(frames) - module(frames)).abs().max())
