"""Jobs on a Ray cluster (extra `dfercli[ray]`): the same function, the same results."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from dfercli.config import PreprocessConfig
from dfercli.errors import ArtifactError, DferError, ServiceError
from dfercli.stages.worker_pool import Advanced, Finished, JobT, Lost, Setup

POLL_SECONDS = 1.0


def do_jobs_on_ray(
    jobs: Sequence[JobT], setup: Setup, argument: Any, config: PreprocessConfig
) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
    """Do all jobs on a cluster whose machines see the same files under the same paths.

    `--workers` is the number of jobs at a time; by default one per CPU of the cluster.

    Raises:
        ArtifactError: Ray is not installed.
        ServiceError: there is no cluster at the address.
        DferError: one that a job raised.
    """
    try:
        import ray
    except ImportError as error:
        raise ArtifactError("--engine ray needs Ray", hint='pip install "dfercli[ray]"') from error
    started_here = not ray.is_initialized()
    try:
        if started_here:
            ray.init(
                address=config.ray_address,
                num_cpus=None if config.ray_address else config.workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        count = config.workers or int(ray.cluster_resources().get("CPU", 1))
        yield from _Cluster(ray, setup, argument).run(jobs, count)
    except ConnectionError as error:
        where = config.ray_address or "this machine"
        raise ServiceError(f"no Ray cluster at {where}: {error}") from error
    finally:
        if started_here:
            ray.shutdown()


class _Worker:
    """Runs in a process of its own on some machine of the cluster."""

    def __init__(self, setup: Setup, argument: Any) -> None:
        self._do = setup(argument)

    def work(self, job: Any) -> tuple[Any, int, int] | DferError:
        """Do one job: its result with the frames and face crops done, or the error it raised."""
        frames = faces = 0

        def report(new_frames: int, new_faces: int) -> None:
            nonlocal frames, faces
            frames, faces = frames + new_frames, faces + new_faces

        try:
            return self._do(job, report), frames, faces
        except DferError as error:
            return error


class _Cluster:
    """Actors that do jobs; one that dies costs its job and is replaced."""

    def __init__(self, ray: Any, setup: Setup, argument: Any) -> None:
        self._ray = ray
        self._actor = ray.remote(num_cpus=1)(_Worker)
        self._setup = setup
        self._argument = argument

    def run(
        self, jobs: Sequence[JobT], count: int
    ) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
        """Do all jobs, `count` at a time."""
        waiting = deque(jobs)
        idle = [self._new_actor() for _ in range(min(count, len(jobs)))]
        under_way: dict[Any, tuple[Any, JobT]] = {}
        while waiting or under_way:
            while waiting and idle:
                actor, job = idle.pop(), waiting.popleft()
                under_way[actor.work.remote(job)] = (actor, job)
            done, _ = self._ray.wait(list(under_way), timeout=POLL_SECONDS)
            for reference in done:
                actor, job = under_way.pop(reference)
                try:
                    answer = self._ray.get(reference)
                except self._ray.exceptions.RayActorError as error:
                    yield Lost(job, f"its worker process died: {str(error).splitlines()[0]}")
                    idle.append(self._new_actor())
                    continue
                if isinstance(answer, DferError):
                    raise answer
                result, frames, faces = answer
                yield Advanced(frames, faces)
                yield Finished(job, result)
                idle.append(actor)

    def _new_actor(self) -> Any:
        return self._actor.remote(self._setup, self._argument)
