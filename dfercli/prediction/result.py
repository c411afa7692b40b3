"""What `dfer predict` found."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dfercli.artifacts.face_store import FailureRow
from dfercli.artifacts.predictions import WindowPrediction
from dfercli.artifacts.timelines import EventRow, SpanRow, SummaryRow
from dfercli.inference.choose_model import ChosenModel
from dfercli.report.summary import span_rows, summary_rows
from dfercli.report.video_prediction import VideoPrediction


@dataclass(frozen=True)
class PredictResult:
    """What `dfer predict` found.

    Attributes:
        model: The model that was used.
        videos: One per source, by name.
        min_confidence: The threshold below which a prediction counts as uncertain.
        events: What persons show during the events of `--clock`.
        precision: That the model computed in; None where nothing was left to compute.
    """

    model: ChosenModel
    videos: tuple[VideoPrediction, ...]
    min_confidence: float
    events: tuple[EventRow, ...] = ()
    precision: str | None = None

    @property
    def failures(self) -> tuple[FailureRow, ...]:
        """Why sources could not be used, wholly or in part."""
        return tuple(video.failure for video in self.videos if video.failure is not None)

    def predictions(self) -> Iterator[WindowPrediction]:
        """All predictions, by source, track and time."""
        for video in self.videos:
            yield from video.predictions

    def spans(self) -> Iterator[SpanRow]:
        """Who shows what, and when: by source, track and time."""
        for video in self.videos:
            yield from span_rows(video)

    def summary(self) -> Iterator[SummaryRow]:
        """A row per video, each followed by those of its persons."""
        for video in self.videos:
            yield from summary_rows(video)

    def to_json(self) -> dict[str, Any]:
        """What `dfer predict --json` prints."""
        labels = self.model.label_set
        return {
            "model": self.model.name,
            "label_set": list(labels),
            "min_confidence": self.min_confidence,
            "precision": self.precision,
            "predictions": [prediction.to_row(labels) for prediction in self.predictions()],
            "spans": [span.to_row() for span in self.spans()],
            "summary": [row.to_row() for row in self.summary()],
            "events": [row.to_row() for row in self.events],
            "videos": [video.to_json() for video in self.videos],
            "failures": [failure.to_row() for failure in self.failures],
        }
