"""`predictions.jsonl` of an evaluation: one row per clip with its true label and probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.jsonl import read_rows
from dfercli.errors import DataError


@dataclass(frozen=True)
class ClipPredictions:
    """What a model said about N clips.

    Attributes:
        clip_ids: The N clips.
        probabilities: (N, K) float64, columns in the order of the label set.
        targets: (N,) int64, index of the true class.
    """

    clip_ids: tuple[str, ...]
    probabilities: NDArray[np.float64]
    targets: NDArray[np.int64]


def read_clip_predictions(path: Path, label_set: Sequence[str]) -> ClipPredictions:
    """Read the predictions of an evaluation.

    Raises:
        DataError: the file is missing, empty, or a row does not fit the label set (named).
    """
    clip_ids, rows, targets = [], [], []
    for number, row in enumerate(read_rows(path), start=1):
        try:
            clip_ids.append(str(row["clip_id"]))
            rows.append([float(row["probabilities"][name]) for name in label_set])
            targets.append(label_set.index(row["label"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}, row {number}: not a prediction over {', '.join(label_set)}: {error!r}"
            ) from error
    if not rows:
        raise DataError(f"{path} holds no predictions")
    return ClipPredictions(tuple(clip_ids), np.array(rows), np.array(targets, dtype=np.int64))
