"""Settings of a command: what was typed, over what a file says, over the defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import typer

ConfigT = TypeVar("ConfigT")


def settle(
    context: typer.Context,
    default: ConfigT,
    *,
    command: str,
    config_file: Path | None,
    names: Mapping[str, str] | None = None,
) -> ConfigT:
    """Build the config of a command.

    Args:
        context: Of the command; only options and arguments that were typed count.
        default: The config with its defaults.
        command: Name of the command, which is also its table in the file.
        config_file: TOML file given with `--config`.
        names: Parameters whose field in the config is called otherwise.

    Raises:
        ConfigError: an unknown setting or a value of the wrong kind; all are named.
    """
    from dfercli.overrides import override, read_toml

    names = names or {}
    typed = {
        names.get(name, name): value
        for name, value in context.params.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
        and hasattr(default, names.get(name, name))
    }
    if config_file is not None:
        table = read_toml(config_file).get(command, {})
        default = override(default, table, where=str(config_file))
    return override(default, typed, where=f"dfer {command}", literal=True)
