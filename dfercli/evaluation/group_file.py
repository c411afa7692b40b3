"""`dfer results --groups FILE`: recalls of groups of subjects, such as sex or age band."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dfercli.artifacts.evaluation import GroupRates
from dfercli.documents import decoded, read_document
from dfercli.errors import ArtifactError, DataError
from dfercli.evaluation.results import find_runs, read_run
from dfercli.metrics.groups import rates_per_group

SUBJECT = "subject"
MOST_NAMES = 5


def read_groups(path: Path) -> dict[str, dict[str, str]]:
    """Read the facts about subjects: subject -> field -> value.

    Raises:
        DataError: no table with a column `subject` and others, or a subject that comes twice.
    """
    try:
        text = decoded(read_document(path))
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restkey="more", restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        if SUBJECT not in row or len(row) < 2 or "more" in row:
            raise DataError(f"{path}, row {number}: expected the columns subject and fields of it")
        name = row.pop(SUBJECT)
        if name in found:
            raise DataError(f"{path}, row {number}: subject {name} comes twice")
        found[name] = row
    if not found:
        raise DataError(f"{path} names no subject")
    return found


def rates_of_groups(
    paths: Sequence[Path], groups: Mapping[str, Mapping[str, str]], where: Path
) -> dict[str, tuple[tuple[GroupRates, ...], tuple[str, ...]]]:
    """Per run its rates by group, over the test clips of all its folds, and its label set.

    Raises:
        ArtifactError: a path without runs, or a run that was not measured by subject.
        DataError: subjects of the file that no run was tested on (named).
    """
    found, tested = {}, set()
    for folder in find_runs(paths):
        folds = read_run(folder)
        if not folds:
            continue
        subjects = [name for fold in folds for name in fold.predictions.subjects]
        if not any(subjects):
            raise ArtifactError(
                f"{folder} does not say whom its test clips show",
                hint=f"measure it again: dfer eval {folder}",
            )
        tested.update(subjects)
        rates = rates_per_group(
            np.concatenate([fold.predictions.probabilities for fold in folds]),
            np.concatenate([fold.predictions.targets for fold in folds]),
            folds[0].label_set,
            [groups.get(name or "", {}) for name in subjects],
        )
        found[folder.name] = rates, folds[0].label_set
    if unknown := sorted(set(groups) - tested):
        more = f" and {len(unknown) - MOST_NAMES} more" if len(unknown) > MOST_NAMES else ""
        raise DataError(
            f"{where}: no test clip shows {', '.join(unknown[:MOST_NAMES])}{more}",
            hint="subjects are named as in the face store: see predictions.jsonl of the run",
        )
    return found
