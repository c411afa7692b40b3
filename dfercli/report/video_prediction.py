"""The results of one video: predictions, timelines, gaps and strongest moments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dfercli.artifacts.face_store import FailureRow
from dfercli.artifacts.predictions import WindowPrediction, columns
from dfercli.artifacts.timelines import span_columns, summary_columns
from dfercli.report.summary import span_rows, summary_rows
from dfercli.report.timeline import Interval, Span, Timeline, build_timelines, spans_of

if TYPE_CHECKING:
    import pandas as pd

    from dfercli.report.timeline_plot import TimelineFigure

GAPS_SHOWN = 5


@dataclass(frozen=True)
class Moment:
    """A face at the moment at which the model was most confident of a class.

    Attributes:
        track: Number of the face's track.
        seconds: Presentation time.
        label: The class.
        confidence: Its probability.
        jpeg: The face crop.
    """

    track: int
    seconds: float
    label: str
    confidence: float
    jpeg: bytes


@dataclass(frozen=True)
class Picture:
    """A face crop.

    Attributes:
        seconds: Presentation time.
        jpeg: The crop, square.
    """

    seconds: float
    jpeg: bytes


@dataclass(frozen=True)
class FaceTrace:
    """The look and place of one face, at some of the times at which it is seen.

    Attributes:
        track: Number of the face's track.
        pictures: Crops, by time.
        best: Index of the best picture.
        boxes: Time in ms, left, top, right and bottom in pixels of the source, by time.
    """

    track: int
    pictures: tuple[Picture, ...]
    best: int
    boxes: tuple[tuple[int, int, int, int, int], ...]


@dataclass(frozen=True)
class VideoPrediction:
    """The predictions for the faces of one video.

    Attributes:
        source: The video, as a path relative to the current folder if it lies below it.
        label_set: The K class names.
        predictions: One per face track and window, by track, then by time.
        gaps: Stretches (start, end) in seconds in which no face was seen.
        gap_reasons: Why, for each of them.
        remarks: Damage, faces that were left out, and doubts about who is who, one line each.
        portraits: By track, the numbers that describe its face, if requested.
        failure: Why the video, or a part of it, could not be used; else None.
        moments: The strongest moments with their crops, if a report needs them.
        traces: The faces through time, if a report needs them.
        annotated: Path of the annotated video, if one was written.
        detector: Name of the face detector; None if no face was found.
        min_confidence: Below it a span is uncertain.
        length_seconds: Length of the video; if unknown, the end of the predictions.
        length_is_known: Whether the video says its length.
        fps: Its frames per second, if it has any.
        recorded_at: When it was recorded, if it says so.
        signature: See `source_signature`, of when its faces were found; None where it is not read.
    """

    source: str
    label_set: tuple[str, ...]
    predictions: tuple[WindowPrediction, ...]
    gaps: tuple[Interval, ...] = ()
    failure: FailureRow | None = None
    moments: tuple[Moment, ...] = ()
    annotated: str | None = None
    detector: str | None = None
    gap_reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    min_confidence: float = 0.0
    length_seconds: float = 0.0
    length_is_known: bool = False
    fps: float | None = None
    recorded_at: datetime | None = None
    traces: tuple[FaceTrace, ...] = ()
    portraits: Mapping[int, Sequence[float]] = field(default_factory=dict)
    signature: tuple[int, int] | None = None

    @cached_property
    def people(self) -> dict[int, str]:
        """The name or number of the person of each track, if people were told apart."""
        return {one.track: one.person for one in self.predictions if one.person is not None}

    def reasons(self) -> list[str]:
        """Why no face was seen, for each gap, as far as known."""
        return [*self.gap_reasons, *["no face found"] * (len(self.gaps) - len(self.gap_reasons))]

    def gap_line(self) -> str | None:
        """When no face is seen, and why: the first gaps as a sentence; None without a gap."""
        shown = ", ".join(
            f"{start:.2f} to {end:.2f} s ({reason})"
            for (start, end), reason in zip(self.gaps[:GAPS_SHOWN], self.reasons(), strict=False)
        )
        more = len(self.gaps) - GAPS_SHOWN
        return f"no face seen from {shown}{f' and {more} more' * (more > 0)}" if shown else None

    def timelines(self) -> list[Timeline]:
        """One timeline per face track."""
        return build_timelines(self.predictions)

    def expression_spans(self) -> list[Span]:
        """Who shows what, and when: by track, then by time."""
        return [span for timeline in self.timelines() for span in spans_of(timeline)]

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per face track and window, with the columns of `dfer predict --out`."""
        import pandas as pd

        rows = [prediction.to_row(self.label_set) for prediction in self.predictions]
        return pd.DataFrame(rows, columns=list(columns(self.label_set)))

    def spans(self) -> "pd.DataFrame":
        """A row for each stretch in which a person shows the same expression.

        The columns are those of `dfer predict --spans`.
        """
        import pandas as pd

        rows = [row.to_row() for row in span_rows(self)]
        return pd.DataFrame(rows, columns=list(span_columns(self.label_set)))

    def summary(self) -> "pd.DataFrame":
        """A row for the video, then one per person; the columns of `dfer predict --summary`."""
        import pandas as pd

        rows = [row.to_row() for row in summary_rows(self)]
        return pd.DataFrame(rows, columns=list(summary_columns(self.label_set)))

    def plot(self) -> "TimelineFigure":
        """The timeline as a matplotlib figure: a lane per face, doubtful spans hatched."""
        from dfercli.report.timeline_plot import plot_timeline

        return plot_timeline(self)

    def _repr_html_(self) -> str:
        from dfercli.report.notebook import notebook_html

        return notebook_html(self)

    def _repr_png_(self) -> bytes:
        from dfercli.report.timeline_plot import plot_timeline, png_of

        return png_of(plot_timeline(self))

    def to_json(self) -> dict[str, Any]:
        """The summary: per track its mean over time; gaps; the failure."""
        tracks = []
        people = self.people
        for timeline in self.timelines():
            mean = dict(zip(self.label_set, timeline.mean().tolist(), strict=True))
            label = max(mean, key=mean.__getitem__)
            tracks.append(
                {
                    "track": timeline.track,
                    "person": people.get(timeline.track),
                    "start_seconds": float(timeline.edges_seconds[0]),
                    "end_seconds": float(timeline.edges_seconds[-1]),
                    "seen_seconds": timeline.seen_seconds,
                    "label": label,
                    "confidence": mean[label],
                    "probabilities": mean,
                }
            )
        return {
            "source": self.source,
            "tracks": tracks,
            "gaps_seconds": [list(gap) for gap in self.gaps],
            "gap_reasons": list(self.gap_reasons),
            "remarks": list(self.remarks),
            "failure": self.failure and self.failure.to_row(),
        }
