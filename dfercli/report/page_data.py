"""The data of a video for the page of `dfer predict --html`, as small JSON values.

Times are whole milliseconds, probabilities whole thousandths, and a class is its number.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfercli.report.timeline import Span, Timeline, spans_of
from dfercli.report.video_prediction import FaceTrace, Moment, VideoPrediction

MOST_TRACKS = 40  # those seen longest; the table of predictions holds all
MOST_STRIPS = 3  # people in the small timeline of a video
MOST_PARTS = 40  # of such a strip
MOST_GAPS = 200
# For the whole page: one of very many or very long videos still opens at once.
ALL_INTERVALS, ALL_SPANS, ALL_BOXES = 400_000, 100_000, 400_000
ALL_PICTURE_BYTES = 14_000_000
LEAST_BOXES_PER_SECOND = 2.0  # a box drawn between others further apart would miss the face


@dataclass(frozen=True)
class PageVideo:
    """One video of the page.

    Attributes:
        prediction: The predictions.
        length_seconds: Its length.
        player: Address of the video, relative to the page or embedded; None shows no player.
        note: The note about the player.
        offset_seconds: The moment of the source at which the player's video begins.
    """

    prediction: VideoPrediction
    length_seconds: float
    player: str | None
    note: str
    offset_seconds: float = 0.0


@dataclass(frozen=True)
class PageRoom:
    """The room on a page for one video or track.

    Attributes:
        intervals: Of a track's timeline; more are averaged.
        spans: Of a video.
        boxes: Of a track.
        picture_bytes: Of a video.
    """

    intervals: int
    spans: int
    boxes: int
    picture_bytes: int


def room_for(videos: Sequence[VideoPrediction]) -> PageRoom:
    """Share the page among its videos and their faces."""
    tracks = sum(
        min(MOST_TRACKS, len({window.track for window in video.predictions})) for video in videos
    )
    return PageRoom(
        intervals=min(max(ALL_INTERVALS // max(1, tracks), 60), 7200),
        spans=min(max(ALL_SPANS // max(1, len(videos)), 50), 2000),
        boxes=ALL_BOXES // max(1, tracks),
        picture_bytes=ALL_PICTURE_BYTES // max(1, len(videos)),
    )


def video_section(video: PageVideo, min_confidence: float, room: PageRoom) -> dict[str, Any]:
    """The data of the page for one video.

    Args:
        video: The predictions, and how to play the video.
        min_confidence: Below it a stretch is marked as uncertain.
        room: The room for it.
    """
    found = video.prediction
    every = sorted(found.timelines(), key=lambda timeline: (-timeline.seen_seconds, timeline.track))
    shown = every[:MOST_TRACKS]
    spans = [span for timeline in shown for span in spans_of(timeline)]
    spans.sort(key=lambda span: (span.start_seconds, span.track))
    ends = [float(timeline.edges_seconds[-1]) for timeline in shown]
    length = max([video.length_seconds, *ends, 0.1])
    traces = {trace.track: trace for trace in found.traces}
    pictures = _Pictures(room.picture_bytes)
    portraits = [pictures.portrait(traces.get(timeline.track)) for timeline in shown]
    moments = [_moment(moment, found.label_set, pictures) for moment in found.moments]
    return {
        "name": found.source,
        "length": _ms(length),
        "player": video.player,
        "note": video.note,
        "offset": _ms(video.offset_seconds),
        "nobody": nobody_seen(found),
        "drawn": found.annotated is not None,
        "failure": _failure(found),
        "threshold": round(1000 * min_confidence),
        "people": [
            {
                **_person(timeline, room.intervals),
                "person": found.people.get(timeline.track),
                "portrait": portrait,
                "pictures": pictures.all_of(traces.get(timeline.track)),
                "boxes": _boxes(traces.get(timeline.track), room.boxes),
            }
            for timeline, portrait in zip(shown, portraits, strict=True)
        ],
        "left_out": len(every) - len(shown),
        "gaps": [
            [_ms(start), _ms(end), reason]
            for (start, end), reason in zip(found.gaps, found.reasons(), strict=False)
        ][:MOST_GAPS],
        "remarks": list(found.remarks),
        "moments": moments,
        "spans": [_span(span) for span in spans[: room.spans]],
        "spans_left_out": max(0, len(spans) - room.spans),
        "summary": _summary(found, every, spans, length),
    }


def nobody_seen(found: VideoPrediction) -> bool:
    """Whether a video is fine except that it shows no kept face."""
    return not found.predictions and (found.failure is None or found.failure.stage == "faces")


def _failure(found: VideoPrediction) -> str | None:
    if found.failure is None:
        return None
    if nobody_seen(found):
        return found.failure.reason
    return f"{found.failure.stage}: {found.failure.reason}"


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def _span(span: Span) -> list[int]:
    """Track, start, end, class and probability."""
    best = int(span.probabilities.argmax())
    sure = round(1000 * float(span.probabilities[best]))
    return [span.track, _ms(span.start_seconds), _ms(span.end_seconds), best, sure]


def _summary(
    found: VideoPrediction, every: Sequence[Timeline], shown: Sequence[Span], length: float
) -> dict[str, Any]:
    """A video's row in the list of videos."""
    shares = np.zeros(len(found.label_set))
    for timeline in every:
        for span in spans_of(timeline):
            shares[int(span.probabilities.argmax())] += span.end_seconds - span.start_seconds
    return {
        "name": found.source,
        "folder": PurePath(found.source).parent.name,
        "length": _ms(length),
        "people": len(every),
        "seen": _ms(float(shares.sum())),
        "shares": [round(float(share)) for share in 1000 * shares / max(shares.sum(), 1e-9)],
        "failure": _failure(found),
        "nobody": nobody_seen(found),
        "remarks": len(found.remarks),
        "strips": [
            [_span(span)[1:4] for span in shown if span.track == timeline.track][:MOST_PARTS]
            for timeline in every[:MOST_STRIPS]
        ],
    }


def _person(timeline: Timeline, most: int) -> dict[str, Any]:
    edges, rows = thinned(timeline, most)
    return {
        "track": timeline.track,
        "seen": _ms(timeline.seen_seconds),
        "mean": _thousandths(timeline.mean()),
        "edges": [_ms(float(edge)) for edge in edges],
        "rows": [0 if np.isnan(row[0]) else _thousandths(row) for row in rows],
    }


def _thousandths(row: NDArray[np.float64]) -> list[int]:
    return [round(float(value)) for value in 1000 * row]


def thinned(timeline: Timeline, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A timeline of at most `most` intervals, each the mean of what it joins.

    Returns:
        Edges (M + 1,) in seconds, and probabilities (M, K); nan where the face is mostly not seen.
    """
    edges, rows = timeline.edges_seconds, timeline.probabilities
    if len(rows) <= most:
        return edges, rows
    coarse = np.linspace(edges[0], edges[-1], most + 1)
    lengths = np.diff(edges) * timeline.is_seen
    seen = _between(coarse, edges, lengths)
    sums = [_between(coarse, edges, lengths * column) for column in np.nan_to_num(rows).T]
    means = np.stack(sums, axis=1) / np.maximum(seen, 1e-9)[:, None]
    means[seen < np.diff(coarse) / 2] = np.nan
    return coarse, means


def _between(
    coarse: NDArray[np.float64], edges: NDArray[np.float64], amounts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The amounts between coarse edges, if those of intervals are spread evenly over them."""
    reached = np.concatenate([[0.0], np.cumsum(amounts)])
    return np.diff(np.interp(coarse, edges, reached))


def _boxes(trace: FaceTrace | None, most: int) -> list[list[int]]:
    """The boxes of a face, fewer if there is little room; none if too few would be left."""
    if trace is None or not trace.boxes:
        return []
    step = -(-len(trace.boxes) // max(1, most))
    kept = trace.boxes[::step]
    seconds = (trace.boxes[-1][0] - trace.boxes[0][0]) / 1000
    if step > 1 and len(kept) < LEAST_BOXES_PER_SECOND * seconds:
        return []
    return [list(box) for box in kept]


class _Pictures:
    """Hands out pictures as base64 while there is room: portraits first, then moments."""

    def __init__(self, room_bytes: int) -> None:
        self._left = room_bytes

    def take(self, jpeg: bytes) -> str | None:
        if len(jpeg) > self._left:
            return None
        self._left -= len(jpeg)
        return base64.b64encode(jpeg).decode()

    def portrait(self, trace: FaceTrace | None) -> str | None:
        if trace is None or not trace.pictures:
            return None
        return self.take(trace.pictures[min(trace.best, len(trace.pictures) - 1)].jpeg)

    def all_of(self, trace: FaceTrace | None) -> list[list[Any]]:
        """(time, picture) of those for which there is room."""
        shown = () if trace is None else trace.pictures
        taken = [(one.seconds, self.take(one.jpeg)) for one in shown]
        return [[_ms(seconds), image] for seconds, image in taken if image is not None]


def _moment(moment: Moment, label_set: Sequence[str], pictures: _Pictures) -> dict[str, Any]:
    return {
        "track": moment.track,
        "at": _ms(moment.seconds),
        "label": label_set.index(moment.label),
        "sure": round(1000 * moment.confidence),
        "picture": pictures.take(moment.jpeg),
    }
