"""Untrusted names that become file names: checked here, and nowhere else.

`PlainName` and `RelativeName` say in the type of a field what a name must be (see `typed`), so that
it is checked when it is read. `inside` joins checked names to a folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import category

from dfercli.errors import ArtifactError

MAX_NAME_BYTES = 240  # file systems take 255, and a suffix follows
MAX_PATH_LETTERS = 4096
SEPARATORS = frozenset("/\\")
CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})  # NUL, new lines, halves of surrogate pairs


@dataclass(frozen=True)
class PlainName:
    """Marks a text that names one file or folder: `Annotated[str, PlainName()]`."""

    def accepts(self, value: str) -> bool:
        """Tell whether `value` is one plain component of a path."""
        return is_plain(value)

    def __str__(self) -> str:
        return "that is one plain name of a file (no separator, not hidden)"


@dataclass(frozen=True)
class RelativeName:
    """Marks a text of plain names with `/` between them, as benchmarks name their clips."""

    def accepts(self, value: str) -> bool:
        """Tell whether `value` leads down from a folder by plain names only."""
        return all(map(is_plain, value.split("/")))

    def __str__(self) -> str:
        return "of plain names of files with / between them"


@dataclass(frozen=True)
class SourcePath:
    """Marks a path that may lead anywhere: it names a source, and at most is read."""

    def accepts(self, value: str) -> bool:
        """Tell whether `value` can be a path at all."""
        return value != "" and "\0" not in value and len(value) <= MAX_PATH_LETTERS

    def __str__(self) -> str:
        return "that is a path"


def is_plain(name: str) -> bool:
    """Tell whether `name` is one component of a path that leads nowhere else.

    It is not empty, not hidden (`.`, `..` and our own temporary names begin with a dot), has no
    separator of any system, no control character, and a length that file systems take.
    """
    return (
        name != ""
        and not name.startswith(".")
        and SEPARATORS.isdisjoint(name)
        and (name.isprintable() or CONTROLS.isdisjoint(map(category, name)))
        and len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES
    )


def plain_name(text: str, otherwise: str) -> str:
    """Make a plain name of any text; forbidden characters become `_`.

    Args:
        text: Any text.
        otherwise: The name if nothing is left of `text`.
    """
    letters = (letter if letter.isalnum() or letter in "-_.+" else "_" for letter in text)
    name = "".join(letters).lstrip(".")
    while len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        name = name[1:].lstrip(".")
    return name if is_plain(name) else otherwise


def inside(folder: Path, *names: str) -> Path:
    """The path below `folder` that `names` lead to; each may be several with `/` between them.

    Raises:
        ArtifactError: a name that is not plain; the path might lie elsewhere.
    """
    for name in names:
        if not RelativeName().accepts(name):
            raise ArtifactError(
                f"{folder}: expected a name {RelativeName()}, got {name[:80]!r}",
                hint="the name may be meant to reach files elsewhere: do not trust it",
            )
    return folder.joinpath(*(PurePosixPath(name) for name in names))


def neighbour(path: Path, before: str, after: str) -> Path:
    """The neighbour of a path whose name has more at both ends; also that of `.` and `..`."""
    named = Path(os.path.abspath(path)) if path.name in ("", "..") else path
    return named.with_name(f"{before}{named.name}{after}")
