"""JSON lines: one object per line, sorted keys, UTF-8."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from dfercli.artifacts.atomic import unwritable, write_text
from dfercli.documents import dump_json, parse_json, read_lines
from dfercli.errors import ArtifactError
from dfercli.typed import shown, typed

RowT = TypeVar("RowT")


def dump_row(row: dict[str, Any]) -> str:
    """One row as a line without its newline."""
    return dump_json(row, sort_keys=True)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write all `rows` atomically."""
    write_text(path, "".join(dump_row(row) + "\n" for row in rows))


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append one row with a single write, after removing a last line that a kill left torn."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link in place of the file may lead anywhere.
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with os.fdopen(handle, "a+b") as file:
            _cut_torn_end(file)
            file.write((dump_row(row) + "\n").encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def _cut_torn_end(file: BinaryIO) -> None:
    """Truncate a file open for appending after its last newline."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def read_rows(path: Path, *, allow_torn_end: bool = False) -> Iterator[dict[str, Any]]:
    """Read the rows of a JSON lines file, one by one.

    Args:
        path: The file.
        allow_torn_end: Accept a last line without its newline that does not parse: what a killed
            `append_row` leaves behind.

    Raises:
        ArtifactError: the file is missing or too large, or a line is not a JSON object; the line
            is named.
    """
    for _, row in _numbered_rows(path, allow_torn_end):
        yield row


def read_typed_rows(
    path: Path, kind: type[RowT], *, schema: str, allow_torn_end: bool = False
) -> Iterator[RowT]:
    """Read the rows of a JSON lines file as dataclasses, one by one; see `read_rows`.

    Args:
        path: The file.
        kind: Dataclass of a row.
        schema: What each row must say in `schema`.
        allow_torn_end: See `read_rows`.

    Raises:
        ArtifactError: the file or a row is broken; the line and the field are named.
    """
    for number, row in _numbered_rows(path, allow_torn_end):
        yield typed(kind, row, f"{path}, line {number}", schema=schema)


def _numbered_rows(path: Path, allow_torn_end: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        for number, (line, is_whole) in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                if allow_torn_end and not is_whole:
                    return
                raise ArtifactError(f"{path}, line {number}: not valid JSON: {error}") from error
            if not isinstance(row, dict):
                raise ArtifactError(
                    f"{path}, line {number}: expected a JSON object, got {shown(row)}"
                )
            yield number, row
    except FileNotFoundError:
        raise ArtifactError(f"no such file: {path}") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ArtifactError(f"cannot read {path}: {error}") from error
