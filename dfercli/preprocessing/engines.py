"""Where jobs run: in this process, in worker processes, or on a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dfercli.artifacts.bug_log import BUG_STAGE, BugLog
from dfercli.attempts import Crash, attempt
from dfercli.config import PreprocessConfig
from dfercli.preprocessing.ray_engine import do_jobs_on_ray, require_cluster
from dfercli.preprocessing.worker_pool import (
    Advanced,
    Finished,
    JobT,
    Lost,
    OnPart,
    Setup,
    WorkerPool,
    no_parts,
)
from dfercli.processes import num_cores


def num_workers(config: PreprocessConfig, num_jobs: int) -> int:
    """How many processes `config` asks for; 0 is this process."""
    return min(num_cores() if config.workers is None else config.workers, num_jobs)


def require_engine(config: PreprocessConfig) -> None:
    """Make sure, before any work, that the engine can do it.

    Raises:
        ArtifactError: Ray is requested but not installed.
        ConfigError: an invalid address.
        ServiceError: there is no cluster at the address.
    """
    if config.engine == "ray":
        require_cluster(config)


def do_jobs(
    jobs: Sequence[JobT],
    setup: Setup,
    argument: Any,
    config: PreprocessConfig,
    bugs: BugLog,
    name: Callable[[JobT], str],
    on_part: OnPart = no_parts,
) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
    """Run all jobs where `config` says, and yield the events.

    Args:
        jobs: What to do.
        setup: Called once in each process; returns the function that does one job.
        argument: The argument of `setup`.
        config: Names the engine and the number of workers.
        bugs: Takes the traceback of a job that hit a bug; a bug costs only that job.
        name: The name of a job there.
        on_part: Called with a job and each part of its result that it hands over before its end.

    Raises:
        DferError: one that a job raised.
        SetUpError: a bug in `setup`, in another process.
    """
    for event in _events(jobs, setup, argument, config, on_part):
        if isinstance(event, Finished) and isinstance(event.result, Crash):
            yield Lost(event.job, bugs.add(name(event.job), event.result), BUG_STAGE)
        else:
            yield event


def _events(
    jobs: Sequence[JobT],
    setup: Setup,
    argument: Any,
    config: PreprocessConfig,
    on_part: OnPart,
) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
    workers = num_workers(config, len(jobs))
    if not jobs:
        return
    if config.engine == "ray":
        yield from do_jobs_on_ray(jobs, setup, argument, config, on_part)
    elif workers > 0:
        limit = config.time_limit
        with WorkerPool(
            setup, argument, workers=workers, time_limit=limit, on_part=on_part
        ) as pool:
            yield from pool.run(jobs)
    else:
        do = setup(argument)
        for job in jobs:
            yield Finished(job, attempt(partial(do, job, _Unheard(job, on_part))))


@dataclass(frozen=True)
class _Unheard:
    """Do nothing: nobody waits for signs of life from this process."""

    job: Any
    on_part: OnPart

    def __call__(self, frames: int, faces: int) -> None:
        pass

    def hand_over(self, part: Any) -> None:
        self.on_part(self.job, part)
