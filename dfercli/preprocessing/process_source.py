"""One source: its clips into a store, or its faces to the caller."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from dfercli.artifacts.crop_writing import crop_sink
from dfercli.artifacts.face_store import TrackData
from dfercli.artifacts.store_writing import SourceRecord, write_record
from dfercli.config import PreprocessConfig
from dfercli.errors import DataError
from dfercli.preprocessing.crop_sinks import HeldSink, Sink, StoreSink
from dfercli.preprocessing.face_clips import (
    Networks,
    OpenSink,
    StretchFaces,
    find_clips,
    follow_stretch,
)
from dfercli.preprocessing.followed import Followed, Seen
from dfercli.preprocessing.source_jobs import SourceJob
from dfercli.preprocessing.time_grid import TimeGrid
from dfercli.preprocessing.worker_pool import Report
from dfercli.video.sources import source_state


@dataclass(frozen=True)
class HeldFaces:
    """The faces of one source; their crops were handed over.

    Attributes:
        record: The outcome of the source.
        clips: `clip_id` -> number of the track in the crops, and its data.
        joined: Track number in the crops -> the track that it belongs to.
    """

    record: SourceRecord
    clips: dict[str, tuple[int, TrackData]]
    joined: dict[int, int]


def process_source(
    config: PreprocessConfig, networks: Networks, job: SourceJob, report: Report
) -> SourceRecord | StretchFaces:
    """Write the clips of one source into the store `config.out`, and its record last.

    Faults of the source go into the record as a failure or as warnings. The crops of a stretch stay
    in their own folder.

    Args:
        config: Settings.
        networks: Find faces, and tell them apart.
        job: The source, or a stretch of it.
        report: Told of the frames and face crops done.

    Raises:
        ArtifactError: the store cannot be written.
    """
    folders: list[Path] = []

    @contextmanager
    def open_sink() -> Iterator[Sink]:
        with crop_sink(config.out, job.key, stays=job.stretch is not None) as sink:
            folders.append(sink.folder)
            yield StoreSink(sink, config)

    if job.stretch is not None:
        return _stretch(job, config, networks, report, open_sink, folders)
    record = find_clips(job, config, networks, report, open_sink)
    write_record(config.out, job.key, record)
    return record


def hold_source(
    config: PreprocessConfig, networks: Networks, grid: TimeGrid, job: SourceJob, report: Report
) -> HeldFaces | StretchFaces:
    """Hand over the crops of one source that windows look at; write nothing.

    Args:
        config: Settings.
        networks: Find faces, and tell them apart.
        grid: The moments at which windows look.
        job: The source, or a stretch of it.
        report: Told of the frames done; gets the crops as lists of `HeldCrop`.
    """
    sinks: list[HeldSink] = []

    def open_sink() -> AbstractContextManager[Sink]:
        sinks.append(HeldSink(config, grid, report.hand_over))
        return nullcontext(sinks[-1])

    if job.stretch is not None:
        return _stretch(job, config, networks, report, open_sink, [])
    record = find_clips(job, config, networks, report, open_sink)
    if record.failure:
        return HeldFaces(record, {}, {})
    return HeldFaces(record, sinks[-1].clips, sinks[-1].joined)


def _stretch(
    job: SourceJob,
    config: PreprocessConfig,
    networks: Networks,
    report: Report,
    open_sink: OpenSink,
    folders: list[Path],
) -> StretchFaces:
    """The faces of a stretch; none if it cannot be read, with the reason as a warning."""
    try:
        found = follow_stretch(job, config, networks.detector, report, open_sink)
        return replace(found, folder=folders[-1] if folders else None)
    except DataError as error:
        nothing = Followed({}, 0, 0.0, 0.0, (error.message,), Seen(), (0.0, 0.0))
        return StretchFaces(nothing, source_state(job.source.path))
