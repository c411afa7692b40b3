"""`dfer results`: compare runs, and test two of them against each other on the same clips."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dfercli.artifacts.clip_predictions import ClipPredictions, read_clip_predictions
from dfercli.artifacts.evaluation import METRICS_NAME, PairedTest, read_metrics
from dfercli.artifacts.run_config import read_asked_config
from dfercli.artifacts.run_folder import FoldFolder, fold_folders
from dfercli.artifacts.run_result import RunResult, read_run_result
from dfercli.data.published_sizes import TOTALS
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.metrics.comparison import compare
from dfercli.metrics.rates import Predicted, summarise_folds
from dfercli.overrides import to_plain
from dfercli.progress import Progress
from dfercli.report.published_results import published_for
from dfercli.report.results import RunSummary

RESULTS_SCHEMA = "dfer.results/1"


@dataclass(frozen=True)
class FoldPredictions:
    """The predictions of one finished fold of a run, and its selection rule.

    Attributes:
        number: The fold.
        result: Its `result.json`.
        label_set: Class names.
        predictions: Of its test clips.
        selected: Whether these clips also chose the checkpoint.
    """

    number: int
    result: RunResult
    label_set: tuple[str, ...]
    predictions: ClipPredictions
    selected: bool


def run(paths: Sequence[Path], progress: Progress) -> list[RunSummary]:
    """Summarise every run under `paths`: runs, or folders of runs.

    Runs without a finished fold are skipped with a note.

    Raises:
        ArtifactError: a path without runs, or a run that is broken.
        DataError: predictions that cannot be read.
    """
    summaries = []
    for folder in find_runs(paths):
        folds = read_run(folder)
        if not folds:
            progress.note(f"{folder}: no finished fold with results")
            continue
        summary = replace(summarise_run(folder.name, folds), settings=_settings_of(folder))
        summaries.append(summary)
        totals = TOTALS.get(summary.dataset)
        if totals is not None and len(folds) < len(totals.fold_sizes):
            progress.note(
                f"{folder.name}: {len(folds)} of {len(totals.fold_sizes)} folds; published numbers "
                "are means over all of them, and folds differ by several points"
            )
    return summaries


def paired(path_a: Path, path_b: Path, progress: Progress) -> PairedTest:
    """Test run A against run B on the clips that both were tested on, fold by fold.

    Raises:
        ArtifactError: a path that is not a run.
        ConfigError: a path that holds several runs.
        DataError: no common clips, or clips whose true labels differ.
    """
    runs = []
    for path in (path_a, path_b):
        folders = find_runs([path])
        if len(folders) != 1:
            raise ConfigError(f"--paired takes two runs, {path} holds {len(folders)}")
        runs.append(_by_clip(read_run(folders[0])))
    first, second = runs
    common = sorted(first.keys() & second.keys())
    if not common:
        raise DataError(f"{path_a} and {path_b} were tested on no common clips of the same fold")
    for path, clips in ((path_a, first), (path_b, second)):
        if left := len(clips) - len(common):
            progress.note(f"{left} clips that only {path} was tested on are left out")
    names = sorted({first[key][0] for key in common} | {first[key][1] for key in common})
    names = sorted({*names, *(label for key in common for label in second[key][:2])})
    differing = [key[1] for key in common if first[key][0] != second[key][0]]
    if differing:
        raise DataError(
            f"{path_a} and {path_b} disagree about the true label of {len(differing)} clips, "
            f"the first is {differing[0]}"
        )
    index = {name: number for number, name in enumerate(names)}
    return compare(
        np.array([index[first[key][1]] for key in common]),
        np.array([index[second[key][1]] for key in common]),
        np.array([index[first[key][0]] for key in common]),
        len(names),
        subjects=[first[key][2] or second[key][2] for key in common],
    )


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The run folders among or below `paths`, each once, sorted within a path.

    Raises:
        ArtifactError: a path that neither is nor holds one.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise ArtifactError(f"no such run or folder of runs: {path}")
        inside = [path] if fold_folders(path) else _runs_in(path)
        if not inside:
            raise ArtifactError(
                f"no runs in {path} (a run holds fold-1/)", hint="make one with: dfer train"
            )
        found += [folder for folder in inside if folder not in found]
    return found


def read_run(folder: Path) -> list[FoldPredictions]:
    """The finished folds of a run that were tested on something.

    Raises:
        ArtifactError: a result or metrics file that is broken or of another schema.
        DataError: predictions that cannot be read.
    """
    found = []
    for fold in fold_folders(folder):
        if not fold.is_finished:
            continue
        result = read_run_result(fold.result)
        if result.evaluation is not None:
            found.append(_read_fold(fold, result, result.evaluation))
    return found


def summarise_run(name: str, folds: Sequence[FoldPredictions]) -> RunSummary:
    """Combine the folds of a run.

    Raises:
        DataError: folds with different label sets.
    """
    label_sets = {fold.label_set for fold in folds}
    if len(label_sets) > 1:
        raise DataError(f"{name}: its folds have {len(label_sets)} different label sets")
    predictions = [
        Predicted(
            fold.predictions.probabilities,
            fold.predictions.targets,
            fold.predictions.subjects,
            fold.selected,
        )
        for fold in folds
    ]
    return RunSummary(
        name=name,
        dataset=_dataset_name(folds[0].result.benchmark or folds[0].result.dataset),
        folds=tuple(fold.number for fold in folds),
        summary=summarise_folds(predictions, folds[0].label_set),
        selected_on=" / ".join(dict.fromkeys(fold.result.selected_on for fold in folds)),
        measured_on=tuple(fold.result.measured_on for fold in folds),
        official_split=all(fold.result.official_split for fold in folds),
        seed=folds[0].result.seed,
    )


def _settings_of(folder: Path) -> str:
    """All settings of a run except its seed and its place; empty if there are none."""
    folds = [fold for fold in fold_folders(folder) if fold.config.is_file()]
    if not folds:
        return ""
    asked = read_asked_config(folds[0])
    same = replace(asked, seed=0, name=None, out=Path())
    return json.dumps(to_plain(same), sort_keys=True)


def summary_json(run_summary: RunSummary) -> dict[str, Any]:
    """A run as `dfer results --json` prints it."""
    return {
        "run": run_summary.name,
        "dataset": run_summary.dataset,
        "selected_on": run_summary.selected_on,
        "measured_on": list(run_summary.measured_on),
        "official_split": run_summary.official_split,
        "folds": {
            str(number): evaluation.to_json()
            for number, evaluation in zip(run_summary.folds, run_summary.summary.folds, strict=True)
        },
        **run_summary.summary.to_json(),
    }


def _runs_in(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and fold_folders(folder))


def _read_fold(fold: FoldFolder, result: RunResult, evaluation: str) -> FoldPredictions:
    folder = fold.evaluation(evaluation)
    metrics = read_metrics(folder / METRICS_NAME)
    predictions = read_clip_predictions(folder / "predictions.jsonl", metrics.label_set)
    selected = metrics.war_interval is None
    return FoldPredictions(result.fold, result, metrics.label_set, predictions, selected)


def _by_clip(
    folds: Sequence[FoldPredictions],
) -> dict[tuple[int, str], tuple[str, str, str | None]]:
    """(fold, clip) -> (true class, predicted class, subject), as names."""
    found = {}
    for fold in folds:
        predicted = fold.predictions.probabilities.argmax(axis=1)
        for clip_id, target, guess, subject in zip(
            fold.predictions.clip_ids,
            fold.predictions.targets,
            predicted,
            fold.predictions.subjects,
            strict=True,
        ):
            key = (fold.number, clip_id)
            names = fold.label_set[int(target)], fold.label_set[int(guess)]
            found[key] = (*names, subject)
    return found


def _dataset_name(dataset: str) -> str:
    """Benchmarks are known by their lower-case names; a path stays as it is."""
    return dataset.lower() if published_for(dataset.lower()) else dataset
