"""Where jobs run: in this process, in worker processes, or on a Ray cluster."""

from collections.abc import Iterator, Sequence
from typing import Any

from dfercli.config import PreprocessConfig
from dfercli.preprocessing.ray_engine import do_jobs_on_ray
from dfercli.preprocessing.worker_pool import Advanced, Finished, JobT, Lost, Setup, WorkerPool
from dfercli.processes import num_cores


def num_workers(config: PreprocessConfig, num_jobs: int) -> int:
    """How many processes `config` asks for; 0 is this process."""
    return min(num_cores() if config.workers is None else config.workers, num_jobs)


def do_jobs(
    jobs: Sequence[JobT], setup: Setup, argument: Any, config: PreprocessConfig
) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
    """Run all jobs where `config` says, and yield the events.

    Args:
        jobs: What to do.
        setup: Called once in each process; returns the function that does one job.
        argument: What `setup` is called with.
        config: Names the engine and the number of workers.

    Raises:
        DferError: one that a job raised.
    """
    workers = num_workers(config, len(jobs))
    if not jobs:
        return
    if config.engine == "ray":
        yield from do_jobs_on_ray(jobs, setup, argument, config)
    elif workers > 0:
        with WorkerPool(setup, argument, workers=workers, time_limit=config.time_limit) as pool:
            yield from pool.run(jobs)
    else:
        do = setup(argument)
        for job in jobs:
            yield Finished(job, do(job, lambda frames, faces: None))
