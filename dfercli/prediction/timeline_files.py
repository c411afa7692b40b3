"""Write timelines for other tools: with the results, and afterwards."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dfercli.artifacts.atomic import write_text
from dfercli.artifacts.csv_cells import plain_cell
from dfercli.artifacts.own_outputs import Output, refuse_overwriting
from dfercli.artifacts.timelines import SpanRow, VideoRow, read_spans, read_videos
from dfercli.config import ConvertTimelineConfig
from dfercli.config.kinds import TimelineFormat
from dfercli.documents import read_document
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.names import inside
from dfercli.overrides import check
from dfercli.prediction.result import PredictResult
from dfercli.prediction.results_folder import EXPORTS, RUN, SPANS, SUMMARY, read_record
from dfercli.report.formats import timeline_files
from dfercli.report.formats.tiers import TieredVideo, make_tiers, unique_keys
from dfercli.report.summary import real_time
from dfercli.typed import shown

NAME_COLUMNS = ("source", "track", "person")

Names = Mapping[str, Mapping[int, str]]  # of persons, by source and track


def run(config: ConvertTimelineConfig) -> list[Path]:
    """`dfer convert-timeline`: the results of a folder in the formats of other tools.

    Returns:
        The files that were written.

    Raises:
        ConfigError: no format, or a file that is there already.
        ArtifactError: the folder holds no whole results, or a file cannot be written.
        DataError: the names of persons are broken.
    """
    check(config, where="dfer convert-timeline")
    if not config.to:
        raise ConfigError("--to names no format")
    record = read_record(config.results)
    spans = list(read_spans(config.results / SPANS))
    videos = list(read_videos(config.results / SUMMARY))
    names = {} if config.names is None else read_names(config.names)
    tiered = _tiered(spans, videos, record.model, Path(record.folder), names)
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
    tiered = _tiered(result.spans(), videos, result.model.name, Path.cwd(), {})
    return _write(folder / EXPORTS, formats, tiered, (), overwrite=True)


def read_names(path: Path) -> dict[str, dict[int, str]]:
    """Read what persons are called.

    Args:
        path: CSV with the columns source, track and person, as the page saves it with the names
            that were typed; rows without a person are left out.

    Raises:
        DataError: the file or a row is broken; the line is named.
    """
    names: dict[str, dict[int, str]] = {}
    try:
        text = read_document(path, may_be_pipe=True).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
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
                names.setdefault(source, {})[int(track)] = name.strip()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    return names


def _tiered(
    spans: Iterable[SpanRow],
    videos: Sequence[VideoRow],
    model: str,
    folder: Path,
    names: Names,
) -> list[TieredVideo]:
    by_source: dict[str, list[SpanRow]] = {video.source: [] for video in videos}
    for span in spans:
        if span.source not in by_source:
            raise ArtifactError(f"{SPANS} has a span of {span.source}, which {SUMMARY} has not")
        by_source[span.source].append(span)
    keys = unique_keys(list(by_source))
    tiered = []
    for video in videos:
        tiers = make_tiers(by_source[video.source], names.get(video.source, {}))
        ends = [mark.end_seconds for tier in tiers for mark in tier.marks]
        tiered.append(
            TieredVideo(
                source=video.source,
                media=Path(os.path.abspath(folder / video.source)),
                key=keys[video.source],
                length_seconds=max([video.length_seconds, *ends]),
                fps=video.fps,
                recorded_at=_moment(video.recorded_at),
                model=model,
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
        raise ConfigError(
            f"{there[0]} exists, as do {len(there) - 1} more",
            hint="choose another --out, or replace them with --overwrite",
        )
    for path, file in zip(paths, files, strict=True):
        write_text(path, file.text)
    return paths
