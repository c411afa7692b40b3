"""Tables of flat rows as JSONL, CSV or Parquet; the suffix of the file says which."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import atomic_path, write_text
from dfercli.artifacts.csv_cells import plain_cell, safe_cell
from dfercli.artifacts.jsonl import write_rows
from dfercli.documents import BOM, decoded, read_document, read_lines
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.typed import shown

TABLE_SUFFIXES = (".jsonl", ".csv", ".parquet")

Columns = Mapping[str, type]  # of a table, in order: str, int, float or bool


def check_table_path(path: Path, option: str = "--out") -> None:
    """Refuse a table whose name has no known suffix.

    Raises:
        ConfigError: another suffix than .jsonl, .csv or .parquet.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise ConfigError(f"{option} takes a name in {', '.join(TABLE_SUFFIXES)}, got {path}")


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    """Write a table in the format of its name atomically; None is an empty cell.

    Raises:
        ConfigError: another suffix than .jsonl, .csv or .parquet.
        ArtifactError: the system refused the write.
    """
    check_table_path(path)
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        write_rows(path, map(dict, rows))
    elif suffix == ".csv":
        write_text(path, csv_text(rows, list(columns)))
    else:
        _write_parquet(path, list(map(dict, rows)), columns)


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Rows as CSV with a header, in which no text is a formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: safe_cell(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue()


def read_csv_rows(path: Path, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a table that `write_table` wrote as CSV, row by row.

    Other columns are left out; an empty cell is None.

    Yields:
        The place of a row, for messages, and its cells.

    Raises:
        ArtifactError: the file is missing or broken, or a cell has the wrong kind; the message
            names the line and the column.
    """
    reader = csv.DictReader(_lines(path), strict=True)
    try:
        if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise ArtifactError(f"{path}: no column {missing[0]}")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            yield (
                where,
                {name: _cell(row[name], kind, where, name) for name, kind in columns.items()},
            )
    except FileNotFoundError:
        raise ArtifactError(f"no such file: {path}") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise ArtifactError(f"cannot read {path}, line {reader.line_num}: {error}") from error


@contextmanager
def user_csv(path: Path) -> Iterator["csv.DictReader[str]"]:
    """Open a CSV file that a user wrote: UTF-8 with or without a BOM, or a pipe.

    Raises:
        DataError: it cannot be read, at the start or row by row.
    """
    try:
        text = decoded(read_document(path, may_be_pipe=True))
        yield csv.DictReader(io.StringIO(text, newline=""))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _lines(path: Path) -> Iterator[str]:
    for number, (line, _) in enumerate(read_lines(path)):
        yield (line.removeprefix(BOM) if number == 0 else line).decode("utf-8") + "\n"


def _cell(text: str | None, kind: type, where: str, column: str) -> Any:
    if not text:
        return None
    try:
        if kind is str:
            return plain_cell(text)
        value = {"True": True, "False": False}[text] if kind is bool else kind(text)
        if math.isfinite(value):
            return value
    except (KeyError, ValueError):
        pass
    expected = {bool: "True or False", int: "a whole number", float: "a number"}[kind]
    raise ArtifactError(f"{where}: {column}: expected {expected}, got {shown(text)}")


def _write_parquet(path: Path, rows: list[dict[str, Any]], columns: Columns) -> None:
    import pyarrow as pa  # the import takes a third of a second, for this one format
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
