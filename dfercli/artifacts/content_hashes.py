"""`content.jsonl` of a face store: what its clips show, as hashes that copies have in common.

It is made when it is first needed and says for each clip which crops it was made from, so that a
clip whose crops were made again is hashed again.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.jsonl import read_typed_rows, write_rows
from dfercli.errors import ArtifactError
from dfercli.names import PlainName

CONTENT_FILE = "content.jsonl"
CONTENT_SCHEMA = "dfer.content/1"
WORDS = np.dtype("<u8")


@dataclass(frozen=True)
class ClipContent:
    """The hashes of one clip.

    Attributes:
        clip_id: The clip.
        made_from: What the crops were when they were hashed, as text.
        hashes: (S, F, W) uint64 of S shifts and F frames; None where a frame shows nothing.
    """

    clip_id: str
    made_from: str
    hashes: NDArray[np.uint64] | None


@dataclass(frozen=True)
class _Row:
    clip_id: Annotated[str, PlainName()]
    made_from: str
    hashes: str | None


def read_contents(store: Path, shape: tuple[int, int, int]) -> dict[str, ClipContent]:
    """The hashes that a store holds, by clip; none where there is no file.

    Args:
        store: The face store.
        shape: (S, F, W) of each clip's hashes.

    Raises:
        ArtifactError: a broken row (named).
    """
    path = store / CONTENT_FILE
    if not path.is_file():
        return {}
    found = {}
    for number, row in enumerate(read_typed_rows(path, _Row, schema=CONTENT_SCHEMA), start=1):
        hashes = None
        if row.hashes is not None:
            try:
                words = np.frombuffer(base64.b64decode(row.hashes, validate=True), WORDS)
                hashes = words.astype(np.uint64).reshape(shape)
            except ValueError:
                raise ArtifactError(
                    f"{path}, row {number}: hashes: expected {np.prod(shape)} words in base64",
                    hint="delete the file; it is made again",
                ) from None
        found[row.clip_id] = ClipContent(row.clip_id, row.made_from, hashes)
    return found


def write_contents(store: Path, contents: Iterable[ClipContent]) -> None:
    """Write the hashes of a store.

    Raises:
        ArtifactError: the store cannot be written.
    """
    write_rows(
        store / CONTENT_FILE,
        (
            {
                "schema": CONTENT_SCHEMA,
                "clip_id": content.clip_id,
                "made_from": content.made_from,
                "hashes": None
                if content.hashes is None
                else base64.b64encode(content.hashes.astype(WORDS).tobytes()).decode(),
            }
            for content in contents
        ),
    )
