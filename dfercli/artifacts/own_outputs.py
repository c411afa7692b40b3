"""Outputs must not replace inputs or each other."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from dfercli.errors import ConfigError


@dataclass(frozen=True)
class Output:
    """A file or folder that a command writes.

    Attributes:
        option: The option that asks for it.
        path: Its path.
        is_tree: Whether everything below it belongs to the command and may be replaced.
    """

    option: str
    path: Path
    is_tree: bool = False


def refuse_overwriting(outputs: Iterable[Output], inputs: Iterable[Path]) -> None:
    """Refuse outputs that are inputs, under this or another name, before any work.

    Args:
        outputs: All files that are written, including companions of a named file.
        inputs: All files and folders that are read.

    Raises:
        ConfigError: an output is an input (named).
    """
    read = {place: path for path in inputs for place in _places(path)}
    for output in outputs:
        for place in _places(output.path):
            inside = (one for one in read if output.is_tree and one.startswith(place + os.sep))
            taken = place if place in read else next(inside, None)
            if taken is not None:
                raise ConfigError(
                    f"{output.option} {output.path} would take the place of {read[taken]}, "
                    "which is read",
                    hint=f"choose another {output.option}",
                )


def refuse_sharing(outputs: Sequence[Output]) -> None:
    """Refuse two options that write the same file, before any work.

    Args:
        outputs: All files that are written. Several of one option may be equal.

    Raises:
        ConfigError: naming both options and the file.
    """
    order = list(dict.fromkeys(output.option for output in outputs))
    for one, other in combinations(sorted(outputs, key=lambda o: order.index(o.option)), 2):
        if one.option != other.option and _meet(one, other):
            raise ConfigError(
                f"{one.option} and {other.option} name the same file: {other.path}",
                hint=f"choose another {other.option}",
            )


def _meet(one: Output, other: Output) -> bool:
    a, b = os.path.realpath(one.path.expanduser()), os.path.realpath(other.path.expanduser())
    return (
        a == b
        or (one.is_tree and b.startswith(a + os.sep))
        or (other.is_tree and a.startswith(b + os.sep))
    )


def _places(path: Path) -> tuple[str, str]:
    """The path itself, which may be a link, and its target."""
    return os.path.abspath(path.expanduser()), os.path.realpath(path.expanduser())
