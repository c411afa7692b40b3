"""The expressions of people in a video as rows: spans, a summary, and events."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.predictions import WindowPrediction
from dfercli.artifacts.timelines import ByClass, EventRow, Level, SpanRow, SummaryRow
from dfercli.report.timeline import Span, Timeline, spans_of, strongest_seconds

if TYPE_CHECKING:
    from dfercli.report.video_prediction import VideoPrediction


@dataclass(frozen=True)
class Event:
    """An event of an experiment.

    Attributes:
        source: The video, by the name that predictions have.
        name: Of the event.
        start_seconds: Its beginning in the video.
        end_seconds: Its end.
    """

    source: str
    name: str
    start_seconds: float
    end_seconds: float


def span_rows(video: "VideoPrediction") -> list[SpanRow]:
    """Who shows what, and when: by track, then by time."""
    return [_span_row(video, span) for span in video.expression_spans()]


def summary_rows(video: "VideoPrediction") -> list[SummaryRow]:
    """A row for the video, then one for each person by track."""
    timelines = video.timelines()
    persons = [_summary_row(video, "person", [timeline]) for timeline in timelines]
    return [_summary_row(video, "video", timelines), *persons]


def event_rows(video: "VideoPrediction", events: Iterable[Event]) -> list[EventRow]:
    """The expressions of each person during each event; a row without a person if none is seen.

    Args:
        video: The predictions.
        events: Those of other videos are left out.
    """
    timelines = video.timelines()
    rows = []
    for event in events:
        if event.source != video.source:
            continue
        cuts = [(one.track, _cut(one, event.start_seconds, event.end_seconds)) for one in timelines]
        seen = [(track, _course([part])) for track, part in cuts if part is not None]
        rows += [_event_row(video, event, track, course) for track, course in seen]
        if not seen:
            rows.append(_event_row(video, event, None, None))
    return rows


def real_time(recorded_at: datetime | None, seconds: float) -> str | None:
    """The real time of a moment of a video, ISO 8601 with milliseconds; None where unknown."""
    if recorded_at is None:
        return None
    return (recorded_at + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class _Course:
    """The expressions of one or several persons.

    Attributes:
        seconds: In all.
        shares: (K,) of the time, of each class that is the most probable one.
        means: (K,) mean probabilities over the time.
    """

    seconds: float
    shares: NDArray[np.float64]
    means: NDArray[np.float64]


def _course(timelines: Sequence[Timeline]) -> _Course:
    lengths, rows = [], []
    for timeline in timelines:
        seen = timeline.is_seen
        lengths.append(np.diff(timeline.edges_seconds)[seen])
        rows.append(timeline.probabilities[seen])
    weights, values = np.concatenate(lengths), np.concatenate(rows)  # (M,), (M, K)
    seconds = float(weights.sum())
    of_class = np.bincount(values.argmax(axis=1), weights, minlength=values.shape[1])
    return _Course(seconds, of_class / seconds, weights @ values / seconds)


def _cut(timeline: Timeline, start: float, end: float) -> Timeline | None:
    """The part of a timeline between two times; None if the face is not seen then."""
    edges = timeline.edges_seconds.clip(start, end)
    keeps = np.diff(edges) > 0
    if not (keeps & timeline.is_seen).any():
        return None
    chosen = np.flatnonzero(keeps)
    inner = edges[chosen[0] : chosen[-1] + 2]
    return Timeline(timeline.track, inner, timeline.probabilities[chosen])


def _span_row(video: "VideoPrediction", span: Span) -> SpanRow:
    best = int(span.probabilities.argmax())
    confidence = float(span.probabilities[best])
    return SpanRow(
        source=video.source,
        track=span.track,
        person=video.people.get(span.track),
        start_seconds=span.start_seconds,
        end_seconds=span.end_seconds,
        label=video.label_set[best],
        confidence=confidence,
        uncertain=confidence < video.min_confidence,
        start_time=real_time(video.recorded_at, span.start_seconds),
        end_time=real_time(video.recorded_at, span.end_seconds),
        probabilities=_by_class(video, span.probabilities),
    )


def _notes(video: "VideoPrediction") -> str | None:
    return "; ".join(filter(None, (video.gap_line(), *video.remarks))) or None


def _summary_row(video: "VideoPrediction", level: Level, timelines: list[Timeline]) -> SummaryRow:
    tracks = {timeline.track for timeline in timelines}
    track = timelines[0].track if level == "person" else None
    windows = [window for window in video.predictions if window.track in tracks]
    course = _course(timelines) if timelines else None
    spans = [spans_of(timeline) for timeline in timelines]
    failure = video.failure
    best = max(windows, key=lambda window: window.confidence, default=None)
    return SummaryRow(
        source=video.source,
        level=level,
        track=track,
        person=None if track is None else video.people.get(track),
        num_faces=len(timelines),
        start_seconds=min((float(one.edges_seconds[0]) for one in timelines), default=None),
        end_seconds=max((float(one.edges_seconds[-1]) for one in timelines), default=None),
        length_seconds=video.length_seconds,
        seen_seconds=_seen_seconds(windows),
        label=_most(video, course),
        num_changes=sum(map(_changes, spans)),
        uncertain_share=_uncertain_share(video, spans, course),
        strongest_label=None if best is None else best.label,
        strongest_seconds=None
        if best is None
        else strongest_seconds(best, itertools.chain(*spans)),
        strongest_confidence=None if best is None else best.confidence,
        mean_face_px=float(np.mean([_side_px(window) for window in windows])) if windows else None,
        fps=video.fps,
        recorded_at=real_time(video.recorded_at, 0.0),
        failure=None if failure is None else f"{failure.stage}: {failure.reason}",
        notes=_notes(video) if level == "video" else None,
        shares=_by_class(video, None if course is None else course.shares),
        probabilities=_by_class(video, None if course is None else course.means),
    )


def _event_row(
    video: "VideoPrediction", event: Event, track: int | None, course: _Course | None
) -> EventRow:
    return EventRow(
        source=video.source,
        event=event.name,
        start_seconds=event.start_seconds,
        end_seconds=event.end_seconds,
        track=track,
        person=None if track is None else video.people.get(track),
        seen_seconds=course.seconds if course is not None else 0.0,
        label=_most(video, course),
        outside=_is_outside(video, event),
        shares=_by_class(video, None if course is None else course.shares),
        probabilities=_by_class(video, None if course is None else course.means),
    )


def _is_outside(video: "VideoPrediction", event: Event) -> bool:
    after = video.length_is_known and event.start_seconds >= video.length_seconds
    return after or event.end_seconds <= 0


def _most(video: "VideoPrediction", course: _Course | None) -> str | None:
    return None if course is None else video.label_set[int(course.shares.argmax())]


def _by_class(video: "VideoPrediction", values: NDArray[np.float64] | None) -> ByClass:
    numbers = [None] * len(video.label_set) if values is None else values.tolist()
    return dict(zip(video.label_set, numbers, strict=True))


def _changes(spans: Sequence[Span]) -> int:
    """How often the most probable class changes, gaps left out."""
    labels = [int(span.probabilities.argmax()) for span in spans]
    return sum(one != other for one, other in itertools.pairwise(labels))


def _uncertain_share(
    video: "VideoPrediction", spans: Iterable[Sequence[Span]], course: _Course | None
) -> float | None:
    if course is None:
        return None
    doubtful = sum(
        span.end_seconds - span.start_seconds
        for of_track in spans
        for span in of_track
        if span.probabilities.max() < video.min_confidence
    )
    return float(doubtful / course.seconds)


def _seen_seconds(windows: Iterable[WindowPrediction]) -> float:
    """The time that any of the windows covers."""
    seconds, reached = 0.0, -math.inf
    for start, end in sorted((one.start_seconds, one.end_seconds) for one in windows):
        seconds += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return seconds


def _side_px(window: WindowPrediction) -> float:
    left, top, right, bottom = window.mean_box_xyxy_px
    return max(right - left, bottom - top)
