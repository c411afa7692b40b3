"""Tables of who shows what, and when: spans, summaries and the events of an experiment.

All rows are flat; the columns of the classes are called `probability_<class>`, the shares of time
`share_<class>`. Times are seconds of the video; `start_time` and the like are real time, ISO 8601,
if the video says when it was recorded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from dfercli.artifacts.tables import Columns, read_csv_rows
from dfercli.errors import ArtifactError
from dfercli.names import SourcePath
from dfercli.typed import Range, typed

SPAN_SCHEMA = "dfer.span/1"
SUMMARY_SCHEMA = "dfer.summary/1"
EVENT_SCHEMA = "dfer.event/1"

Level = Literal["person", "video"]
ByClass = dict[str, float | None]  # None where nobody is seen

SPAN_COLUMNS: Columns = {
    "schema": str,
    "source": str,
    "track": int,
    "person": str,
    "start_seconds": float,
    "end_seconds": float,
    "label": str,
    "confidence": float,
    "uncertain": bool,
    "start_time": str,
    "end_time": str,
}
SUMMARY_COLUMNS: Columns = {
    "schema": str,
    "source": str,
    "level": str,
    "track": int,
    "person": str,
    "num_faces": int,
    "start_seconds": float,
    "end_seconds": float,
    "length_seconds": float,
    "seen_seconds": float,
    "label": str,
    "num_changes": int,
    "uncertain_share": float,
    "strongest_label": str,
    "strongest_seconds": float,
    "strongest_confidence": float,
    "mean_face_px": float,
    "fps": float,
    "recorded_at": str,
    "failure": str,
    "notes": str,
}
EVENT_COLUMNS: Columns = {
    "schema": str,
    "source": str,
    "event": str,
    "start_seconds": float,
    "end_seconds": float,
    "track": int,
    "person": str,
    "seen_seconds": float,
    "label": str,
    "outside": bool,
}


@dataclass(frozen=True)
class SpanRow:
    """A span of time in which one class is the most probable one of a face.

    Attributes:
        source: The video.
        track: Number of the face's track.
        person: Name or number of the person in all videos, if people were told apart.
        start_seconds: Where it begins.
        end_seconds: Where it ends.
        label: The class.
        confidence: Its mean probability over that time.
        uncertain: Whether that is below the threshold.
        start_time: Real time of the beginning, if known.
        end_time: Of the end.
        probabilities: The mean of each class, by its name; empty in rows that were read.
    """

    source: Annotated[str, SourcePath()]
    track: Annotated[int, Range(0)]
    person: str | None
    start_seconds: float
    end_seconds: float
    label: str
    confidence: Annotated[float, Range(0, 1)]
    uncertain: bool
    start_time: str | None
    end_time: str | None
    probabilities: ByClass = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """The flat row as it is written."""
        return _flat(SPAN_SCHEMA, SPAN_COLUMNS, self, {"probability": self.probabilities})


@dataclass(frozen=True)
class SummaryRow:
    """What one person shows in a video, or all of them together.

    Attributes:
        source: The video.
        level: One person or the whole video.
        track: Of a person.
        person: Name or number in all videos, where people were told apart.
        num_faces: Number of persons in it.
        start_seconds: When a face is first seen; None without a face.
        end_seconds: When a face is last seen.
        length_seconds: Of the video.
        seen_seconds: How long the person, or any face, is seen.
        label: The class with the largest share of the time.
        num_changes: How often a person's most probable class changes, summed over persons.
        uncertain_share: Share of the seen time in spans below the confidence threshold.
        strongest_label: Class of the most confident window.
        strongest_seconds: Its middle.
        strongest_confidence: Its probability.
        mean_face_px: Mean over windows of the longer side of the face's box, in pixels.
        fps: Frames per second of the video.
        recorded_at: When it was recorded, from its metadata, ISO 8601.
        failure: Why it, or a part of it, could not be used.
        notes: In the row of a video: gaps and why, damage, faces that were left out, doubts.
        shares: Share of the seen time of each class.
        probabilities: Mean probability of each class over the seen time.
    """

    source: str
    level: Level
    track: int | None
    person: str | None
    num_faces: int
    start_seconds: float | None
    end_seconds: float | None
    length_seconds: float
    seen_seconds: float
    label: str | None
    num_changes: int
    uncertain_share: float | None
    strongest_label: str | None
    strongest_seconds: float | None
    strongest_confidence: float | None
    mean_face_px: float | None
    fps: float | None
    recorded_at: str | None
    failure: str | None
    notes: str | None
    shares: ByClass
    probabilities: ByClass

    def to_row(self) -> dict[str, Any]:
        """The flat row as it is written."""
        classes = {"share": self.shares, "probability": self.probabilities}
        return _flat(SUMMARY_SCHEMA, SUMMARY_COLUMNS, self, classes)


@dataclass(frozen=True)
class EventRow:
    """What one person shows during one event of an experiment.

    Attributes:
        source: The video.
        event: Name of the event.
        start_seconds: Its beginning in the video.
        end_seconds: Its end.
        track: The person; None where nobody is seen during it.
        person: Name or number in all videos, where people were told apart.
        seen_seconds: How long the person is seen during it.
        label: The class with the largest share of that time.
        outside: Whether no part of the event lies in the video, as far as its length is known.
        shares: Share of that time of each class.
        probabilities: Mean probability of each class over that time.
    """

    source: str
    event: str
    start_seconds: float
    end_seconds: float
    track: int | None
    person: str | None
    seen_seconds: float
    label: str | None
    outside: bool
    shares: ByClass
    probabilities: ByClass

    def to_row(self) -> dict[str, Any]:
        """The flat row as it is written."""
        classes = {"share": self.shares, "probability": self.probabilities}
        return _flat(EVENT_SCHEMA, EVENT_COLUMNS, self, classes)


def span_columns(label_set: Iterable[str]) -> Columns:
    """The columns of a table of spans, in order."""
    return _with_classes(SPAN_COLUMNS, ("probability",), label_set)


def summary_columns(label_set: Iterable[str]) -> Columns:
    """The columns of a summary, in order."""
    return _with_classes(SUMMARY_COLUMNS, ("share", "probability"), label_set)


def event_columns(label_set: Iterable[str]) -> Columns:
    """The columns of a table of events, in order."""
    return _with_classes(EVENT_COLUMNS, ("share", "probability"), label_set)


@dataclass(frozen=True)
class VideoRow:
    """The facts of a summary about a video itself.

    Attributes:
        source: The video.
        level: `video` in these rows.
        length_seconds: Its length.
        fps: Its frames per second.
        recorded_at: When it was recorded, ISO 8601.
        seen_seconds: How long any face is seen.
        failure: Why it, or a part of it, could not be used.
    """

    source: Annotated[str, SourcePath()]
    level: Level
    length_seconds: Annotated[float, Range(0)]
    fps: Annotated[float, Range(0.001)] | None
    recorded_at: str | None
    seen_seconds: Annotated[float, Range(0)] = 0.0
    failure: str | None = None


def read_spans(path: Path) -> Iterator[SpanRow]:
    """Read a table of spans in CSV, row by row.

    Raises:
        ArtifactError: the file or a row is broken, or a span ends before it starts; the message
            names the line.
    """
    for where, cells in read_csv_rows(path, SPAN_COLUMNS):
        span: SpanRow = typed(SpanRow, cells, where, schema=SPAN_SCHEMA)
        if span.end_seconds < span.start_seconds:
            raise ArtifactError(
                f"{where}: the span ends at {span.end_seconds:g} s, before it starts at "
                f"{span.start_seconds:g} s"
            )
        yield span


def read_videos(path: Path) -> Iterator[VideoRow]:
    """Read the rows of the videos in a summary in CSV.

    Raises:
        ArtifactError: the file or a row is broken; the message names the line and the column.
    """
    for where, cells in read_csv_rows(path, SUMMARY_COLUMNS):
        row: VideoRow = typed(VideoRow, cells, where, schema=SUMMARY_SCHEMA)
        if row.level == "video":
            yield row


def _with_classes(columns: Columns, kinds: Sequence[str], label_set: Iterable[str]) -> Columns:
    names = list(label_set)
    return {**columns, **{f"{kind}_{name}": float for kind in kinds for name in names}}


def _flat(
    schema: str, columns: Columns, row: object, classes: Mapping[str, ByClass]
) -> dict[str, Any]:
    return {
        "schema": schema,
        **{name: getattr(row, name) for name in columns if name != "schema"},
        **{f"{kind}_{name}": one for kind, of in classes.items() for name, one in of.items()},
    }
