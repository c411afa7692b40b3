"""One source: its clips into a store, or its faces to whoever looks at them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from dfercli.artifacts.face_store import TrackData
from dfercli.artifacts.store_writing import SourceRecord, crop_sink, write_record
from dfercli.config import PreprocessConfig
from dfercli.faces.detect import Detector
from dfercli.preprocessing.crop_sinks import HeldSink, Sink, StoreSink
from dfercli.preprocessing.face_clips import find_clips
from dfercli.preprocessing.source_jobs import SourceJob
from dfercli.preprocessing.time_grid import TimeGrid
from dfercli.preprocessing.worker_pool import Report


@dataclass(frozen=True)
class HeldFaces:
    """The faces of one source; their crops were handed over.

    Attributes:
        record: What became of the source.
        clips: By `clip_id`, the number that the track has in the crops, and its data.
    """

    record: SourceRecord
    clips: dict[str, tuple[int, TrackData]]


def process_source(
    config: PreprocessConfig, detector: Detector, job: SourceJob, report: Report
) -> SourceRecord:
    """Write the clips of one source into the store `config.out`, and its record last.

    Faults of the source go into the record as a failure or as warnings.

    Args:
        config: Settings.
        detector: Finds the faces.
        job: The source.
        report: Told of the frames and face crops done.

    Raises:
        ArtifactError: the store cannot be written.
    """

    @contextmanager
    def open_sink() -> Iterator[Sink]:
        with crop_sink(config.out, job.key) as sink:
            yield StoreSink(sink, config)

    record = find_clips(job, config, detector, report, open_sink)
    write_record(config.out, job.key, record)
    return record


def hold_source(
    config: PreprocessConfig, detector: Detector, grid: TimeGrid, job: SourceJob, report: Report
) -> HeldFaces:
    """Hand over the crops of one source that windows look at; nothing is written.

    Args:
        config: Settings.
        detector: Finds the faces.
        grid: The moments at which windows look.
        job: The source.
        report: Told of the frames done; gets the crops as lists of `HeldCrop`.
    """
    sinks: list[HeldSink] = []

    def open_sink() -> AbstractContextManager[Sink]:
        sinks.append(HeldSink(config, grid, report.hand_over))
        return nullcontext(sinks[-1])

    record = find_clips(job, config, detector, report, open_sink)
    return HeldFaces(record, {} if record.failure else sinks[-1].clips)
