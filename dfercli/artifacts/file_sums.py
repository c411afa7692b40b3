"""Check sums of files."""

import hashlib
from pathlib import Path

from dfercli.documents import require_regular
from dfercli.errors import ArtifactError

PART_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        ArtifactError: the file cannot be read.
    """
    return _digest(path, hashlib.sha256())


def file_md5(path: Path) -> str:
    """The MD5 of a file, in hexadecimal: what Zenodo publishes; it shows damage, not malice.

    Raises:
        ArtifactError: the file cannot be read.
    """
    return _digest(path, hashlib.md5(usedforsecurity=False))


def _digest(path: Path, digest: "hashlib._Hash") -> str:
    try:
        with require_regular(path).open("rb") as file:
            while part := file.read(PART_BYTES):
                digest.update(part)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()
