"""Noldus: state events in the columns that The Observer XT exports."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from dfercli.artifacts.tables import csv_text
from dfercli.report.formats.tiers import TieredVideo

COLUMNS = (
    "Date_Time_Absolute_dmy_hmsf",
    "Date_dmy",
    "Time_Absolute_hms",
    "Time_Absolute_f",
    "Time_Relative_hmsf",
    "Time_Relative_hms",
    "Time_Relative_f",
    "Time_Relative_sf",
    "Duration_sf",
    "Observation",
    "Event_Log",
    "Subject",
    "Behavior",
    "Modifier_1",
    "Event_Type",
    "Comment",
)


def noldus_csv(videos: Sequence[TieredVideo]) -> str:
    """All videos, each an observation; a row where a state starts and one where it stops."""
    return csv_text((row for video in videos for row in _rows(video)), COLUMNS)


def _rows(video: TieredVideo) -> Iterator[dict[str, Any]]:
    events = []
    for number, (person, mark) in enumerate(video.marks_by_time()):
        both = {
            "Observation": video.key,
            "Event_Log": "dfer",
            "Subject": person,
            "Behavior": mark.label,
            "Modifier_1": "uncertain" if mark.uncertain else "",
            "Comment": f"confidence {mark.confidence:.3f}",
        }
        start, stop = round(1000 * mark.start_seconds), round(1000 * mark.end_seconds)
        started = {**both, "Duration_sf": (stop - start) / 1000, "Event_Type": "State start"}
        events.append((start, 1, number, started))
        events.append((stop, 0, number, {**both, "Duration_sf": 0, "Event_Type": "State stop"}))
    # Where one state follows another, the first stops before the second starts.
    for milliseconds, _, _, event in sorted(events, key=lambda one: one[:3]):
        yield {**_times(video, milliseconds), **event}


def _times(video: TieredVideo, milliseconds: int) -> dict[str, Any]:
    seconds, rest = divmod(milliseconds, 1000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    relative = {
        "Time_Relative_hmsf": f"{clock}.{rest:03d}",
        "Time_Relative_hms": clock,
        "Time_Relative_f": rest,
        "Time_Relative_sf": milliseconds / 1000,
    }
    if video.recorded_at is None:
        empty = ("Date_Time_Absolute_dmy_hmsf", "Date_dmy", "Time_Absolute_hms", "Time_Absolute_f")
        return {**dict.fromkeys(empty, ""), **relative}
    moment = video.recorded_at + timedelta(milliseconds=milliseconds)
    fraction = moment.microsecond // 1000
    return {
        "Date_Time_Absolute_dmy_hmsf": f"{moment:%d/%m/%Y %H:%M:%S}.{fraction:03d}",
        "Date_dmy": f"{moment:%d/%m/%Y}",
        "Time_Absolute_hms": f"{moment:%H:%M:%S}",
        "Time_Absolute_f": fraction,
        **relative,
    }
