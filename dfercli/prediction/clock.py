"""Events of an experiment: their times in each video."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dfercli.artifacts.tables import user_csv
from dfercli.artifacts.timelines import EventRow
from dfercli.errors import DataError
from dfercli.path_ends import PathEnds
from dfercli.progress import Progress
from dfercli.report.summary import Event
from dfercli.typed import shown
from dfercli.video.probe import probe_video

COLUMNS = ("video", "name", "start", "end")
OFFSET = "offset"
EVERY_VIDEO = "*"
MOST_TOLD = 3
KNOWN_COLUMNS = (*COLUMNS, OFFSET)
CLOCK_TIME = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True)
class _Row:
    """A row as written, and its place for messages."""

    where: str
    video: str
    name: str
    start: str
    end: str
    offset: float


def read_clock(path: Path, names: Sequence[str], offset: float = 0.0) -> tuple[Event, ...]:
    """Read the events of an experiment.

    A time is seconds or `h:mm:ss` from the beginning of the video, or a date and time (ISO 8601),
    which is compared with the recording time of the video; the default time zone is that of this
    machine.

    Args:
        path: CSV with the columns video, name, start, end and, if wanted, offset: the second of
            the video at which the row's clock begins. A row matches a video by its path or the end
            of its path; `*` means all of them.
        names: The videos, as predictions name them.
        offset: Added to the offset of every row.

    Raises:
        DataError: the file, a row or a time is broken, or a video is missing or not clearly
            identified; the message names the row.
    """
    events = []
    ends = PathEnds(names)
    for row in _rows(path, offset):
        for source in names if row.video == EVERY_VIDEO else [_meant(row, ends, names)]:
            start, end = (_seconds(row, text, source) for text in (row.start, row.end))
            if not start < end:
                raise DataError(f"{row.where}: {row.name} ends at {row.end}, not after {row.start}")
            events.append(Event(source, row.name, start, end))
    return tuple(events)


def tell_outside(
    events: Sequence[EventRow], lengths: Mapping[str, float], progress: Progress
) -> None:
    """Say in one line which events lie outside their video.

    Args:
        events: The events with the predictions of each.
        lengths: Lengths of the videos in seconds, by name.
        progress: Where to report.
    """
    outside = [row for row in events if row.outside]
    if not outside:
        return
    shown_rows = [
        f"{row.event} in {row.source} ({row.start_seconds:.2f} to {row.end_seconds:.2f} s, the "
        f"video lasts {lengths[row.source]:.2f} s)"
        for row in outside[:MOST_TOLD]
    ]
    more = f" and {len(outside) - MOST_TOLD} more" if len(outside) > MOST_TOLD else ""
    progress.note(f"outside the video: {', '.join(shown_rows)}{more}")


def _rows(path: Path, offset: float) -> Iterator[_Row]:
    with user_csv(path) as reader:
        given = [name.strip() for name in reader.fieldnames or ()]
        if missing := [name for name in COLUMNS if name not in given]:
            raise DataError(
                f"{path}: no column {missing[0]}",
                hint=f"the first line is {','.join(COLUMNS)}[,{OFFSET}]",
            )
        named = [name for name in given if name]
        if unknown := [name for name in named if name not in KNOWN_COLUMNS]:
            raise DataError(
                f"{path}: unknown column {shown(unknown[0])}",
                hint=f"known columns: {', '.join(KNOWN_COLUMNS)}",
            )
        if len(set(named)) < len(named):
            raise DataError(f"{path}: a column appears twice: {', '.join(named)}")
        reader.fieldnames = given
        found = False
        for row in reader:
            found = True
            where = f"{path}, line {reader.line_num}"
            cells = {name: (row.get(name) or "").strip() for name in KNOWN_COLUMNS}
            if astray := [cell for cell in (row.get(""), *(row.get(None) or ())) if cell]:
                raise DataError(f"{where}: {shown(astray[0])} belongs to no column")
            if empty := [name for name in COLUMNS if not cells[name]]:
                raise DataError(f"{where}: {empty[0]} is empty")
            own = _number(cells[OFFSET] or "0", where, OFFSET)
            video, name, start, end = (cells[column] for column in COLUMNS)
            yield _Row(where, video, name, start, end, offset + own)
        if not found:
            raise DataError(f"{path}: no events")


def _meant(row: _Row, ends: PathEnds, names: Sequence[str]) -> str:
    """The one video that a row is about."""
    found = ends.one(row.video, row.where)
    if found is None:
        first = f"; the first is {names[0]}" if names else ""
        raise DataError(f"{row.where}: no video is called {row.video!r}{first}")
    return found


def _seconds(row: _Row, text: str, source: str) -> float:
    """A time as seconds of the video."""
    if (found := CLOCK_TIME.fullmatch(text)) is not None:
        hours, minutes, seconds = found.groups(default="0")
        if int(minutes) >= 60 or float(seconds) >= 60:
            raise DataError(
                f"{row.where}: time: expected minutes and seconds below 60 in h:mm:ss, got "
                f"{shown(text)}"
            )
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds) + row.offset
    if "-" in text[1:] and ":" in text:
        return _of_recording(row, text, source) + row.offset
    return _number(text, row.where, "time") + row.offset


def _of_recording(row: _Row, text: str, source: str) -> float:
    try:
        asked = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise DataError(f"{row.where}: not a date and time of ISO 8601: {text!r}") from None
    facts = probe_video(Path(os.path.abspath(source)))
    if facts is None or facts.recorded_at is None:
        raise DataError(
            f"{row.where}: {source} does not say when it was recorded, and {text} is real time",
            hint="give seconds of the video, and in the column offset the second that is their 0",
        )
    return (asked.astimezone() - facts.recorded_at).total_seconds()


def _number(text: str, where: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        more = "" if what == OFFSET else ", h:mm:ss or a date and time"
        raise DataError(f"{where}: {what}: expected seconds{more}, got {shown(text)}")
    return number
