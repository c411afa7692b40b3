"""From overlapping windows to one timeline per face: intervals, spans, means and gaps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.predictions import WindowPrediction

SHORTEST_GAP_SECONDS = 0.05

Interval = tuple[float, float]


@dataclass(frozen=True)
class Timeline:
    """The expressions of one face in M consecutive intervals of time.

    Attributes:
        track: Number of the face's track.
        edges_seconds: (M + 1,) float64, ascending.
        probabilities: (M, K) float64, the mean of the windows over each interval; nan in an
            interval in which the face was not seen.
    """

    track: int
    edges_seconds: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        """(M,) whether the face was seen in each interval."""
        return ~np.isnan(self.probabilities[:, 0])

    @property
    def seen_seconds(self) -> float:
        """How long the face was seen."""
        return float(np.diff(self.edges_seconds)[self.is_seen].sum())

    def mean(self) -> NDArray[np.float64]:
        """(K,) the mean over the time in which the face was seen."""
        seen = self.is_seen
        weights = np.diff(self.edges_seconds)[seen]
        return np.average(self.probabilities[seen], axis=0, weights=weights)

    def at(self, seconds: float) -> NDArray[np.float64] | None:
        """(K,) at one moment, None where the face was not seen."""
        index = int(np.searchsorted(self.edges_seconds, seconds, side="right")) - 1
        if 0 <= index < len(self.probabilities) and self.is_seen[index]:
            row: NDArray[np.float64] = self.probabilities[index]
            return row
        return None


@dataclass(frozen=True)
class Span:
    """A span of time in which one class is the most probable one of a face.

    Attributes:
        track: Number of the face's track.
        start_seconds: Where it begins.
        end_seconds: Where it ends.
        probabilities: (K,) mean over that time.
    """

    track: int
    start_seconds: float
    end_seconds: float
    probabilities: NDArray[np.float64]


def called(person: str | None, track: int) -> str:
    """The name of a face: its person, if people were told apart, else its track."""
    if person is None:
        return f"face {track}"
    return f"person {person}" if person.isdecimal() else person


def build_timelines(predictions: Iterable[WindowPrediction]) -> list[Timeline]:
    """The timelines of all tracks of one source, in order of track."""
    by_track: dict[int, list[WindowPrediction]] = {}
    for prediction in predictions:
        by_track.setdefault(prediction.track, []).append(prediction)
    return [_build(track, windows) for track, windows in sorted(by_track.items())]


def _build(track: int, windows: Sequence[WindowPrediction]) -> Timeline:
    starts = np.array([window.start_seconds for window in windows])
    ends = np.array([window.end_seconds for window in windows])
    values = np.array([window.probabilities for window in windows])  # (W, K)
    edges = np.unique(np.concatenate([starts, ends]))
    first, last = np.searchsorted(edges, starts), np.searchsorted(edges, ends)
    sums = np.zeros((len(edges), values.shape[1]))
    counts = np.zeros(len(edges), np.int64)
    np.add.at(sums, first, values)
    np.add.at(sums, last, -values)
    np.add.at(counts, first, 1)
    np.add.at(counts, last, -1)
    covering = np.cumsum(counts)[:-1]
    means = np.full((len(edges) - 1, values.shape[1]), np.nan)
    seen = covering > 0
    means[seen] = np.cumsum(sums, axis=0)[:-1][seen] / covering[seen, None]
    return Timeline(track, edges, means)


def spans_of(timeline: Timeline) -> list[Span]:
    """Join neighbouring intervals that have the same most probable class."""
    seen = timeline.is_seen
    best = np.where(seen, np.nan_to_num(timeline.probabilities).argmax(axis=1), -1)
    changes = (np.flatnonzero(np.diff(best)) + 1).tolist()
    edges, lengths = timeline.edges_seconds, np.diff(timeline.edges_seconds)
    spans = []
    for low, high in zip([0, *changes], [*changes, len(best)], strict=True):
        if best[low] >= 0:
            mean = np.average(timeline.probabilities[low:high], axis=0, weights=lengths[low:high])
            spans.append(Span(timeline.track, float(edges[low]), float(edges[high]), mean))
    return spans


def all_spans(predictions: Iterable[WindowPrediction]) -> list[Span]:
    """The spans of all tracks."""
    return [span for timeline in build_timelines(predictions) for span in spans_of(timeline)]


def strongest_seconds(window: WindowPrediction, spans: Iterable[Span]) -> float:
    """The moment that stands for a window: inside a span of its own class if it meets one.

    It is the middle of the window where that lies in such a span, else the middle of the longest
    time that the window shares with one. Neighbouring windows may outvote it everywhere; then it is
    the middle as well.

    Args:
        window: The prediction.
        spans: Of the same source; those of other tracks are left out.
    """
    middle = (window.start_seconds + window.end_seconds) / 2
    label = int(np.argmax(window.probabilities))
    shared = [
        (max(span.start_seconds, window.start_seconds), min(span.end_seconds, window.end_seconds))
        for span in spans
        if span.track == window.track and int(span.probabilities.argmax()) == label
    ]
    if any(start <= middle < end for start, end in shared):
        return middle
    start, end = max(shared, key=lambda one: one[1] - one[0], default=(middle, middle))
    return (start + end) / 2 if start < end else middle


def gaps_of(predictions: Iterable[WindowPrediction], start: float, end: float) -> list[Interval]:
    """Stretches between `start` and `end` in which no face was seen at all."""
    gaps, reached = [], start
    for window in sorted(predictions, key=lambda window: window.start_seconds):
        if window.start_seconds - reached > SHORTEST_GAP_SECONDS:
            gaps.append((reached, window.start_seconds))
        reached = max(reached, window.end_seconds)
    if end - reached > SHORTEST_GAP_SECONDS:
        gaps.append((reached, end))
    return gaps
