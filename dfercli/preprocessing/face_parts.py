"""Streams of face crops that exist already, for a face store or a benchmark's copy."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from dfercli.artifacts.bug_log import BUG_STAGE, BUGS_FILE, BugLog
from dfercli.artifacts.face_store import ClipRow, FailureRow, crops_folder
from dfercli.artifacts.jsonl import write_rows
from dfercli.artifacts.locks import exclusive
from dfercli.artifacts.parts_record import PART_FOLDERS, PARTS_FILE, PARTS_SCHEMA, record_parts
from dfercli.artifacts.removing import remove_inside, require_no_links
from dfercli.attempts import Crash
from dfercli.config import PreprocessConfig
from dfercli.data.clips import Clip
from dfercli.data.folds import read_fold
from dfercli.data.layout import dataset_root
from dfercli.errors import ConfigError, DataError
from dfercli.faces.stream_maker import IMAGE_STREAMS, StreamMaker, StreamSetting, setting_of
from dfercli.preprocessing.detectors import torch_device
from dfercli.preprocessing.engines import do_jobs, require_engine
from dfercli.preprocessing.make_streams import (
    ClipStreams,
    StreamsDone,
    make_streams,
    missing_streams,
)
from dfercli.preprocessing.worker_pool import Advanced, Lost, Report
from dfercli.progress import Progress

CLIPS_AT_ONCE = 8  # clips whose crops go through the networks together
BENCHMARK_MARGIN = 0.1  # published crops are tight


@dataclass(frozen=True)
class PartsJob:
    """Clips whose streams are made together."""

    clips: tuple[ClipStreams, ...]


@dataclass(frozen=True)
class PartsResult:
    """The result of a run on a benchmark's copy.

    Attributes:
        store: Where landmarks and parsing maps are.
        num_clips: Clips of the copy.
        num_skipped: Those among them that an earlier run did.
        failures: Clips whose frames could not be read.
    """

    store: Path
    num_clips: int
    num_skipped: int
    failures: tuple[FailureRow, ...]


PartsSetting = tuple[PreprocessConfig, StreamSetting]


def stream_setting(config: PreprocessConfig, margin: float | None = None) -> StreamSetting:
    """Which streams `config` asks for, and how to make them; the device only if there are any.

    Args:
        config: The settings.
        margin: The margin of the crops, if it differs from the setting.
    """
    wants = any(name in IMAGE_STREAMS for name in config.made_streams)
    return setting_of(config, torch_device(config) if wants else "cpu", margin)


def add_parts_to_store(
    clips: Sequence[ClipRow], config: PreprocessConfig, bugs: BugLog, progress: Progress
) -> list[FailureRow]:
    """Add the missing streams of a face store's clips, except captions."""
    setting = stream_setting(config)
    return _do(
        [(clip.clip_id, crops_folder(config.out, clip.clip_id)) for clip in clips],
        (config, setting),
        bugs,
        progress,
    )


def run_on_benchmark(config: PreprocessConfig, progress: Progress) -> PartsResult:
    """Find landmarks and parsing maps for a benchmark's copy, in a separate folder.

    The frames stay where they are: `clips.jsonl` names them, nothing is copied, and nothing is
    written into the copy.

    Raises:
        ConfigError: nothing is asked for, `out` lies in the copy or is a face store, or holds parts
            that were made in another way.
        DataError: the lists of the copy, or the frames of all clips, are missing.
        ArtifactError: weights are missing and cannot be fetched.
    """
    (dataset,) = config.sources
    setting = stream_setting(config, BENCHMARK_MARGIN)
    if not setting.streams or "captions" in config.made_streams:
        raise ConfigError(
            f"the frames of {dataset} are face crops already: ask for --streams landmarks, parsing "
            "or regions"
        )
    fold = read_fold(dataset, root=config.root, allow_missing=True)
    clips = sorted({clip.clip_id: clip for clip in (*fold.train, *fold.test)}.items())
    store = config.out.resolve()
    copy = dataset_root(dataset.lower(), config.root)
    _refuse_out(store, dataset, (copy, *(clip.location.parent for _, clip in clips[:1])))
    _require_frames(dataset, [clip for _, clip in clips])
    setting.require_networks()
    require_engine(config)
    config = replace(config, out=store)
    with exclusive(store / ".lock", busy=f"{store} is being written"):
        for name in PART_FOLDERS:
            require_no_links(store, store / name)
        if config.overwrite and (store / PARTS_FILE).is_file():
            # A failed set-up must not cost existing parts.
            set_up_parts((config, setting))
            _remove_parts(store)
        record_parts(store, setting.how_made(), dataset)
        places = [(name, clip.location.absolute()) for name, clip in clips]
        num_skipped = len(places) - len(_missing(places, (config, setting)))
        write_rows(
            store / "parts.jsonl",
            (
                {"schema": PARTS_SCHEMA, "clip_id": name, "frames": os.path.relpath(place, store)}
                for name, place in places
            ),
        )
        bugs = BugLog(store / BUGS_FILE)
        failures = _do(places, (config, setting), bugs, progress)
        bugs.tell(progress)
        write_rows(store / "failures.jsonl", (failure.to_row() for failure in failures))
    return PartsResult(store, len(clips), num_skipped, tuple(failures))


def _refuse_out(store: Path, dataset: str, places: Sequence[Path]) -> None:
    if any(store.is_relative_to(place.resolve()) for place in places):
        raise ConfigError(
            f"--out {store} lies in the copy of {dataset}", hint="choose a folder outside of it"
        )
    if (store / "dataset.json").exists():
        raise ConfigError(
            f"--out {store} is a face store, the parts of {dataset} need their own folder",
            hint="choose another --out",
        )


def _require_frames(dataset: str, clips: Sequence[Clip]) -> None:
    if clips and not any(clip.location.is_dir() for clip in clips):
        raise DataError(
            f"{dataset}: none of its {len(clips)} clips is a folder of frames, the first is "
            f"{'' if clips[0].location.exists() else 'missing: '}{clips[0].location}",
            hint="extract the frames of each clip to a folder of its name, or make a face store of "
            "the videos: dfer preprocess VIDEOS --out faces/ --streams landmarks",
        )


def _remove_parts(store: Path) -> None:
    """Remove an earlier run's files from a folder; others stay."""
    for name in (*PART_FOLDERS, "parts.jsonl", "failures.jsonl", BUGS_FILE, PARTS_FILE):
        remove_inside(store, name)


def _do(
    clips: Sequence[tuple[str, Path]], setting: PartsSetting, bugs: BugLog, progress: Progress
) -> list[FailureRow]:
    """Make missing streams of clips, given as names and folders of crops."""
    config = setting[0]
    missing = _missing(clips, setting)
    jobs = [
        PartsJob(tuple(missing[first : first + CLIPS_AT_ONCE]))
        for first in range(0, len(missing), CLIPS_AT_ONCE)
    ]
    failures: list[FailureRow] = []
    together = StreamsDone()
    with progress.task("Streams of clips", total=len(missing)) as task:
        for event in do_jobs(
            jobs, set_up_parts, setting, config, bugs, lambda job: job.clips[0].clip_id
        ):
            if isinstance(event, Advanced):
                continue
            task.advance(len(event.job.clips))
            if isinstance(event, Lost):
                failures += [
                    FailureRow(_place(clip.folder, config), event.stage, event.reason)
                    for clip in event.job.clips
                ]
            else:
                together.add(event.result)
    folders = {clip.clip_id: clip.folder for clip in missing}
    failures += stream_failures(together, lambda clip_id: _place(folders[clip_id], config), bugs)
    tell_of_crops_without(together, progress)
    return failures


def _missing(clips: Sequence[tuple[str, Path]], setting: PartsSetting) -> list[ClipStreams]:
    found = (missing_streams(setting[0].out, *clip, setting[1]) for clip in clips)
    return [clip for clip in found if clip is not None]


def _place(folder: Path, config: PreprocessConfig) -> str:
    return os.path.relpath(folder, config.out.resolve())


def stream_failures(
    done: StreamsDone, place: Callable[[str], str], bugs: BugLog
) -> list[FailureRow]:
    """The rows of `failures.jsonl` for missing streams; bugs are logged once per reason.

    Args:
        done: The outcome of the clips.
        place: The name of a clip there.
        bugs: Takes the tracebacks.
    """
    rows = []
    logged: dict[str, str] = {}
    for one in done.failures:
        if isinstance(one.reason, Crash):
            if one.reason.traceback not in logged:
                logged[one.reason.traceback] = bugs.add(place(one.clip_id), one.reason)
            rows.append(FailureRow(place(one.clip_id), BUG_STAGE, logged[one.reason.traceback]))
        else:
            rows.append(FailureRow(place(one.clip_id), one.stream, one.reason))
    return rows


def tell_of_crops_without(done: StreamsDone, progress: Progress) -> None:
    """Note on how many crops there were no landmarks."""
    if done.num_without:
        progress.note(
            f"no landmarks on {done.num_without} of {done.num_crops} crops: "
            "their pictures of landmarks are black"
        )


def set_up_parts(setting: PartsSetting) -> Callable[[PartsJob, Report], StreamsDone]:
    """Prepare a process, and return the function that makes the streams of some clips."""
    config, streams = setting
    cv2.setNumThreads(1)
    maker = StreamMaker(streams)

    def do(job: PartsJob, report: Report) -> StreamsDone:
        return make_streams(maker, config.out, job.clips, report)

    return do
