"""BORIS: state events in the columns of its `Export aggregated events`."""

from collections.abc import Iterator, Sequence
from typing import Any

from dfercli.artifacts.tables import csv_text
from dfercli.report.formats.tiers import TieredVideo

COLUMNS = (
    "Observation id",
    "Observation date",
    "Description",
    "Observation type",
    "Source",
    "Time offset (s)",
    "Coding duration",
    "Media duration (s)",
    "FPS (frame/s)",
    "Subject",
    "Observation duration by subject by observation",
    "Behavior",
    "Behavioral category",
    "Modifier #1",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Media file name",
    "Image index start",
    "Image index stop",
    "Image file path start",
    "Image file path stop",
    "Comment start",
    "Comment stop",
)


def boris_csv(videos: Sequence[TieredVideo]) -> str:
    """All videos, each an observation; the persons are its subjects."""
    return csv_text((row for video in videos for row in _rows(video)), COLUMNS)


def _rows(video: TieredVideo) -> Iterator[dict[str, Any]]:
    length = round(video.length_seconds, 3)
    date = video.recorded_at
    for person, mark in video.marks_by_time():
        start, stop = round(mark.start_seconds, 3), round(mark.end_seconds, 3)
        yield {
            **dict.fromkeys(COLUMNS, ""),
            "Observation id": video.key,
            "Observation date": "" if date is None else date.strftime("%Y-%m-%d %H:%M:%S"),
            "Description": f"dfer, {video.model}",
            "Observation type": "Media file",
            "Source": f"player #1:{video.media}",
            "Time offset (s)": "0.0",
            "Coding duration": length,
            "Media duration (s)": length,
            "FPS (frame/s)": round(video.frames_per_second, 3),
            "Subject": person,
            "Observation duration by subject by observation": length,
            "Behavior": mark.label,
            "Behavioral category": "expression",
            "Modifier #1": "uncertain" if mark.uncertain else "",
            "Behavior type": "STATE",
            "Start (s)": start,
            "Stop (s)": stop,
            "Duration (s)": round(stop - start, 3),
            "Media file name": str(video.media),
            "Image index start": round(mark.start_seconds * video.frames_per_second),
            "Image index stop": round(mark.end_seconds * video.frames_per_second),
            "Comment start": f"confidence {mark.confidence:.3f}",
        }
