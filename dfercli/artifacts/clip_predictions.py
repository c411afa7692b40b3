"""`predictions.jsonl` of an evaluation: one row per clip with its true label and probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.jsonl import read_typed_rows
from dfercli.errors import ArtifactError
from dfercli.typed import Range

CLIP_PREDICTION_SCHEMA = "dfer.clip_prediction/1"


@dataclass(frozen=True)
class ClipPredictions:
    """What a model said about N clips.

    Attributes:
        clip_ids: The N clips.
        probabilities: (N, K) float64, columns in the order of the label set.
        targets: (N,) int64, index of the true class.
        subjects: The person in each clip, where known.
    """

    clip_ids: tuple[str, ...]
    probabilities: NDArray[np.float64]
    targets: NDArray[np.int64]
    subjects: tuple[str | None, ...]


@dataclass(frozen=True)
class _Prediction:
    clip_id: str
    label: str
    probabilities: dict[str, Annotated[float, Range(0, 1)]]
    subject: str | None = None  # older files do not say


def read_clip_predictions(path: Path, label_set: Sequence[str]) -> ClipPredictions:
    """Read the predictions of an evaluation.

    Raises:
        ArtifactError: the file is missing, empty, or a row does not fit the label set (named).
    """
    position = {name: index for index, name in enumerate(label_set)}
    clip_ids, probabilities, targets, subjects = [], [], [], []
    rows = read_typed_rows(path, _Prediction, schema=CLIP_PREDICTION_SCHEMA)
    for number, row in enumerate(rows, start=1):
        if row.label not in position or row.probabilities.keys() != position.keys():
            raise ArtifactError(
                f"{path}, row {number}: not a prediction over {', '.join(label_set)}"
            )
        clip_ids.append(row.clip_id)
        probabilities.append([row.probabilities[name] for name in label_set])
        targets.append(position[row.label])
        subjects.append(row.subject)
    if not clip_ids:
        raise ArtifactError(f"{path} holds no predictions")
    return ClipPredictions(
        tuple(clip_ids),
        np.array(probabilities),
        np.array(targets, dtype=np.int64),
        tuple(subjects),
    )
