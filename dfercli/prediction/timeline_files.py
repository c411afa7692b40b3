"""Write timelines for other tools: with the results, and afterwards."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dfercli.artifacts.atomic import write_text
from dfercli.artifacts.csv_cells import plain_cell
from dfercli.artifacts.own_outputs import Output, refuse_overwriting
from dfercli.artifacts.tables import user_csv
from dfercli.artifacts.timelines import SpanRow, VideoRow, read_spans, read_videos
from dfercli.config import ConvertTimelineConfig
from dfercli.config.kinds import TimelineFormat
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.names import inside
from dfercli.overrides import check
from dfercli.path_ends import PathEnds
from dfercli.prediction.result import PredictResult
from dfercli.prediction.results_folder import (
    EXPORTS,
    RUN,
    SPANS,
    SUMMARY,
    ResultsRecord,
    read_record,
)
from dfercli.progress import Progress
from dfercli.report.formats import timeline_files
from dfercli.report.formats.tiers import TieredVideo, make_tiers, unique_keys
from dfercli.report.summary import real_time
from dfercli.typed import shown

NAME_COLUMNS = ("source", "track", "person")

MOST_TOLD = 5

Names = Mapping[str, Mapping[int, str]]  # of persons, by source and track


@dataclass(frozen=True)
class NameRow:
    """The name of a face in a table.

    Attributes:
        line: Of the row in its file.
        source: The video, as the row names it.
        track: Number of the face's track.
        name: The name of the person.
    """

    line: int
    source: str
    track: int
    name: str


def run(config: ConvertTimelineConfig, progress: Progress) -> list[Path]:
    """`dfer convert-timeline`: the results of a folder in the formats of other tools.

    Args:
        config: Settings.
        progress: Where to report names that match nobody.

    Returns:
        The files that were written.

    Raises:
        ConfigError: no format, or a file that is there already.
        ArtifactError: the folder holds no whole results, or a file cannot be written.
        DataError: the names of persons are broken, or one is not clearly of one video.
    """
    check(config, where="dfer convert-timeline")
    if not config.to:
        raise ConfigError("--to names no format")
    record = read_record(config.results)
    spans = list(read_spans(config.results / SPANS))
    videos = list(read_videos(config.results / SUMMARY))
    names: Names = {}
    if config.names is not None:
        names = _names_of(config.names, spans, videos, Path(record.folder), progress)
    tiered = _tiered(spans, videos, record, names)
    out = config.out or config.results / EXPORTS
    read = [config.results / name for name in (RUN, SPANS, SUMMARY)]
    read += [] if config.names is None else [config.names]
    return _write(out, config.to, tiered, read, overwrite=config.overwrite)


def write_exports(
    folder: Path, formats: Sequence[TimelineFormat], result: PredictResult
) -> list[Path]:
    """Write the timelines of a result below its folder; those that are there are replaced.

    Raises:
        ArtifactError: the system refused a write.
    """
    videos = [
        VideoRow(
            video.source,
            "video",
            video.length_seconds,
            video.fps,
            real_time(video.recorded_at, 0.0),
        )
        for video in result.videos
    ]
    record = ResultsRecord(result.model.name, str(Path.cwd()), result.model.label_set)
    tiered = _tiered(result.spans(), videos, record, {})
    return _write(folder / EXPORTS, formats, tiered, (), overwrite=True)


def read_names(path: Path) -> list[NameRow]:
    """Read the names of persons.

    Args:
        path: CSV with the columns source, track and person, as the page saves it with the names
            that were typed; rows without a person are left out.

    Raises:
        DataError: the file or a row is broken; the line is named.
    """
    names = []
    with user_csv(path) as reader:
        if missing := [name for name in NAME_COLUMNS if name not in (reader.fieldnames or ())]:
            raise DataError(f"{path}: no column {missing[0]}")
        for row in reader:
            source, track, name = (plain_cell(row[column] or "") for column in NAME_COLUMNS)
            if not (track.isascii() and track.isdecimal()):
                raise DataError(
                    f"{path}, line {reader.line_num}: track: expected a whole number, got "
                    f"{shown(track)}"
                )
            if name.strip():
                names.append(NameRow(reader.line_num, source, int(track), name.strip()))
    return names


def _names_of(
    path: Path,
    spans: Iterable[SpanRow],
    videos: Iterable[VideoRow],
    folder: Path,
    progress: Progress,
) -> Names:
    """The names of a table by source and track; one line reports rows that match nobody."""
    faces = {(span.source, span.track) for span in spans}
    ends = PathEnds((video.source for video in videos), folder)
    names: dict[str, dict[int, str]] = {}
    rows, unused = read_names(path), []
    for row in rows:
        found = ends.one(row.source, f"{path}, line {row.line}")
        if found is not None and (found, row.track) in faces:
            names.setdefault(found, {})[row.track] = row.name
        else:
            unused.append(f"line {row.line} ({row.source}, face {row.track}: {row.name})")
    if unused:
        more = f" and {len(unused) - MOST_TOLD} more" if len(unused) > MOST_TOLD else ""
        progress.note(
            f"{path}: {len(unused)} of {len(rows)} names match nobody: "
            f"{', '.join(unused[:MOST_TOLD])}{more}"
        )
    return names


def _tiered(
    spans: Iterable[SpanRow],
    videos: Sequence[VideoRow],
    record: ResultsRecord,
    names: Names,
) -> list[TieredVideo]:
    by_source: dict[str, list[SpanRow]] = {video.source: [] for video in videos}
    for span in spans:
        if span.source not in by_source:
            raise ArtifactError(f"{SPANS} has a span of {span.source}, which is not in {SUMMARY}")
        by_source[span.source].append(span)
    keys = unique_keys(list(by_source))
    tiered = []
    for video in videos:
        tiers = make_tiers(by_source[video.source], names.get(video.source, {}))
        ends = [mark.end_seconds for tier in tiers for mark in tier.marks]
        tiered.append(
            TieredVideo(
                source=video.source,
                media=Path(os.path.abspath(Path(record.folder, video.source))),
                key=keys[video.source],
                length_seconds=max([video.length_seconds, *ends]),
                fps=video.fps,
                recorded_at=_moment(video.recorded_at),
                model=record.model,
                label_set=record.label_set,
                tiers=tiers,
            )
        )
    return tiered


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise ArtifactError(f"{SUMMARY}: recorded_at: not a time of ISO 8601: {text!r}") from None


def _write(
    out: Path,
    formats: Sequence[TimelineFormat],
    videos: Sequence[TieredVideo],
    read: Sequence[Path],
    *,
    overwrite: bool,
) -> list[Path]:
    files = timeline_files(tuple(dict.fromkeys(formats)), videos)
    paths = [inside(out, file.name) for file in files]
    refuse_overwriting([Output("--out", path) for path in paths], read)
    there = [path for path in paths if os.path.lexists(path)]
    if there and not overwrite:
        others = len(there) - 1
        more = "" if not others else ", as does 1 more" if others == 1 else f", as do {others} more"
        raise ConfigError(
            f"{there[0]} exists{more}",
            hint="choose another --out, or replace them with --overwrite",
        )
    for path, file in zip(paths, files, strict=True):
        write_text(path, file.text)
    return paths
