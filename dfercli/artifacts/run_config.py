"""`config.json` of a fold: the settings that it was trained with, and those that were asked for."""

from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import read_json, write_json
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.config import TrainConfig
from dfercli.errors import ArtifactError, ConfigError
from dfercli.names import plain_name
from dfercli.overrides import override, to_plain
from dfercli.typed import typed

CONFIG_SCHEMA = "dfer.train_config/1"


def write_train_config(folder: FoldFolder, used: TrainConfig, asked: TrainConfig) -> None:
    """Write the settings that a fold is trained with.

    Args:
        folder: The fold.
        used: Every setting as the clips of this fold allow it.
        asked: The settings as the user gave them; only those that differ from `used` are kept.
    """
    differing = _differing(to_plain(used), to_plain(asked))
    write_json(folder.config, {"schema": CONFIG_SCHEMA, **to_plain(used), "asked": differing})


def read_train_config(folder: FoldFolder) -> TrainConfig:
    """Read the settings that a fold was trained with.

    Raises:
        ArtifactError: the file is missing or of another schema.
    """
    return _read(folder)[0]


def read_asked_config(folder: FoldFolder) -> TrainConfig:
    """Read the settings that the user gave, before they were fitted to the clips of this fold.

    Raises:
        ArtifactError: the file is missing or of another schema.
    """
    return _read(folder)[1]


def _read(folder: FoldFolder) -> tuple[TrainConfig, TrainConfig]:
    where = str(folder.config)
    saved: dict[str, Any] = typed(dict, read_json(folder.config), where, schema=CONFIG_SCHEMA)
    saved.pop("schema")
    if isinstance(saved.get("data"), dict):
        saved["data"].setdefault("test_share", 0.0)  # runs from before there was a test part
    differing = saved.pop("asked", {})
    try:
        used = override(TrainConfig(), saved, where=where, literal=True)
        return used, override(used, differing, where=f"{where}: asked", literal=True)
    except ConfigError as error:
        raise ArtifactError(error.message) from error


def _differing(used: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The entries of `asked` that are others in `used`, table by table."""
    found: dict[str, Any] = {}
    for name, value in asked.items():
        if isinstance(value, dict):
            if nested := _differing(used[name], value):
                found[name] = nested
        elif value != used[name]:
            found[name] = value
    return found


def dataset_name(dataset: str) -> str:
    """A data set's name as part of a folder name."""
    name = Path(dataset).name.strip(".") or Path(dataset).resolve().name
    return plain_name(name, otherwise="data")
