"""Printing for all commands: results on stdout, everything else on stderr."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from dfercli.errors import ConfigError
from dfercli.progress import Task

_NOT_PRINTED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Make untrusted text safe for a terminal by escaping what moves the cursor or reverses text.

    Control characters but line breaks and tabs, marks of direction, and halves of characters that
    no encoding holds become escapes of JSON, which reads them back.
    """
    return _NOT_PRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def in_one_line(text: str) -> str:
    """Make untrusted text printable; line breaks become escapes, too: a name may hold some."""
    return printable(text).replace("\n", "\\u000a")


def print_error(message: str, hint: str | None = None) -> None:
    """Print `error: …` and, where there is one, `hint: …` on stderr, never parsed as markup."""
    sys.stderr.write(f"error: {' '.join(printable(message).split())}\n")
    if hint:
        sys.stderr.write(f"hint: {printable(hint)}\n")


def agreed(question: str) -> bool:
    """Ask the user on stderr.

    Raises:
        ConfigError: there is no terminal to answer on.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"no terminal to ask on: {question}", hint="answer it with --yes")
    return typer.confirm(question, err=True)


def print_json(value: Any) -> None:
    """Print a result for machines on stdout."""
    sys.stdout.write(printable(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def print_line(text: str) -> None:
    """Print one line of a result on stdout."""
    sys.stdout.write(in_one_line(text) + "\n")


def print_text(text: str) -> None:
    """Print a text of several lines on stdout."""
    sys.stdout.write(printable(text) + "\n")


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1
) -> None:
    """Print a table on stdout; cells are plain text, never markup.

    A cell may have several lines; title and names of columns have one.

    The first `left` columns are aligned left, the others right.
    """
    table = Table(highlight=False)
    for number, column in enumerate(columns):
        table.add_column(escape(in_one_line(column)), justify="left" if number < left else "right")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    if title:
        print_line(title)  # a title of the table would be wrapped to its width
    width = None if sys.stdout.isatty() else 200
    Console(file=sys.stdout, width=width, highlight=False).print(table)


class _BarTask:
    def __init__(self, bars: Progress, task_id: TaskID) -> None:
        self._bars = bars
        self._task_id = task_id

    def advance(self, steps: float = 1) -> None:
        self._bars.advance(self._task_id, steps)

    def status(self, **values: float | int | str) -> None:
        shown = "  ".join(f"{name} {_short(value)}" for name, value in values.items())
        self._bars.update(self._task_id, status=escape(in_one_line(shown)))


def _short(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class ConsoleProgress:
    """Progress bars on stderr, unless it is not a terminal or with `--quiet`; notes always."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._bars_wanted = self._console.is_terminal and not quiet

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Task]:
        """Draw a bar with count, time left and the values of `Task.status`."""
        bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            disable=not self._bars_wanted,
        )
        with bars:
            yield _BarTask(
                bars, bars.add_task(escape(in_one_line(description)), total=total, status="")
            )

    def note(self, message: str) -> None:
        """Print one line on stderr."""
        line = " ".join(printable(message).splitlines())  # a name may hold a line break
        self._console.print(line, markup=False, soft_wrap=True)

    def info(self, message: str) -> None:
        """Print one line on stderr unless `--quiet`."""
        if not self._quiet:
            self.note(message)
