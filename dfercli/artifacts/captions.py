"""`captions.jsonl` of a face store: how the face of each clip changes, as text."""

from collections.abc import Iterable, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from dfercli.artifacts.jsonl import append_row, read_typed_rows, write_rows
from dfercli.artifacts.locks import exclusive
from dfercli.names import RelativeName

CAPTION_SCHEMA = "dfer.caption/1"
CAPTIONS_FILE = "captions.jsonl"


@dataclass(frozen=True)
class CaptionRow:
    """The caption of one clip, as a row of `captions.jsonl`.

    Attributes:
        clip_id: The clip of the face store.
        caption: The text.
        frames: Positions of the crops that were shown, from 0.
        model: The LLM that saw them.
        refine_model: The LLM that shortened the text.
        settings: SHA-256 of all settings that shape a caption.
        masked: Words that named an expression and were removed.
        answers: Keys of the cached answers that led to it.
        created: When the last answer came, ISO 8601 in UTC.
    """

    clip_id: Annotated[str, RelativeName()]
    caption: str
    frames: tuple[int, ...]
    model: str
    refine_model: str
    settings: str
    masked: int
    answers: tuple[str, ...]
    created: str

    def to_row(self) -> dict[str, Any]:
        """The row as it is written."""
        return {"schema": CAPTION_SCHEMA, **asdict(self)}


def append_caption(store: Path, row: CaptionRow) -> None:
    """Add a caption or replace the clip's earlier one; safe across processes."""
    with exclusive(store / ".captions.lock"):
        append_row(store / CAPTIONS_FILE, row.to_row())


def write_captions(store: Path, rows: Iterable[CaptionRow]) -> None:
    """Rewrite all captions of a store."""
    with exclusive(store / ".captions.lock"):
        write_rows(store / CAPTIONS_FILE, (row.to_row() for row in rows))


def remove_captions(store: Path, clip_ids: Set[str]) -> None:
    """Remove the captions of clips."""
    path = store / CAPTIONS_FILE
    if not clip_ids or not path.is_file():
        return
    with exclusive(store / ".captions.lock"):
        rows = list(read_typed_rows(path, CaptionRow, schema=CAPTION_SCHEMA, allow_torn_end=True))
        kept = [row for row in rows if row.clip_id not in clip_ids]
        if len(kept) < len(rows):
            write_rows(path, (row.to_row() for row in kept))


def read_captions(store: Path) -> dict[str, CaptionRow]:
    """Read the captions of a face store by clip; a store without the file has none.

    Raises:
        ArtifactError: a row is broken (named).
    """
    path = store / CAPTIONS_FILE
    if not path.is_file():
        return {}
    rows = read_typed_rows(path, CaptionRow, schema=CAPTION_SCHEMA, allow_torn_end=True)
    return {row.clip_id: row for row in rows}
