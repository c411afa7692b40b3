"""Recipes: the settings of a published training, as TOML files."""

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any

from dfercli.errors import ConfigError
from dfercli.overrides import read_toml
from dfercli.typed import shown


def recipe_names() -> list[str]:
    """The recipes that come with dfer."""
    entries = files("dfercli.recipes").iterdir()
    return sorted(
        entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml")
    )


def sweep_names() -> list[str]:
    """The sweeps that come with dfer: the tables of papers."""
    entries = (files("dfercli.recipes") / "sweeps").iterdir()
    return sorted(
        entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml")
    )


def sweep_file(sweep: Path) -> Path:
    """The file of a sweep: itself, or the one that comes with dfer under this name.

    Raises:
        ConfigError: there is neither.
    """
    if sweep.exists():
        return sweep
    if str(sweep) not in sweep_names():
        raise ConfigError(f"no such sweep: {sweep} (known: {', '.join(sweep_names())}, or a file)")
    return Path(str(files("dfercli.recipes") / "sweeps" / f"{sweep}.toml"))


def read_recipe(recipe: str, dataset: str, known: Collection[str]) -> list[dict[str, Any]]:
    """Read a recipe: its settings, then those for one data set, to be put over one another.

    Args:
        recipe: A name out of `recipe_names`, or the path of a TOML file.
        dataset: Settings under `[for.<dataset>]` are added.
        known: Data sets that have names; others are paths.

    Raises:
        ConfigError: no such recipe, a file that is not TOML, or settings for an unknown data set.
    """
    path = Path(recipe)
    if recipe in recipe_names():
        path = Path(str(files("dfercli.recipes") / f"{recipe}.toml"))
    elif not path.is_file():
        raise ConfigError(
            f"no such recipe: {recipe} (known: {', '.join(recipe_names())}, or a TOML file)"
        )
    settings = read_toml(path)
    per_dataset = settings.pop("for", {})
    if not isinstance(per_dataset, dict):
        raise ConfigError(f"{path}: for is a table of data sets, got {shown(per_dataset)}")
    for name in per_dataset:
        if name not in known and name != dataset.lower() and not Path(name).exists():
            raise ConfigError(
                f"{path}: [for.{name}] is no data set ({', '.join(known)}, or a path)"
            )
    return [settings, per_dataset.get(dataset.lower(), {})]
