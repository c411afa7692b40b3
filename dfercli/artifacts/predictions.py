"""Predictions on videos: one row per face track and window, as JSONL, CSV or Parquet.

All three hold the same flat rows; the columns of the classes are called `probability_<class>`.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfercli.artifacts.atomic import atomic_path, write_text
from dfercli.artifacts.csv_cells import safe_cell
from dfercli.artifacts.jsonl import write_rows
from dfercli.errors import ConfigError

PREDICTION_SCHEMA = "dfer.prediction/1"
TABLE_SUFFIXES = (".jsonl", ".csv", ".parquet")

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class WindowPrediction:
    """What a model says about one face in one window of time.

    Attributes:
        source: The video.
        track: Number of the face's track in the source, from 0.
        start_seconds: Presentation time of the first frame of the window.
        end_seconds: Presentation time at which its last frame ends.
        label: The most probable class.
        confidence: Its probability.
        uncertain: Whether the confidence is below the threshold.
        probabilities: (K,) in the order of the label set.
        mean_box_xyxy_px: Mean face box: left, top, right, bottom in pixels of the source.
    """

    source: str
    track: int
    start_seconds: float
    end_seconds: float
    label: str
    confidence: float
    uncertain: bool
    probabilities: tuple[float, ...]
    mean_box_xyxy_px: Box

    def to_row(self, label_set: Sequence[str]) -> dict[str, Any]:
        """The flat row as it is written."""
        left, top, right, bottom = self.mean_box_xyxy_px
        return {
            "schema": PREDICTION_SCHEMA,
            "source": self.source,
            "track": self.track,
            "start_seconds": self.start_seconds,
            "end_seconds": self.end_seconds,
            "label": self.label,
            "confidence": self.confidence,
            "uncertain": self.uncertain,
            **{
                f"probability_{name}": value
                for name, value in zip(label_set, self.probabilities, strict=True)
            },
            "box_left_px": left,
            "box_top_px": top,
            "box_right_px": right,
            "box_bottom_px": bottom,
        }


def columns(label_set: Sequence[str]) -> list[str]:
    """The columns of a table of predictions, in order."""
    nothing = WindowPrediction("", 0, 0, 0, "", 0, False, (0.0,) * len(label_set), (0, 0, 0, 0))
    return list(nothing.to_row(label_set))


def check_table_path(path: Path) -> None:
    """Refuse a table whose name has no known suffix.

    Raises:
        ConfigError: another suffix than .jsonl, .csv or .parquet.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise ConfigError(f"--out takes a name in {', '.join(TABLE_SUFFIXES)}, got {path}")


def write_predictions(
    path: Path, predictions: Iterable[WindowPrediction], label_set: Sequence[str]
) -> None:
    """Write a table in the format of its name atomically.

    Raises:
        ConfigError: another suffix than .jsonl, .csv or .parquet.
        ArtifactError: the system refused the write.
    """
    check_table_path(path)
    rows = (prediction.to_row(label_set) for prediction in predictions)
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        write_rows(path, rows)
    elif suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, columns(label_set), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: safe_cell(cell) for name, cell in row.items()} for row in rows)
        write_text(path, text.getvalue())
    else:
        _write_parquet(path, list(rows), label_set)


def _write_parquet(path: Path, rows: list[dict[str, Any]], label_set: Sequence[str]) -> None:
    import pyarrow as pa  # a third of a second, for this one format
    import pyarrow.parquet as pq

    kinds = {
        **dict.fromkeys(("schema", "source", "label"), pa.string()),
        "track": pa.int64(),
        "uncertain": pa.bool_(),
    }
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in columns(label_set)])
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
