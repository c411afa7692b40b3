"""`dfer export`: a model as ONNX or TorchScript, the features of its class texts baked in."""

import io
import warnings
from collections.abc import Sequence
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
from dfercli.inference.exported import inputs_of, load_exported
from dfercli.inference.loaded_model import look_at
from dfercli.inference.locate import locate_trained
from dfercli.inference.onnx_writing import round_to_int8, write_onnx
from dfercli.inference.restore import restore_model
from dfercli.models.build import METHODS
from dfercli.models.finecliper import CAPTIONS, FineCliper
from dfercli.models.method import FRAMES, Method
from dfercli.progress import Progress

SUFFIXES = {"onnx": ONNX_SUFFIX, "torchscript": TORCHSCRIPT_SUFFIX}
TOLERANCE = 1e-4  # between the exported logits and PyTorch's
INT8_TOLERANCE = 1.0  # logits are 100 times cosines
TRACED_CLIPS, CHECKED_CLIPS = 2, 3  # different, to notice a frozen batch size


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
    """Views of clips, in the order of `inputs_of`, to logits (B, K), with fixed text features.

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
        self.method = method

    def forward(self, *inputs: Tensor) -> Tensor:
        method = self.method
        if not isinstance(method, FineCliper) or method.streams == (FRAMES,):
            logits: Tensor = method(*inputs)
            return logits
        *values, present = inputs
        views: dict[str, Any] = {
            name: (view, present[:, 0]) for name, view in zip(method.streams, values, strict=True)
        }
        frames = views.pop(FRAMES, (values[0], None))[0]
        features, there = method.stream_features(frames, **views)
        own = {name: present[:, column] for column, name in enumerate(method.streams)}
        columns = [  # the card is of the training; it omits streams that the file does not take
            own.get(name, there[:, column]) for column, name in enumerate(method.fusion.streams)
        ]
        video = method.fuse(features, torch.stack(columns, dim=1))
        outputs = method.compare(video, self.text)
        return method.logits(outputs)


def _exportable(method: Method, streams: Sequence[str], progress: Progress) -> None:
    """Restrict a model to the streams for its file, and return their names."""
    look_at(method, streams)
    if method.streams != (FRAMES,):
        progress.note(f"inputs: {', '.join(inputs_of(method.streams))}")


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
    _exportable(model.module, config.streams, progress)
    wants_texts = METHODS[model.config.method].wants_texts(model.config)
    module = _Exported(model.module.float().eval(), wants_texts=wants_texts).eval()
    example = _noise(TRACED_CLIPS, module.method)
    card = dump_json(model.card.with_streams(module.method.streams).to_json())
    with (
        writing_file(out),
        atomic_path(out) as temporary,
        torch.no_grad(),
        progress.task("exporting", total=2) as task,
    ):
        if config.format == "onnx":
            inputs = dict(zip(inputs_of(module.method.streams), example, strict=True))
            write_onnx(module, inputs, temporary, {CARD_ENTRY: card})
        else:
            _write_torchscript(module, example, temporary, card)
        task.advance()
        clips = _noise(CHECKED_CLIPS, module.method)
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


def _noise(clips: int, method: Method) -> tuple[Tensor, ...]:
    """Random clips as inputs of the exported model; some lack all streams but one."""
    draw = torch.Generator().manual_seed(clips)
    side, length = method.image_size, method.clip.context_length
    views = []
    for name in method.streams:
        if name == CAPTIONS:
            tokens = torch.randint(1, 400, (clips, length), generator=draw)
            tokens[:, length // 2] = method.clip.vocab_size - 1  # where a text ends
            views.append(tokens)
        else:
            views.append(torch.rand(clips, method.num_frames, 3, side, side, generator=draw))
    if method.streams == (FRAMES,):
        return tuple(views)
    present = torch.ones(clips, len(views), dtype=torch.bool)
    present[-1, 1:] = False
    return (*views, present)


def _write_torchscript(
    module: nn.Module, example: tuple[Tensor, ...], path: Path, card: str
) -> None:
    with warnings.catch_warnings():
        # torch recommends torch.export, but its files need Python; TorchScript runs in C++.
        warnings.simplefilter("ignore")
        traced = torch.jit.freeze(torch.jit.trace(module, example))  # leaves unused weights out
        content = io.BytesIO()  # torch's own writer ends the process where a disk is full
        torch.jit.save(traced, content, _extra_files={CARD_ENTRY: card})
    # `write_bytes` would keep a view of its own in the traceback of a failure.
    with content.getbuffer() as view, path.open("wb") as file:
        file.write(view)


def _difference(module: _Exported, path: Path, clips: tuple[Tensor, ...]) -> float:
    forward, _ = load_exported(path, "cpu", trust_code=True)  # we have just written it
    streams = module.method.streams
    given = clips if streams == (FRAMES,) else clips[:-1]
    there = torch.ones(len(clips[0]), len(streams), dtype=torch.bool)
    present = there if streams == (FRAMES,) else clips[-1]
    views = {
        name: (view, present[:, column])
        for column, (name, view) in enumerate(zip(streams, given, strict=True))
    }
    frames = views.pop(FRAMES, (None, None))[0]
    return float((forward(frames, **views) - module(*clips)).abs().max())
