"""The page of `dfer predict --html`: player, timelines, strongest moments, table, model card."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfercli.artifacts.atomic import write_text
from dfercli.artifacts.model_card import ModelCard
from dfercli.report.card import card_rows
from dfercli.report.colours import class_colours
from dfercli.report.pages import clock, render
from dfercli.report.timeline import Timeline, spans_of
from dfercli.report.video_prediction import VideoPrediction

MOST_INTERVALS = 600  # of a timeline; longer ones are averaged, as no screen shows more
MOST_TRACKS = 40  # those that are seen longest; the table of predictions holds all
MOST_SPANS = 500
MOST_GAPS = 12


@dataclass(frozen=True)
class PageVideo:
    """One video of the page.

    Attributes:
        prediction: What was found.
        length_seconds: Its length.
        player: Address of the video, relative to the page or embedded; None shows no player.
        note: What to say about the player.
    """

    prediction: VideoPrediction
    length_seconds: float
    player: str | None
    note: str


def write_prediction_page(
    path: Path,
    videos: Sequence[dict[str, Any]],
    *,
    label_set: Sequence[str],
    card: ModelCard,
    model_name: str,
    settings: Sequence[tuple[str, str]],
) -> None:
    """Write the page atomically.

    Args:
        path: The HTML file.
        videos: From `video_section`, in the order to show them.
        label_set: The K class names.
        card: Of the model.
        model_name: Where the model came from.
        settings: (name, value) rows to show.
    """
    html = render(
        "predictions.html",
        "Facial expressions over time",
        videos=videos,
        label_set=label_set,
        colours=class_colours(label_set),
        model_name=model_name,
        settings=settings,
        card=card_rows(card),
    )
    write_text(path, html)


def video_section(video: PageVideo, min_confidence: float) -> dict[str, Any]:
    """What the page's template shows of one video.

    Args:
        video: What was found, and how to play it.
        min_confidence: Below it a span is marked as uncertain.
    """
    found = video.prediction
    people = found.people
    every_timeline = found.timelines()
    longest = sorted(every_timeline, key=lambda timeline: -timeline.seen_seconds)[:MOST_TRACKS]
    timelines = sorted(longest, key=lambda timeline: timeline.track)
    spans = [span for timeline in timelines for span in spans_of(timeline)]
    ends = [float(timeline.edges_seconds[-1]) for timeline in timelines]
    length = max([video.length_seconds, *ends, 0.1])
    gaps = [
        f"{clock(start)} to {clock(end)} ({reason})"
        for (start, end), reason in zip(found.gaps[:MOST_GAPS], found.reasons(), strict=False)
    ]
    if len(found.gaps) > MOST_GAPS:
        gaps.append(f"{len(found.gaps) - MOST_GAPS} more")
    return {
        "name": found.source,
        "length_seconds": length,
        "player": video.player,
        "note": video.note,
        "failure": found.failure and f"{found.failure.stage}: {found.failure.reason}",
        "tracks": [
            {**_track(timeline, found.label_set, length), "person": people.get(timeline.track)}
            for timeline in timelines
        ],
        "tracks_left_out": len(every_timeline) - len(timelines),
        "gaps": ", ".join(gaps),
        "remarks": list(found.remarks),
        "moments": [
            {
                "track": moment.track,
                "seconds": moment.seconds,
                "label": moment.label,
                "confidence": moment.confidence,
                "image": base64.b64encode(moment.jpeg).decode(),
            }
            for moment in found.moments
        ],
        "spans": [
            {
                "track": span.track,
                "start_seconds": span.start_seconds,
                "end_seconds": span.end_seconds,
                "index": int(span.probabilities.argmax()),
                "label": found.label_set[int(span.probabilities.argmax())],
                "confidence": float(span.probabilities.max()),
                "uncertain": bool(span.probabilities.max() < min_confidence),
            }
            for span in spans[:MOST_SPANS]
        ],
        "spans_left_out": max(0, len(spans) - MOST_SPANS),
    }


def _track(timeline: Timeline, label_set: Sequence[str], length: float) -> dict[str, Any]:
    edges, rows = _thinned(timeline)
    mean = timeline.mean()
    best = mean.argsort()[::-1][:2].tolist()
    shown = ", ".join(f"{label_set[k]} {100 * mean[k]:.0f} %" for k in best)
    return {
        "number": timeline.track,
        "summary": f"seen {timeline.seen_seconds:.1f} s; on average {shown}",
        "areas": [(k, _area(edges, rows, k, length)) for k in range(rows.shape[1])],
        "course": {
            "edges": [round(float(edge), 3) for edge in edges],
            "labels": list(label_set),
            "rows": [
                None if np.isnan(row[0]) else [round(float(value), 3) for value in row]
                for row in rows
            ],
        },
    }


def _thinned(timeline: Timeline) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A timeline of at most `MOST_INTERVALS` intervals; nan where the face was not seen."""
    edges, rows = timeline.edges_seconds, timeline.probabilities
    if len(rows) <= MOST_INTERVALS:
        return edges, rows
    coarse = np.linspace(edges[0], edges[-1], MOST_INTERVALS + 1)
    middles = (coarse[:-1] + coarse[1:]) / 2
    empty = np.full(rows.shape[1], np.nan)
    values = [timeline.at(float(middle)) for middle in middles]
    return coarse, np.stack([empty if value is None else value for value in values])


def _area(edges: NDArray[np.float64], rows: NDArray[np.float64], k: int, length: float) -> str:
    """The path of class k: for each interval a rectangle on top of the classes before it."""
    x = 1000 * edges / length
    seen = ~np.isnan(rows[:, 0])
    below = 100 * np.nan_to_num(rows[:, :k]).sum(axis=1)
    height = 100 * np.nan_to_num(rows[:, k])
    return "".join(
        f"M{x[i]:.2f} {100 - below[i]:.2f}H{x[i + 1]:.2f}v{-height[i]:.2f}H{x[i]:.2f}z"
        for i in np.flatnonzero(seen & (height >= 0.05)).tolist()
    )
