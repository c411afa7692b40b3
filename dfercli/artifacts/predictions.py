"""Predictions on videos: one row per face track and window, as JSONL, CSV or Parquet.

All three hold the same flat rows; the columns of the classes are called `probability_<class>`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfercli.artifacts.tables import write_table

PREDICTION_SCHEMA = "dfer.prediction/1"

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
        person: Name or number of who it is in all sources, where people were told apart.
        streams: The streams that the model saw of the window.
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
    person: str | None = None
    streams: tuple[str, ...] = ("frames",)

    def to_row(self, label_set: Sequence[str]) -> dict[str, Any]:
        """The flat row as it is written."""
        left, top, right, bottom = self.mean_box_xyxy_px
        return {
            "schema": PREDICTION_SCHEMA,
            "source": self.source,
            "track": self.track,
            "person": self.person,
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
            "streams": "+".join(self.streams),
        }


def columns(label_set: Sequence[str]) -> dict[str, type]:
    """The columns of a table of predictions, in order, and what they hold."""
    none = (0.0,) * len(label_set)
    nothing = WindowPrediction("", 0, 0.0, 0.0, "", 0.0, False, none, (0.0,) * 4, person="")
    return {name: type(value) for name, value in nothing.to_row(label_set).items()}


def write_predictions(
    path: Path, predictions: Iterable[WindowPrediction], label_set: Sequence[str]
) -> None:
    """Write a table in the format of its name atomically.

    Raises:
        ConfigError: another suffix than .jsonl, .csv or .parquet.
        ArtifactError: the system refused the write.
    """
    rows = (prediction.to_row(label_set) for prediction in predictions)
    write_table(path, rows, columns(label_set))
