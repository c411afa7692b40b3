"""Exported models: one file with the visual path, the text features and the model card inside."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfercli.artifacts.model_card import ModelCard, card_from_json
from dfercli.documents import parse_json
from dfercli.errors import ArtifactError, ConfigError
from dfercli.stages.devices import find_device

ONNX_SUFFIX = ".onnx"
TORCHSCRIPT_SUFFIX = ".torchscript"
CARD_ENTRY = "dfer_model_json"
INSTALL_HINT = 'pip install "dfercli[export]"'

Forward = Callable[[Tensor], Tensor]


def is_exported(path: Path) -> bool:
    """Tell by its name whether a file is an exported model."""
    return path.suffix.lower() in (ONNX_SUFFIX, TORCHSCRIPT_SUFFIX)


def load_exported(path: Path, device: str = "auto") -> tuple[Forward, ModelCard]:
    """Load an exported model.

    Args:
        path: An .onnx or .torchscript file that `dfer export` wrote.
        device: `auto` takes a GPU where there is one.

    Returns:
        The function from frames (B, T, 3, S, S), uint8 or float in [0, 1], to logits (B, K); and
        the model card.

    Raises:
        ArtifactError: missing, corrupt, of another origin, or a package is missing.
        ConfigError: the device is not to be had.
    """
    if not path.is_file():
        raise ArtifactError(f"no such file: {path}")
    where = find_device(device)
    if path.suffix.lower() == ONNX_SUFFIX:
        return _load_onnx(path, where, needs_it=device != "auto")
    return _load_torchscript(path, where)


def _load_onnx(path: Path, where: torch.device, *, needs_it: bool) -> tuple[Forward, ModelCard]:
    runtime = import_runtime()
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
        session = runtime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # onnxruntime has a dozen unrelated kinds; all mean this
        reason = str(error).strip().splitlines()[-1]
        raise ArtifactError(f"not a readable ONNX model: {path}: {reason}") from error
    entries = session.get_modelmeta().custom_metadata_map
    card = _card(entries.get(CARD_ENTRY), path)
    name = session.get_inputs()[0].name

    def forward(frames: Tensor) -> Tensor:
        values = _as_float(frames).cpu().numpy()
        return torch.from_numpy(session.run(None, {name: values})[0])

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
    content = entries[CARD_ENTRY]
    card = _card(content.decode() if isinstance(content, bytes) else content, path)

    def forward(frames: Tensor) -> Tensor:
        return module(_as_float(frames.to(where)))

    return forward, card


def _as_float(frames: Tensor) -> Tensor:
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()


def _card(content: str | None, path: Path) -> ModelCard:
    if not content:
        raise ArtifactError(f"{path} was not written by `dfer export`: it holds no model card")
    try:
        return card_from_json(parse_json(content), str(path))
    except ValueError as error:
        raise ArtifactError(f"{path}: its model card is broken: {error}") from error


def import_runtime() -> Any:
    """The package onnxruntime.

    Raises:
        ArtifactError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ArtifactError("onnxruntime is not installed", hint=INSTALL_HINT) from error
    return onnxruntime
