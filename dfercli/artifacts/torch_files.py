"""Read and write PyTorch files: tensors and plain containers; nothing in them is executed.

torch's restricted unpickler refuses forbidden names. Two more things are refused here: compressed
archives, which may expand to any size, and tensors that claim more elements than the file holds.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfercli.errors import ArtifactError

TORCHSCRIPT_MEMBER = "constants.pkl"
CONTAINERS = (dict, list, tuple, set)


def load_torch(path: Path) -> Any:
    """Read a file of `torch.save` on the CPU.

    Raises:
        ArtifactError: missing, damaged, TorchScript, or built to run code or to fill the memory.
    """
    check_torch_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many unrelated kinds on a damaged file
        raise ArtifactError(
            f"not a readable PyTorch file: {path} ({type(error).__name__})",
            hint="it is damaged, or wants to run code when it is loaded: do not trust it",
        ) from error
    for tensor in _tensors(content):
        if tensor.layout != torch.strided:
            raise ArtifactError(f"{path}: expected plain tensors, got a {tensor.layout} one")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ArtifactError(
                f"{path}: a tensor of shape {tuple(tensor.shape)} is larger than what the file "
                "holds of it"
            )
    return content


class _Written(io.BufferedWriter):
    """A file that remembers why it could not be written; torch tells something else."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write as files do."""
        try:
            return super().write(content)
        except OSError as error:
            self.error = self.error or error
            raise


def save_torch(content: Any, path: Path) -> None:
    """Write a file of `torch.save`.

    Raises:
        OSError: the system refused the write (disk full, …).
    """
    with _Written(io.FileIO(path, "w")) as file:
        try:
            torch.save(content, file)
        except RuntimeError:
            if file.error is None:
                raise
            raise file.error from None


def check_torch_file(path: Path) -> None:
    """Check a file before a library reads it by `torch.load` with `weights_only`.

    Raises:
        ArtifactError: missing, a damaged archive, a packed one, or TorchScript.
    """
    if not path.is_file():
        raise ArtifactError(f"no such file: {path}")
    if not zipfile.is_zipfile(path):
        return  # the older format, or not PyTorch's: the reader will say
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"not a readable PyTorch file: {path}: {error}") from error
    if any(Path(member.filename).name == TORCHSCRIPT_MEMBER for member in members):
        raise ArtifactError(
            f"{path} is TorchScript, which is code: expected only weights",
            hint="save its state_dict, as .pth or .safetensors",
        )
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    size = sum(member.file_size for member in members)
    if packed or size > path.stat().st_size:
        raise ArtifactError(
            f"{path} is a compressed archive of {size} bytes; torch.save never compresses",
            hint="it may be built to fill the memory: do not trust it",
        )


def _tensors(content: Any) -> Iterator[Tensor]:
    """All tensors in containers of any depth, each container once."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, CONTAINERS) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
