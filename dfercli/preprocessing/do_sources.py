"""All sources of a run: done where the settings say, with progress, one record for each."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dfercli.artifacts.bug_log import BugLog
from dfercli.artifacts.store_writing import SourceRecord
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.engines import do_jobs, num_workers
from dfercli.preprocessing.source_jobs import SourceJob
from dfercli.preprocessing.source_worker import WorkerSetting
from dfercli.preprocessing.worker_pool import Advanced, Finished, Lost, OnPart, Setup, no_parts
from dfercli.processes import num_cores
from dfercli.progress import Progress

Ended = Finished[SourceJob, Any] | Lost[SourceJob]


def do_sources(
    jobs: Sequence[SourceJob],
    setup: Setup,
    setting: WorkerSetting,
    bugs: BugLog,
    progress: Progress,
    record_of: Callable[[Ended], SourceRecord],
    on_part: OnPart = no_parts,
) -> Iterator[tuple[Ended, SourceRecord]]:
    """Do the sources, here or in other processes; yield how each ended, with its record.

    Args:
        jobs: The sources.
        setup: Of `source_worker`.
        setting: What it is called with.
        bugs: Takes the tracebacks of sources that meet a bug.
        progress: Where to report.
        record_of: What became of a source that is done, or of which there is no result.
        on_part: Takes the crops that are handed over.
    """
    frames = faces = failures = 0
    began = time.monotonic()
    doing = "Finding faces, making streams" if setting.streams.streams else "Finding faces"
    with progress.task(doing, total=len(jobs)) as task:
        for event in do_jobs(
            jobs, setup, setting, setting.config, bugs, lambda job: job.name_in_store, on_part
        ):
            if isinstance(event, Advanced):
                frames, faces = frames + event.frames, faces + event.faces
            else:
                record = record_of(event)
                failures += record.failure is not None
                for warning in (*record.warnings, *record.remarks):
                    progress.note(f"{record.source}: {warning}")
                task.advance()
                yield event, record
            rate = frames / max(time.monotonic() - began, 1e-3)
            task.status(frames=frames, fps=round(rate), faces=faces, failures=failures)


def threads_each(config: PreprocessConfig, num_jobs: int) -> int:
    """The cores that each process may use."""
    return max(1, num_cores() // max(1, num_workers(config, num_jobs)))
