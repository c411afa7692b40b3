"""JSON lines: one object per line, sorted keys, UTF-8."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from dfercli.artifacts.atomic import unwritable, write_text
from dfercli.errors import DataError


def dump_row(row: dict[str, Any]) -> str:
    """One row as a line without its newline."""
    return json.dumps(row, sort_keys=True, ensure_ascii=False)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write all `rows`, whole or not at all."""
    write_text(path, "".join(dump_row(row) + "\n" for row in rows))


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append one row with a single write; a broken last line that a kill left is cut off first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            _cut_torn_end(file)
            file.write((dump_row(row) + "\n").encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def _cut_torn_end(file: BinaryIO) -> None:
    """Cut what follows the last newline of a file open for appending."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def read_rows(path: Path, *, allow_torn_end: bool = False) -> Iterator[dict[str, Any]]:
    """Read the rows of a JSON lines file.

    Args:
        path: The file.
        allow_torn_end: Accept a last line without its newline that does not parse: what a killed
            `append_row` leaves behind.

    Raises:
        DataError: the file is missing, or a line is not a JSON object; the line is named.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    lines = content.split("\n")  # not splitlines(): JSON text may hold U+2028
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            if allow_torn_end and number == len(lines):
                return
            raise DataError(f"{path}, line {number}: not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object, got {line[:60]}")
        yield row
