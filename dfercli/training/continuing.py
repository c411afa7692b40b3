"""The state of an existing run: nothing yet, begun, finished, or of other settings."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dfercli.artifacts.atomic import is_temporary
from dfercli.artifacts.run_config import dataset_name, read_asked_config
from dfercli.artifacts.run_folder import fold_folders
from dfercli.artifacts.store_writing import setting_differences
from dfercli.config import TrainConfig
from dfercli.errors import ConfigError
from dfercli.layers import flat
from dfercli.overrides import to_plain


def is_begun(run_folder: Path) -> bool:
    """Whether a run has recorded its settings and can be continued."""
    return any(folder.config.is_file() for folder in fold_folders(run_folder))


def name_by_the_time(config: TrainConfig, ends: Sequence[str] = ("",)) -> str:
    """A unique name for a run: a second, or an hour in autumn, may come twice.

    Args:
        config: Names the data set, the method and the folder of runs.
        ends: Endings with which no run may have the name.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = stem = f"{dataset_name(config.dataset)}-{config.model.method}-{stamp}"
    number = 1
    while any((config.out / f"{name}{end}").exists() for end in ends):
        number += 1
        name = f"{stem}-{number}"
    return name


def is_stillborn(run_folder: Path) -> bool:
    """Whether a run was killed before it recorded its settings."""
    files = [path for path in run_folder.rglob("*") if path.is_file() and not is_temporary(path)]
    was_to_be = fold_folders(run_folder) or any(path.name == ".lock" for path in files)
    return bool(was_to_be) and all(path.name.startswith(".lock") for path in files)


def refuse_other_settings(run_folder: Path, wanted: TrainConfig, *, hint: str) -> None:
    """Refuse to continue a run that was begun with other settings.

    The places of the run and its features, its name, and the origin of its settings do not count.

    Raises:
        ConfigError: naming the settings that differ.
    """
    if not is_begun(run_folder):
        return
    saved = next(read_asked_config(f) for f in fold_folders(run_folder) if f.config.is_file())
    saved = replace(saved, out=wanted.out, name=wanted.name, recipe=wanted.recipe)
    saved = replace(saved, features_in=wanted.features_in)
    before, after = dict(flat(to_plain(saved))), dict(flat(to_plain(wanted)))
    if before != after:
        differences = setting_differences(before, after)
        raise ConfigError(f"{run_folder} was trained with other settings: {differences}", hint=hint)
