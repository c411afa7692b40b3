"""`config.json` of a run: the settings that it was trained with."""

from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import read_json
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.config import TrainConfig
from dfercli.errors import ArtifactError, ConfigError
from dfercli.names import plain_name
from dfercli.overrides import override
from dfercli.typed import typed

CONFIG_SCHEMA = "dfer.train_config/1"


def read_train_config(folder: FoldFolder) -> TrainConfig:
    """Read the settings that a fold was trained with.

    Raises:
        ArtifactError: the file is missing or of another schema.
    """
    where = str(folder.config)
    saved: dict[str, Any] = typed(dict, read_json(folder.config), where, schema=CONFIG_SCHEMA)
    saved.pop("schema")
    if isinstance(saved.get("data"), dict):
        saved["data"].setdefault("test_share", 0.0)  # runs from before there was a test part
    try:
        return override(TrainConfig(), saved, where=where, literal=True)
    except ConfigError as error:
        raise ArtifactError(error.message) from error


def dataset_name(dataset: str) -> str:
    """A data set's name as part of a folder name."""
    name = Path(dataset).name.strip(".") or Path(dataset).resolve().name
    return plain_name(name, otherwise="data")
