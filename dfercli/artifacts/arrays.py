"""Arrays of `.npz` files; kind and size are checked before memory is allocated."""

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dfercli.documents import require_regular
from dfercli.errors import ArtifactError

MAX_ARRAY_BYTES = 256 << 20
# What zipfile raises at damage, at methods it does not know, and at encrypted files.
ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
# A header is a Python literal, which numpy reads without running it.
HEADER_FAULTS = (
    *(ValueError, SyntaxError, TypeError, KeyError, tokenize.TokenError),
    *(RecursionError, MemoryError),
)


@dataclass(frozen=True)
class ArraySpec:
    """The expected kind and shape of an array.

    Attributes:
        dtype: What it is returned as; the file may hold it in another width.
        shape: Sizes after the first axis; None is any.
        optional: Whether the file may lack it.
    """

    dtype: type[np.generic]
    shape: tuple[int | None, ...] = ()
    optional: bool = False

    def __str__(self) -> str:
        sizes = ["any" if size is None else str(size) for size in self.shape]
        return f"({', '.join(['n', *sizes])}) {np.dtype(self.dtype).name}"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tell whether an array of this shape is what is expected."""
        sizes = zip(shape[1:], self.shape, strict=True) if len(shape) == 1 + len(self.shape) else ()
        return len(shape) == 1 + len(self.shape) and all(
            wanted in (None, size) for size, wanted in sizes
        )


def read_arrays(
    path: Path, specs: Mapping[str, ArraySpec], *, same_length: bool = True
) -> dict[str, NDArray[np.generic]]:
    """Read arrays of one file and ignore the others. Nothing in it is executed.

    Args:
        path: The file.
        specs: What is wanted, by name.
        same_length: Whether all must have the same number of rows.

    Raises:
        ArtifactError: the file is missing or damaged, or lacks an array or holds another kind.
    """
    found: dict[str, NDArray[np.generic]] = {}
    try:
        with zipfile.ZipFile(require_regular(path)) as archive:
            names = set(archive.namelist())
            for name, spec in specs.items():
                if f"{name}.npy" in names:
                    found[name] = _read(archive, name, spec)
                elif not spec.optional:
                    raise ValueError(f"{name}: missing, expected {spec}")
    except FileNotFoundError:
        raise ArtifactError(f"no such file: {path}") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except (*ZIP_FAULTS, ValueError) as error:
        raise ArtifactError(f"cannot read {path}: {error}") from error
    lengths = {name: len(array) for name, array in found.items()}
    if same_length and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ArtifactError(f"{path}: expected as many rows in each array, got {listed}")
    return found


def _read(archive: zipfile.ZipFile, name: str, spec: ArraySpec) -> NDArray[np.generic]:
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > MAX_ARRAY_BYTES:
        raise ValueError(f"{name}: larger than {MAX_ARRAY_BYTES >> 20} MiB")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"{name}: not an array of a known version")
        try:
            shape, fortran, dtype = read_header[version](file)
        except HEADER_FAULTS as error:
            raise ValueError(f"{name}: its header cannot be read") from error
        wanted = np.dtype(spec.dtype)
        fits = dtype.kind == wanted.kind or (wanted.kind == "f" and dtype.kind in "iu")
        if not fits or dtype.kind not in "biuf" or not spec.fits(shape):
            raise ValueError(f"{name}: expected {spec}, got {shape} {dtype}")
        num_bytes = dtype.itemsize * int(np.prod([int(size) for size in shape], dtype=object))
        content = file.read(MAX_ARRAY_BYTES + 1)
    if len(content) != num_bytes:
        raise ValueError(f"{name}: {len(content)} bytes, expected {num_bytes}")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(spec.dtype)
