"""All sources of a run: done where the settings say, with progress, one record for each."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.engines import do_jobs, num_workers
from dfercli.preprocessing.source_jobs import SourceJob
from dfercli.preprocessing.source_worker import WorkerSetting
from dfercli.preprocessing.stretched import Gathered, with_stretches
from dfercli.preprocessing.worker_pool import Advanced, Finished, Lost, OnPart, Setup, no_parts
from dfercli.processes import num_cores
from dfercli.progress import Progress

Ended = Finished[SourceJob, Any] | Lost[SourceJob]


@dataclass(frozen=True)
class Stage:
    """The work on sources.

    Attributes:
        setup: Of `source_worker`.
        record_of: Makes the record of a source that is done or has no result.
        join: Makes the result of a source from those of its stretches; None: do it as a whole.
        on_part: Takes the crops handed over.
    """

    setup: Setup
    record_of: Callable[[Ended], SourceRecord]
    join: Callable[[SourceJob, Gathered], Any]
    on_part: OnPart = no_parts


def do_sources(
    jobs: Sequence[SourceJob],
    stage: Stage,
    setting: WorkerSetting,
    bugs: BugLog,
    progress: Progress,
) -> Iterator[tuple[Ended, SourceRecord]]:
    """Do the sources, here or in other processes; yield how each ended, with its record.

    Args:
        jobs: The sources.
        stage: What to do with them.
        setting: The argument of `stage.setup`.
        bugs: Takes the tracebacks of sources with a bug.
        progress: Where to report.
    """
    frames = faces = failures = 0
    began = time.monotonic()
    doing = "Finding faces, making streams" if setting.streams.streams else "Finding faces"
    with progress.task(doing, total=len(jobs)) as task:
        for event in _all_events(jobs, stage, setting, bugs):
            if isinstance(event, Advanced):
                frames, faces = frames + event.frames, faces + event.faces
            else:
                record = stage.record_of(event)
                failures += record.failure is not None
                for warning in record.notes:
                    progress.note(f"{record.source}: {warning}")
                task.advance()
                yield event, record
            rate = frames / max(time.monotonic() - began, 1e-3)
            task.status(frames=frames, fps=round(rate), faces=faces, failures=failures)


def _all_events(
    jobs: Sequence[SourceJob], stage: Stage, setting: WorkerSetting, bugs: BugLog
) -> Iterator[Advanced | Ended]:
    """The events of the sources; long ones are done in stretches, or else as a whole."""
    pieces = with_stretches(jobs, setting.config)
    setting = replace(setting, threads=threads_each(setting.config, len(pieces)))
    whole: list[SourceJob] = []
    gathered: dict[str, Gathered] = {}
    given_up: set[str] = set()
    for event in _events(pieces, stage, setting, bugs):
        if isinstance(event, Advanced) or event.job.stretch is None:
            yield event
            continue
        job = replace(event.job, stretch=None)
        if job.key in given_up:
            continue
        if isinstance(event, Lost):
            given_up.add(job.key)
            yield Lost(job, event.reason, event.stage)
            continue
        own = gathered.setdefault(job.key, [])
        own.append((event.job.stretch, event.result))
        if len(own) == event.job.stretch.count:
            own.sort(key=lambda pair: pair[0].number)
            result = stage.join(job, gathered.pop(job.key))
            if result is None:
                whole.append(job)
            else:
                yield Finished(job, result)
    if whole:
        yield from _events(whole, stage, setting, bugs)


def _events(
    jobs: Sequence[SourceJob], stage: Stage, setting: WorkerSetting, bugs: BugLog
) -> Iterator[Advanced | Ended]:
    return do_jobs(
        jobs,
        stage.setup,
        setting,
        setting.config,
        bugs,
        lambda job: job.name_in_store,
        stage.on_part,
    )


def threads_each(config: PreprocessConfig, num_jobs: int) -> int:
    """The cores that each process may use."""
    return max(1, num_cores() // max(1, num_workers(config, num_jobs)))
