"""Exported models: one file with the visual path, the text features and the model card inside.

An ONNX file only computes, and is checked before use. TorchScript is code that may read and write
files: it is loaded only if the user says so.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dfercli.artifacts.exported_files import CARD_ENTRY, card_of_entry, is_torchscript
from dfercli.artifacts.model_card import ModelCard
from dfercli.artifacts.onnx_files import import_runtime, read_onnx
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.inference.devices import resolve_device
from dfercli.models.finecliper import CAPTIONS
from dfercli.models.method import FRAMES

Forward = Callable[..., Tensor]
PRESENT = "present"


def inputs_of(streams: Sequence[str]) -> tuple[str, ...]:
    """The inputs of an exported model, in order.

    For frames alone there is one input. For several streams there is one input each, and a last one
    says which of them each clip has: (B, M) bool.
    """
    return tuple(streams) if tuple(streams) == (FRAMES,) else (*streams, PRESENT)


def load_exported(
    path: Path, device: str = "auto", *, trust_code: bool = False
) -> tuple[Forward, ModelCard]:
    """Load an exported model.

    Args:
        path: An .onnx or .torchscript file that `dfer export` wrote.
        device: `auto` takes a GPU if there is one.
        trust_code: Load TorchScript, which can do whatever the user of this process may do.

    Returns:
        The function from frames (B, T, 3, S, S), uint8 or float in [0, 1], to logits (B, K), which
        takes further streams as `Method.forward` does; and the model card.

    Raises:
        ArtifactError: missing, corrupt, of another origin, more than a computation (see
            `read_onnx`), or a package is missing.
        ConfigError: TorchScript that is not trusted, or the device is not available.
    """
    if not path.is_file():
        raise ArtifactError(f"no such file: {path}")
    if is_torchscript(path) and not trust_code:
        raise ConfigError(
            f"{path} is TorchScript, which is code: it can read and change your files",
            hint="--trust-code (in Python trust_code=True) runs it where you trust whoever made "
            "it; dfer export --format onnx writes a file that needs no trust",
        )
    where = resolve_device(device)
    if not is_torchscript(path):
        return _load_onnx(path, where, needs_it=device != "auto")
    return _load_torchscript(path, where)


def _load_onnx(path: Path, where: torch.device, *, needs_it: bool) -> tuple[Forward, ModelCard]:
    runtime = import_runtime()
    content = read_onnx(path)
    available = runtime.get_available_providers()
    wanted = "CUDAExecutionProvider"
    if needs_it and (where.type == "mps" or (where.type == "cuda" and wanted not in available)):
        raise ConfigError(
            f"onnxruntime has no {where.type} here, only {', '.join(available)}",
            hint="--device cpu",
        )
    providers: list[Any] = ["CPUExecutionProvider"]
    if where.type == "cuda" and wanted in available:
        providers.insert(0, (wanted, {"device_id": where.index or 0}))
    try:
        session = runtime.InferenceSession(content, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen unrelated kinds; all mean this
        raise ArtifactError(f"not a readable ONNX model: {path}: {_reason(error)}") from error
    entries = session.get_modelmeta().custom_metadata_map
    card = card_of_entry(entries.get(CARD_ENTRY), path)
    inputs = [one.name for one in session.get_inputs()]
    if len(inputs) == 1:  # older files take only frames, whatever the model took
        card = card.with_streams((FRAMES,))
    elif inputs != list(inputs_of(card.streams)):
        raise ArtifactError(
            f"{path}: expected the inputs {', '.join(inputs_of(card.streams))}, got "
            f"{', '.join(map(repr, inputs[:8]))}"
        )

    def forward(frames: Tensor | None, **streams: tuple[Tensor, Tensor]) -> Tensor:
        values = [one.cpu().numpy() for one in _in_order(card, frames, streams)]
        try:
            logits = session.run(None, dict(zip(inputs, values, strict=True)))[0]
        except Exception as error:  # as above
            raise ArtifactError(f"{path} cannot be run: {_reason(error)}") from error
        expected = (len(values[0]), len(card.label_set))
        kind = logits.dtype.kind if isinstance(logits, np.ndarray) else type(logits).__name__
        if kind != "f" or logits.shape != expected:
            raise ArtifactError(
                f"{path}: expected logits of shape {expected}, got {kind} {np.shape(logits)}"
            )
        return torch.from_numpy(logits)

    return forward, card


def _load_torchscript(path: Path, where: torch.device) -> tuple[Forward, ModelCard]:
    entries: dict[str, Any] = {CARD_ENTRY: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch recommends torch.export for new files
            module = torch.jit.load(str(path), map_location=where, _extra_files=entries)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ArtifactError(f"not a readable TorchScript model: {path}: {reason}") from error
    card = card_of_entry(entries[CARD_ENTRY], path)

    def forward(frames: Tensor | None, **streams: tuple[Tensor, Tensor]) -> Tensor:
        logits: Tensor = module(*(one.to(where) for one in _in_order(card, frames, streams)))
        return logits

    return forward, card


def _in_order(
    card: ModelCard, frames: Tensor | None, streams: Mapping[str, tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """The values of `inputs_of`, for the streams that clips have; the others are zeros."""
    given = dict(streams)
    if frames is not None:
        given[FRAMES] = (frames, torch.ones(len(frames), dtype=torch.bool))
    if card.streams == (FRAMES,):
        return [_as_float(given[FRAMES][0])]
    there = {name: given[name] for name in card.streams if name in given}
    if not there:
        raise DataError(f"this model looks at {', '.join(card.streams)}: give one of them")
    count = len(next(iter(there.values()))[0])
    side, values, present = card.image_size, [], []
    for name in card.streams:
        if name == CAPTIONS:
            shape: tuple[int, ...] = (count, card.context_length)
            kind = torch.int64
        else:
            shape, kind = (count, card.sampling["num_frames"], 3, side, side), torch.float32
        value, has = there.get(name, (torch.zeros(shape, dtype=kind), torch.zeros(count)))
        if name == CAPTIONS:
            value = F.pad(value, (0, shape[1] - value.shape[1]))
        values.append(value if name == CAPTIONS else _as_float(value))
        present.append(has.bool().cpu())
    return [*values, torch.stack(present, dim=1)]


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _as_float(frames: Tensor) -> Tensor:
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
