"""One source: its clips into a store, or its faces to whoever looks at them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from dfercli.artifacts.face_store import TrackData
from dfercli.artifacts.store_writing import SourceRecord, crop_sink, write_record
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.crop_sinks import HeldSink, Sink, StoreSink
from dfercli.preprocessing.face_clips import Networks, find_clips
from dfercli.preprocessing.source_jobs import SourceJob
from dfercli.preprocessing.time_grid import TimeGrid
from dfercli.preprocessing.worker_pool import Report


@dataclass(frozen=True)
class HeldFaces:
    """The faces of one source; their crops were handed over.

    Attributes:
        record: What became of the source.
        clips: By `clip_id`, the number that the track has in the crops, and its data.
        joined: Numbers in the crops that belong to another one, with that.
    """

    record: SourceRecord
    clips: dict[str, tuple[int, TrackData]]
    joined: dict[int, int]


def process_source(
    config: PreprocessConfig, networks: Networks, job: SourceJob, report: Report
) -> SourceRecord:
    """Write the clips of one source into the store `config.out`, and its record last.

    Faults of the source go into the record as a failure or as warnings.

    Args:
        config: Settings.
        networks: Find faces, and tell them apart.
        job: The source.
        report: Told of the frames and face crops done.

    Raises:
        ArtifactError: the store cannot be written.
    """

    @contextmanager
    def open_sink() -> Iterator[Sink]:
        with crop_sink(config.out, job.key) as sink:
            yield StoreSink(sink, config)

    record = find_clips(job, config, networks, report, open_sink)
    write_record(config.out, job.key, record)
    return record


def hold_source(
    config: PreprocessConfig, networks: Networks, grid: TimeGrid, job: SourceJob, report: Report
) -> HeldFaces:
    """Hand over the crops of one source that windows look at; nothing is written.

    Args:
        config: Settings.
        networks: Find faces, and tell them apart.
        grid: The moments at which windows look.
        job: The source.
        report: Told of the frames done; gets the crops as lists of `HeldCrop`.
    """
    sinks: list[HeldSink] = []

    def open_sink() -> AbstractContextManager[Sink]:
        sinks.append(HeldSink(config, grid, report.hand_over))
        return nullcontext(sinks[-1])

    record = find_clips(job, config, networks, report, open_sink)
    if record.failure:
        return HeldFaces(record, {}, {})
    return HeldFaces(record, sinks[-1].clips, sinks[-1].joined)
