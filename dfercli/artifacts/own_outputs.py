"""Outputs must not replace inputs or each other, nor lie in a file."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from dfercli.config.options import Written, offer_of
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


def check_places(config: Any) -> None:
    """Refuse outputs of a config that cannot be where they are named, before any work.

    Raises:
        ConfigError: as for `check_place`.
    """
    for entry in fields(config):
        offer, path = offer_of(entry), getattr(config, entry.name)
        if offer is not None and offer.writes is not None and path is not None:
            check_place(offer.flag(entry.name), path, offer.writes)


def check_place(option: str, path: Path, writes: Written) -> None:
    """Refuse an output that cannot be, or should not replace, what is at its place.

    That is one below a file, a file where a folder, link without a target, pipe or device is, a
    folder where a file is, and the root of the file system.

    Args:
        option: The option that asks for it.
        path: Its path.
        writes: What is written there.

    Raises:
        ConfigError: naming the option and what is in the way.
    """
    there = next((place for place in (path, *path.parents) if os.path.lexists(place)), Path())
    fault = None
    if os.path.abspath(path) == os.path.abspath(os.sep):
        fault = "is the root of the file system, expected a place in a folder"
    elif there == path and writes != "folder":
        if not path.exists():
            fault = "is a broken link, expected a file"
        elif path.is_dir():
            fault = "is a folder, expected a file" if writes == "file" else None
        elif not path.is_file():
            fault = "is a pipe or device, expected a file"
    elif not there.is_dir():
        kind = "a file" if there.exists() else "a broken link"
        fault = f"is {kind}, expected a folder"
    if fault is not None:
        where = path if there == path else f"{path}: {there}"
        raise ConfigError(f"{option} {where} {fault}", hint=f"choose another {option}")


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
