"""Names of exported models, and the card of a TorchScript file, read without running it."""

import zipfile
import zlib
from pathlib import Path

from dfercli.artifacts.model_card import ModelCard, card_from_json
from dfercli.documents import MAX_DOCUMENT_BYTES, parse_json
from dfercli.errors import ArtifactError

ONNX_SUFFIX = ".onnx"
TORCHSCRIPT_SUFFIX = ".torchscript"
CARD_ENTRY = "dfer_model_json"


def is_exported(path: Path) -> bool:
    """Tell by its name whether a file is an exported model."""
    return path.suffix.lower() in (ONNX_SUFFIX, TORCHSCRIPT_SUFFIX)


def is_torchscript(path: Path) -> bool:
    """Tell by its name whether a file is TorchScript, which is code."""
    return path.suffix.lower() == TORCHSCRIPT_SUFFIX


def card_of_entry(content: str | bytes | None, path: Path) -> ModelCard:
    """The model card that an exported file holds as its entry `CARD_ENTRY`.

    Raises:
        ArtifactError: there is none, or it is broken.
    """
    if not content:
        raise ArtifactError(f"{path} was not written by `dfer export`: it holds no model card")
    try:
        return card_from_json(parse_json(content), str(path))
    except ValueError as error:
        raise ArtifactError(f"{path}: its model card is broken: {error}") from error


def torchscript_card(path: Path) -> ModelCard:
    """The model card of a TorchScript file; none of its code is loaded or run.

    Raises:
        ArtifactError: missing, corrupt, or of another origin.
    """
    if not path.is_file():
        raise ArtifactError(f"no such file: {path}")
    content = b""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(f"/extra/{CARD_ENTRY}"):
                    with archive.open(name) as file:
                        content = file.read(MAX_DOCUMENT_BYTES)
    except (
        *(OSError, ValueError, EOFError, RuntimeError),  # RuntimeError: encrypted, or packed oddly
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise ArtifactError(f"not a readable TorchScript model: {path}: {error}") from error
    return card_of_entry(content, path)
