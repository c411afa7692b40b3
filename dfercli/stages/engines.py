"""Where jobs run: in this process, in worker processes, or on a Ray cluster."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from dfercli.config import PreprocessConfig
from dfercli.stages.worker_pool import Advanced, Finished, JobT, Lost, Setup, WorkerPool


def do_jobs(
    jobs: Sequence[JobT], setup: Setup, argument: Any, config: PreprocessConfig
) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
    """Do all jobs where `config` says, and yield what happens.

    Args:
        jobs: What to do.
        setup: Called once in each process; returns the function that does one job.
        argument: What `setup` is called with.
        config: Names the engine and the number of workers.

    Raises:
        DferError: one that a job raised.
    """
    workers = os.cpu_count() or 1 if config.workers is None else config.workers
    if not jobs:
        return
    if workers > 0:
        count = min(workers, len(jobs))
        with WorkerPool(setup, argument, workers=count, time_limit=config.time_limit) as pool:
            yield from pool.run(jobs)
    else:
        do = setup(argument)
        for job in jobs:
            yield Finished(job, do(job, lambda frames, faces: None))
