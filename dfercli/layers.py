"""The one way from requested settings to a config.

Defaults, then the recipe of a training, then a file, then options, then `--set`: each layer
overrides those before it. The command line, `dfer sweep`, `dfer info --method`, `dfer demo` and
Python all use this:

    config = layered(TrainConfig(), [in_file(Path("my.toml"), "train"),
                                     options({"dataset": "faces/", "optim": {"epochs": 3}})])
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from dfercli.config import TrainConfig
from dfercli.config.data import DATASETS
from dfercli.config.options import offer_of
from dfercli.errors import ConfigError
from dfercli.overrides import override, read_toml, set_by_path, to_plain
from dfercli.recipes import read_recipe, recipe_names
from dfercli.typed import shown

ConfigT = TypeVar("ConfigT")

TABLES = (
    *("bench", "check", "convert", "convert-timeline", "demo", "describe", "eval", "export", "get"),
    *("predict", "preprocess", "sweep", "train"),
)
"""The tables of a file of settings, one per command; `dfer info` reads that of `dfer train`."""


@dataclass(frozen=True)
class Layer:
    """Settings of one origin.

    Attributes:
        values: Name -> value; a nested config is a mapping.
        where: The origin, for messages.
        literal: As for `override`.
    """

    values: Mapping[str, Any]
    where: str
    literal: bool = False


def in_file(path: Path, table: str) -> Layer:
    """The settings in a table of a TOML file.

    Raises:
        ConfigError: the file is missing or not TOML, or has a table of no command.
    """
    content = read_toml(path)
    if unknown := [shown(name) for name in content if name not in TABLES]:
        raise ConfigError(
            f"{path}: no command has the table {', '.join(unknown)} (known: {', '.join(TABLES)})",
            hint=f"settings stand below the line [{table}]",
        )
    return Layer(content.get(table, {}), str(path))


def options(values: Mapping[str, Any], where: str = "options") -> Layer:
    """Values in a mapping, such as the options of a command line or arguments in Python."""
    return Layer(values, where, literal=True)


def assigned(assignments: Sequence[str], where: str = "--set") -> Layer:
    """Settings of the form `optim.batch_size=8`.

    Raises:
        ConfigError: one without `=`.
    """
    return Layer(set_by_path(list(assignments)), where)


def layered(defaults: ConfigT, layers: Sequence[Layer]) -> ConfigT:
    """Override defaults by layers, each over those before it.

    Below the layers of a `TrainConfig` lies a recipe: the one that they name, else that of their
    method, with its settings for their data set. `recipe` then names it.

    Args:
        defaults: The config with its defaults.
        layers: From the lowest to the highest.

    Raises:
        ConfigError: an unknown setting, a value of the wrong kind, or no such recipe.
    """
    asked = _over(defaults, layers)
    if not isinstance(asked, TrainConfig):
        return asked
    own = asked.model.method if asked.model.method in recipe_names() else None
    recipe = asked.recipe or own
    if recipe is None:
        return asked
    tables = [
        Layer(table, f"recipe {recipe}") for table in read_recipe(recipe, asked.dataset, DATASETS)
    ]
    config = cast(TrainConfig, _over(defaults, [*tables, *layers]))
    return cast(ConfigT, replace(config, recipe=recipe))


def _over(config: ConfigT, layers: Sequence[Layer]) -> ConfigT:
    for layer in layers:
        values = _by_field(config, layer.values)
        config = override(config, values, where=layer.where, literal=layer.literal)
    return config


def _by_field(config: Any, values: Any) -> Any:
    """Values by field name: a file may use any name of an option."""
    if not isinstance(values, Mapping):
        return values
    entries = fields(config)
    own = {entry.name for entry in entries}
    other = {
        flag.removeprefix("--").replace("-", "_"): entry.name
        for entry in entries
        if (offer := offer_of(entry)) is not None
        for flag in offer.flags
    }
    return {name if name in own else other.get(name, name): value for name, value in values.items()}


def recipe_differences(first: str, second: str) -> list[tuple[str, str, str]]:
    """Where two recipes differ: setting, value of the first, value of the second."""
    configs = [layered(TrainConfig(), [options({"recipe": name})]) for name in (first, second)]
    one, other = (dict(flat(to_plain(config))) for config in configs)
    return [
        (name, str(one[name]), str(other[name]))
        for name in one
        if one[name] != other[name] and name != "recipe"
    ]


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting by its path, such as `optim.epochs`."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
