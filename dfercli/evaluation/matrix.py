"""`dfer eval RUN... --on A,B`: every run measured on every data set, by the classes they share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dfercli.artifacts.model_card import read_model_card
from dfercli.artifacts.run_folder import find_checkpoint, fold_folders
from dfercli.config import EvalConfig
from dfercli.data.folds import num_folds
from dfercli.errors import ConfigError
from dfercli.evaluation.results import find_runs
from dfercli.evaluation.run import run as evaluate
from dfercli.progress import Progress
from dfercli.report.tables import TextTable, percent


@dataclass(frozen=True)
class Cell:
    """One run on one data set.

    Attributes:
        run: Name of the run.
        trained_on: Its data set.
        tested_on: The data set that it was measured on.
        classes: The classes that both know and that have clips.
        checkpoints: How many folds of the run were measured; rates are means over them.
        uar: Mean recall over `classes`.
        war: Accuracy on the clips of `classes`.
    """

    run: str
    trained_on: str
    tested_on: str
    classes: tuple[str, ...]
    checkpoints: int
    uar: float
    war: float

    def to_json(self) -> dict[str, Any]:
        """The output of `dfer eval --on --json`."""
        return {**vars(self), "classes": list(self.classes)}


def run(config: EvalConfig, paths: Sequence[Path], progress: Progress) -> list[Cell]:
    """Measure each fold of each run on each data set of `config.on`.

    A fold of a run is measured on the same fold of a data set that has it, else on the first.

    Raises:
        ConfigError: a data set that is named twice.
        DataError: clips that cannot be read, or fewer than two common classes.
        ArtifactError: no such run, or one that cannot be used.
    """
    if len(set(config.on)) < len(config.on):
        raise ConfigError(f"--on {','.join(config.on)}: a data set is named twice")
    return [
        _measure(config, folder, dataset, progress)
        for folder in find_runs(paths)
        for dataset in config.on
    ]


def _measure(config: EvalConfig, folder: Path, dataset: str, progress: Progress) -> Cell:
    folds = [fold for fold in fold_folders(folder) if fold.is_finished]
    if not folds:
        raise ConfigError(f"{folder} has no finished fold", hint=f"dfer train --resume {folder}")
    there, found, trained_on = num_folds(dataset), [], ""
    for fold in folds:
        card = read_model_card(find_checkpoint(fold.path))
        number = int(card.trained_on.get("fold", 1))
        trained_on = str(card.trained_on.get("dataset", "unknown"))
        asked = replace(
            config,
            checkpoint=fold.path,
            dataset=dataset,
            fold=number if number <= there else 1,
            on=(),
        )
        found.append(evaluate(asked, progress)[0].evaluation)
    names = [name for name in found[0].label_set if name not in found[0].classes_without_clips]
    return Cell(
        run=folder.name,
        trained_on=trained_on,
        tested_on=dataset,
        classes=tuple(names),
        checkpoints=len(found),
        uar=float(np.mean([evaluation.uar for evaluation in found])),
        war=float(np.mean([evaluation.war for evaluation in found])),
    )


def matrix_table(cells: Sequence[Cell]) -> TextTable:
    """Rows are runs, columns are data sets; a cell is UAR / WAR and the number of classes."""
    columns = list(dict.fromkeys(cell.tested_on for cell in cells))
    rows = []
    for name in dict.fromkeys(cell.run for cell in cells):
        own = [cell for cell in cells if cell.run == name]
        rates = [f"{percent(c.uar)} / {percent(c.war)} ({len(c.classes)})" for c in own]
        rows.append((f"{name} ({own[0].trained_on})", *rates))
    title = "UAR % / WAR % (shared classes): trained on a row, tested on a column"
    return TextTable(title, ("run (trained on)", *columns), tuple(rows))
