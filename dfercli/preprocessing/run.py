"""Preprocess: from raw videos to a face store, one clip for each face."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dfercli.artifacts.atomic import kept_sources, telling_what_is_kept
from dfercli.artifacts.bug_log import BUGS_FILE, BugLog
from dfercli.artifacts.face_store import FAILURES_FILE, ClipRow, FailureRow, RawSetRecord
from dfercli.artifacts.jsonl import append_row
from dfercli.artifacts.parts_record import record_parts
from dfercli.artifacts.store_writing import (
    SourceRecord,
    assemble_store,
    has_crops,
    prepare_store,
    read_record,
    remove_leftovers,
    remove_sources,
    source_key,
    write_record,
    writing_to,
)
from dfercli.config import PreprocessConfig
from dfercli.data.published_sizes import BENCHMARKS
from dfercli.errors import ConfigError
from dfercli.faces.build import build_detector
from dfercli.faces.stream_maker import FIVE
from dfercli.overrides import check, to_plain
from dfercli.preprocessing import face_parts as parts_of_faces
from dfercli.preprocessing.detectors import find_detector, identity_settings, with_recogniser
from dfercli.preprocessing.do_sources import Ended, Stage, do_sources
from dfercli.preprocessing.engines import require_engine
from dfercli.preprocessing.face_parts import (
    PartsResult,
    add_parts_to_store,
    set_up_parts,
    stream_failures,
    stream_setting,
    tell_of_crops_without,
)
from dfercli.preprocessing.make_streams import StreamsDone
from dfercli.preprocessing.people import known_people, people_in, pictures_of_people
from dfercli.preprocessing.preview import make_previews
from dfercli.preprocessing.raw_sources import find_raw_sources, raw_set_of
from dfercli.preprocessing.source_jobs import SourceJob, path_in_store, record_of
from dfercli.preprocessing.source_labels import Labelling, label_sources, read_classes
from dfercli.preprocessing.source_worker import SourceDone, WorkerSetting, set_up_sources
from dfercli.preprocessing.stretched import Gathered, join_in_store
from dfercli.preprocessing.worker_pool import Finished
from dfercli.progress import Progress
from dfercli.video.sources import Source, find_sources, source_signature

# Settings that do not change the content of the store for a source.
NOT_CONTENT = (
    *("sources", "out", "labels", "calm", "ties", "classes"),
    *("workers", "time_limit", "overwrite", "max_pixels"),
    *("streams", "landmarks", "parsing_model"),  # recorded in parts.json
    "model_for_captions",  # recorded with each caption
    *("root", "preview"),  # added to clips afterwards
    *("engine", "ray_address"),
    *("detector", "detector_weights", "device"),  # the choice is recorded instead
    *("identities", "identity_weights", "people"),  # recorded if people are told apart
)
VERSIONED = ("dfercli", "opencv-python", "decord", "av")
SLUG_LENGTH = 60


@dataclass(frozen=True)
class PreprocessResult:
    """The result of a run.

    Attributes:
        store: The face store.
        num_sources: Sources found.
        num_skipped: Sources among these that an earlier run did.
        num_frames: Frames decoded for these sources, in this or an earlier run.
        clips: The clips of these sources.
        failures: Why sources among these gave no clip, or lack a part or their preview.
        warnings: `source: what went wrong` for sources that gave clips all the same.
    """

    store: Path
    num_sources: int
    num_skipped: int
    num_frames: int
    clips: tuple[ClipRow, ...]
    failures: tuple[FailureRow, ...]
    warnings: tuple[str, ...]

    @property
    def num_clips(self) -> int:
        """Number of clips of the sources of this run."""
        return len(self.clips)


def run(
    config: PreprocessConfig,
    progress: Progress,
    on_source: Callable[[SourceRecord], None] = lambda record: None,
    bugs: BugLog | None = None,
) -> PreprocessResult:
    """Make a face store, or add to one; finished sources are skipped.

    A source that cannot be used is a failure in the result and in `failures.jsonl`, never an
    exception.

    Args:
        config: Settings.
        progress: Where to report.
        on_source: Called with the record of each source once its clips are in the store.
        bugs: Takes the tracebacks of sources with a bug; by default `bugs.log` in the store,
            which the user is asked to report.

    Raises:
        ConfigError: settings that make no sense, or differ from those of an existing store.
        DataError: no source at all, or a broken table of labels.
        ArtifactError: the store cannot be written.
    """
    config = checked(config)
    raw_set = raw_set_of(config)
    raw_record: RawSetRecord | None = None
    if raw_set is not None:
        found = find_raw_sources(raw_set, config, progress)
        sources, labelling, classes = found.sources, found.labelling, found.label_set
        raw_record = found.record
    else:
        classes = read_classes(config.classes) if config.classes else ()
        sources = find_sources(config.sources, progress.note)
        labelling = label_sources(sources, config.labels, classes)
    jobs = [job_of(source, config.out, labelling[source.path]) for source in sources]
    pictures_of_people(config)  # refused before anything is fetched
    choice = find_detector(config, progress)
    if config.detector_weights is not None:
        # A file that is not a detector must not be recorded in a new store.
        build_detector(replace(choice, device="cpu"))
    config = with_recogniser(config, choice, progress)
    known = known_people(config, choice)
    streams = stream_setting(config)
    streams.require_networks()
    if "landmarks" in streams.streams and streams.landmarks == FIVE:
        progress.note("landmarks: five points of YuNet, a weak stand-in for 68")
    if "captions" in config.made_streams:
        from dfercli.preprocessing.clip_captions import require_llm  # clients of HTTP load slowly

        require_llm(config)
    require_engine(config)
    if config.overwrite and (config.out / "dataset.json").is_file():
        # A failed set-up must not cost an existing store.
        build_detector(choice)
        if streams.streams:
            set_up_parts((config, streams))
    own_bugs = BugLog(config.out / BUGS_FILE)
    with writing_to(config.out, busy=f"{config.out} is being written"), ExitStack() as stack:
        settings = {
            "detector": choice.name,
            "detector_sha256": choice.sha256,
            **{name: to_plain(config)[name] for name in _content_settings()},
            **identity_settings(config),
        }
        versions = {name: version(name) for name in VERSIONED if is_installed(name)}
        prepare_store(config.out, settings, versions, overwrite=config.overwrite)
        if streams.streams:
            record_parts(config.out, streams.how_made())
        jobs = _with_known_keys(jobs, config.out)
        if raw_set is not None:  # clips outside a new choice of labels stay, without a label
            jobs = [
                job
                for job in jobs
                if job.label or job.soft_label or read_record(config.out, job.key)
            ]
        done = _done_before(jobs, config)
        for record in done.values():
            on_source(record)
        num_skipped = len(done)
        before = [clip for record in done.values() for clip in record.clips]
        lost: list[FailureRow] = []
        again = "the same command" + " without --overwrite" * config.overwrite
        kept = telling_what_is_kept(lambda: kept_sources(len(done), config.out, again))
        stack.enter_context(kept)
        try:
            missing = [job for job in jobs if job.key not in done]
            setting = WorkerSetting(config, choice, 1, streams)
            for key, record in _do_all(missing, setting, lost, before, bugs or own_bugs, progress):
                done[key] = record
                on_source(record)
        finally:
            remove_leftovers(config.out)
        people = people_in(config.out, config.identities, known)
        assemble_store(config.out, classes, raw_record, people)
        result = _finish(config, jobs, done, num_skipped, people)
        if streams.streams and before:
            lost += add_parts_to_store(before, config, bugs or own_bugs, progress)
        if "captions" in config.made_streams:
            from dfercli.preprocessing.clip_captions import caption_clips

            lost += caption_clips(result.clips, config, bugs or own_bugs, progress)
        if config.preview:
            lost += make_previews(jobs, done, config, bugs or own_bugs, progress)
        for failure in lost:
            append_row(config.out / FAILURES_FILE, failure.to_row())
        own_bugs.tell(progress)
        return replace(result, failures=(*result.failures, *lost))


def is_benchmark(config: PreprocessConfig) -> bool:
    """Tell whether the source is a benchmark's copy, whose frames are face crops already."""
    return len(config.sources) == 1 and config.sources[0].lower() in BENCHMARKS


def run_on_benchmark(config: PreprocessConfig, progress: Progress) -> PartsResult:
    """Add landmarks and parsing maps to a benchmark's copy; see `parts_of_faces`."""
    config = checked(config)
    return parts_of_faces.run_on_benchmark(config, progress)


def is_installed(package: str) -> bool:
    """Tell whether a package is installed; decord does not exist everywhere."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def checked(config: PreprocessConfig) -> PreprocessConfig:
    """Refuse settings that make no sense; `out` becomes absolute.

    Raises:
        ConfigError: naming the option, what was given and what is expected.
    """
    if not config.sources:
        raise ConfigError("no source given: name videos, images, folders or globs")
    check(config, where="dfer preprocess")
    if raw_set_of(config) is not None and config.faces == "all":
        config = replace(config, faces="largest")  # each take shows one actor
    if config.region and (len(config.region) != 4 or min(config.region[2:]) < 1):
        raise ConfigError(f"--region takes x,y,width,height in pixels, got {config.region}")
    is_number = config.faces.isascii() and config.faces.isdecimal() and int(config.faces) > 0
    if config.faces not in ("all", "largest") and not is_number:
        raise ConfigError(f"--faces takes all, largest or a number, got {config.faces!r}")
    positive = {
        "--fps": 1 if config.fps is None else config.fps,
        "--folder-fps": config.folder_fps,
        "--time-limit": config.time_limit,
    }
    for option, value in positive.items():
        if value <= 0:
            raise ConfigError(f"{option} must be positive, got {value}")
    if config.end is not None and config.end <= config.start:
        raise ConfigError(f"--end {config.end} is not after --start {config.start}")
    return replace(config, out=Path(os.path.abspath(config.out)))


def job_of(source: Source, store: Path, labelling: Labelling) -> SourceJob:
    """The job of a source whose clips belong in `store`."""
    name_in_store = path_in_store(source.path, store)
    slug = re.sub(r"[^A-Za-z0-9]+", "_", str(Path(source.name).with_suffix(""))).strip("_")
    key = source_key(slug[-SLUG_LENGTH:] or "source", name_in_store)
    return SourceJob(
        source,
        key,
        name_in_store,
        labelling.label,
        labelling.subject,
        dict(labelling.groups),
        dict(labelling.soft_label),
    )


def _with_known_keys(jobs: list[SourceJob], store: Path) -> list[SourceJob]:
    """Use the keys of sources in the store, as a slug depends on the spelling of the path."""
    keys = {path.stem for path in (store / "sources").glob("*.json")}
    by_hash = {key.rpartition("-")[2]: key for key in keys}
    found = []
    for job in jobs:
        key = by_hash.get(job.key.rpartition("-")[2])
        if key is not None and job.key not in keys:
            record = read_record(store, key)
            if record is not None and record.source == job.name_in_store:
                job = replace(job, key=key)
        found.append(job)
    return found


def _done_before(jobs: list[SourceJob], config: PreprocessConfig) -> dict[str, SourceRecord]:
    """The sources that need no work, with current labels; remove stale files of the others."""
    done: dict[str, SourceRecord] = {}
    stale: dict[str, SourceRecord] = {}
    for job in jobs:
        record = read_record(config.out, job.key)
        if record is None:
            continue
        unchanged = (record.size_bytes, record.modified_ns) == source_signature(job.source.path)
        again = record.failure is not None and not record.failure.is_final
        if again or not unchanged or not has_crops(config.out, record):
            stale[job.key] = record
            continue
        clips = tuple(
            replace(
                clip,
                label=job.label,
                subject=job.subject,
                groups=job.groups,
                soft_label=job.soft_label,
            )
            for clip in record.clips
        )
        if clips != record.clips:
            record = replace(record, clips=clips)
            write_record(config.out, job.key, record)
        done[job.key] = record
    remove_sources(config.out, stale)
    return done


def _content_settings() -> list[str]:
    return [f.name for f in fields(PreprocessConfig) if f.name not in NOT_CONTENT]


def _do_all(
    jobs: list[SourceJob],
    setting: WorkerSetting,
    lost: list[FailureRow],
    without_streams: list[ClipRow],
    bugs: BugLog,
    progress: Progress,
) -> Iterator[tuple[str, SourceRecord]]:
    """Do the jobs, here or in worker processes; yield each key with its record.

    Args:
        jobs: The sources.
        setting: The setting of the processes.
        lost: Gets a row for each stream of a clip that could not be made.
        without_streams: Gets the clips of sources done in stretches.
        bugs: Takes tracebacks.
        progress: Where to report.
    """
    streams = StreamsDone()

    def record_of_ended(ended: Ended) -> SourceRecord:
        if isinstance(ended, Finished):
            streams.add(ended.result.streams)
        return _record(ended, setting.config, lost)

    def join(job: SourceJob, gathered: Gathered) -> SourceDone | None:
        record = join_in_store(setting.config, job, gathered, setting.choice.name)
        if record is None:
            return None
        write_record(setting.config.out, job.key, record)
        without_streams.extend(record.clips)
        return SourceDone(record, StreamsDone())

    stage = Stage(set_up_sources, record_of_ended, join)
    for ended, record in do_sources(jobs, stage, setting, bugs, progress):
        yield ended.job.key, record
    lost += stream_failures(streams, lambda clip_id: f"frames/{clip_id}", bugs)
    tell_of_crops_without(streams, progress)


def _record(event: Ended, config: PreprocessConfig, lost: list[FailureRow]) -> SourceRecord:
    """The record of a source that is done or has no result."""
    if isinstance(event, Finished):
        done: SourceDone = event.result
        return done.record
    failure = FailureRow(event.job.name_in_store, event.stage, event.reason)
    written = read_record(config.out, event.job.key)
    if written is not None:  # its clips exist: only their streams were lost
        lost.append(failure)
        return written
    record = record_of(event.job, failure=failure)
    write_record(config.out, event.job.key, record)
    return record


def _finish(
    config: PreprocessConfig,
    jobs: list[SourceJob],
    done: dict[str, SourceRecord],
    num_skipped: int,
    people: Mapping[str, str],
) -> PreprocessResult:
    records = [done[job.key] for job in jobs]
    return PreprocessResult(
        store=config.out,
        num_sources=len(jobs),
        num_skipped=num_skipped,
        num_frames=sum(record.num_frames for record in records),
        clips=tuple(
            replace(clip, person=people.get(clip.clip_id))
            for record in records
            for clip in record.clips
        ),
        failures=tuple(record.failure for record in records if record.failure is not None),
        warnings=tuple(f"{r.source}: {line}" for r in records for line in r.warnings),
    )
