"""What is written must not take the place of what is read."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from dfercli.errors import ConfigError


def refuse_overwriting(outputs: Mapping[str, Path | None], inputs: Iterable[Path]) -> None:
    """Refuse outputs that are inputs, under this or another name, before any work.

    Args:
        outputs: By the option that names each; None where it is not given.
        inputs: Files and folders that are read.

    Raises:
        ConfigError: an output is an input (named).
    """
    read = {place: path for path in inputs for place in _places(path)}
    for option, path in outputs.items():
        for place in () if path is None else _places(path):
            if place in read:
                raise ConfigError(
                    f"{option} {path} would take the place of {read[place]}, which is read",
                    hint=f"choose another {option}",
                )


def _places(path: Path) -> tuple[str, str]:
    """The path itself, which may be a link, and what it leads to."""
    return os.path.abspath(path.expanduser()), os.path.realpath(path.expanduser())
