"""Find the faces of sources for immediate use: nothing is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.face_store import FailureRow, TrackData
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.faces.stream_maker import StreamSetting
from dfercli.preprocessing.crop_sinks import HeldCrop
from dfercli.preprocessing.detectors import find_detector, with_recogniser
from dfercli.preprocessing.do_sources import Ended, Stage, do_sources
from dfercli.preprocessing.engines import require_engine
from dfercli.preprocessing.held_crops import CropMemory, HeldCrops
from dfercli.preprocessing.process_source import HeldFaces
from dfercli.preprocessing.record_clips import record_clips
from dfercli.preprocessing.run import checked, job_of
from dfercli.preprocessing.source_jobs import SourceJob, record_of
from dfercli.preprocessing.source_labels import Labelling
from dfercli.preprocessing.source_worker import WorkerSetting, set_up_held
from dfercli.preprocessing.stretched import (
    Gathered,
    joined_or_none,
    number_of_part,
    numbers_in_crops,
)
from dfercli.preprocessing.time_grid import TimeGrid
from dfercli.preprocessing.worker_pool import Lost
from dfercli.progress import Progress
from dfercli.video.sources import Source


@dataclass(frozen=True)
class FoundFaces:
    """The faces of one source.

    Attributes:
        record: What became of the source; its clips are not in a store.
        clips: By `clip_id`, the number that the track has in `crops`, and its data.
        crops: Those that windows may look at.
    """

    record: SourceRecord
    clips: dict[str, tuple[int, TrackData]]
    crops: HeldCrops


def find_faces(
    config: PreprocessConfig,
    sources: Sequence[Source],
    grid: TimeGrid,
    progress: Progress,
    on_source: Callable[[FoundFaces], None],
    bugs: BugLog,
) -> str:
    """Find the faces of sources, and hand over each source as it is done.

    A source that cannot be used is a failure in its record, never an exception.

    Args:
        config: Settings. Sources are named relative to `out`, where nothing is written.
        sources: What to look at.
        grid: The moments at which windows look.
        progress: Where to report.
        on_source: Takes the sources.
        bugs: Takes the tracebacks of sources that meet a bug.

    Returns:
        The name of the detector.

    Raises:
        ConfigError: settings that make no sense.
        ArtifactError: the detector cannot be used, or the system refuses a write.
    """
    config = checked(config)
    jobs = [job_of(source, config.out, Labelling()) for source in sources]
    choice = find_detector(config, progress)
    config = with_recogniser(config, choice, progress)
    require_engine(config)
    setting = WorkerSetting(config, choice, 1, StreamSetting(()), grid)
    memory = CropMemory()
    growing: dict[str, HeldCrops] = {}
    over: set[str] = set()

    def on_part(job: SourceJob, crops: list[HeldCrop]) -> None:
        if job.key in over:  # another stretch of it was lost
            return
        if job.stretch is not None:
            place = job.stretch.number
            crops = [(number_of_part(place, track), frame, jpeg) for track, frame, jpeg in crops]
        growing.setdefault(job.key, HeldCrops(memory)).add(crops)

    def join(job: SourceJob, gathered: Gathered) -> HeldFaces | None:
        crops = growing.setdefault(job.key, HeldCrops(memory))
        joined = joined_or_none(gathered)
        if joined is None:
            crops.release()
            return None
        crops.rename(numbers_in_crops(joined))
        clips: dict[str, tuple[int, TrackData]] = {}

        def keep(track: int, clip_id: str, data: TrackData) -> None:
            clips[clip_id] = (track, data)

        state = gathered[0][1].state
        record = record_clips(job, config, joined.followed, choice.name, keep, state)
        return HeldFaces(record, clips, {})

    stage = Stage(set_up_held, _record, join, on_part)
    for ended, record in do_sources(jobs, stage, setting, bugs, progress):
        over.add(ended.job.key)
        crops = growing.pop(ended.job.key, None) or HeldCrops(memory)
        clips = {} if isinstance(ended, Lost) else ended.result.clips
        for track, into in () if isinstance(ended, Lost) else ended.result.joined.items():
            crops.join(track, into)
        if not clips:
            crops.release()
        on_source(FoundFaces(record, clips, crops))
    return choice.name


def _record(ended: Ended) -> SourceRecord:
    """What became of a source; one without a result failed."""
    if isinstance(ended, Lost):
        failure = FailureRow(ended.job.name_in_store, ended.stage, ended.reason)
        return record_of(ended.job, failure=failure)
    held: HeldFaces = ended.result
    return held.record
