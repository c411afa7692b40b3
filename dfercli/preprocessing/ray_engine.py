"""Jobs on a Ray cluster (extra `dfercli[ray]`): the same function, the same results."""

import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from dfercli.artifacts.network import connect
from dfercli.attempts import attempt
from dfercli.config import PreprocessConfig
from dfercli.errors import ArtifactError, ConfigError, DferError, ServiceError
from dfercli.preprocessing.ray_messages import without_messages_of_ray
from dfercli.preprocessing.worker_pool import (
    START_SECONDS,
    Advanced,
    Finished,
    JobT,
    Lost,
    OnPart,
    Setup,
    Unready,
    no_progress,
    ready,
)
from dfercli.processes import keeping_sigterm

POLL_SECONDS = 1.0
MOST_NODES = 3  # after this many deaths under one job, the job may be what kills them
ANSWER_SECONDS = 4.0  # a gRPC server greets at once
HTTP2_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # an empty frame: length, kind, flags, stream
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HTTP2_SETTINGS
NO_WORKER = "each takes one CPU; `ray status` shows which are free"
NO_PLACE = ("auto", "local")  # addresses that Ray looks up itself
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def do_jobs_on_ray(
    jobs: Sequence[JobT],
    setup: Setup,
    argument: Any,
    config: PreprocessConfig,
    on_part: OnPart,
) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
    """Do all jobs on a cluster whose machines see the same files under the same paths.

    `--workers` is the number of jobs at a time; by default one per CPU of the cluster.

    Raises:
        ArtifactError: Ray is not installed.
        ConfigError: an invalid address.
        ServiceError: there is no cluster at the address.
        DferError: one that a job raised; a bug in a job is its result, a `Crash`.
        SetUpError: a bug in `setup`.
    """
    with joined_cluster(config) as ray:
        count = config.workers or int(ray.cluster_resources().get("CPU", 1))
        yield from _Cluster(ray, setup, argument, config.time_limit, on_part).run(jobs, count)


@contextmanager
def joined_cluster(config: PreprocessConfig) -> Iterator[Any]:
    """Join the cluster of the settings, or the one that this process has joined already.

    Yields:
        The module `ray`.

    Raises:
        ArtifactError: Ray is not installed.
        ConfigError: an invalid address.
        ServiceError: there is no cluster at the address.
    """
    ray = require_cluster(config)
    started_here = not ray.is_initialized()
    try:
        if started_here:
            with keeping_sigterm():
                ray.init(
                    address=config.ray_address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        with without_messages_of_ray():
            yield ray
    except ConnectionError as error:
        where = config.ray_address or "this machine"
        hint = "a cluster that was started with a token is joined with RAY_AUTH_MODE=token"
        raise ServiceError(f"no Ray cluster at {where}: {error}", hint=hint) from error
    finally:
        if started_here:
            ray.shutdown()


def require_cluster(config: PreprocessConfig) -> Any:
    """Import Ray, and make sure that something listens at the address.

    Returns:
        The module `ray`.

    Raises:
        ArtifactError: Ray is not installed.
        ConfigError: an invalid address.
        ServiceError: there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise ArtifactError("--engine ray needs Ray", hint='pip install "dfercli[ray]"') from error
    if not ray.is_initialized():
        require_listener(ray, config.ray_address or os.environ.get("RAY_ADDRESS"))
    return ray


def require_listener(ray: Any, address: str | None) -> None:
    """Fail within seconds if nothing listens at an address; Ray would retry for minutes.

    Raises:
        ConfigError: not an address of the form `host:port` or `ray://host:port`.
        ServiceError: nothing listens there.
    """
    if not address or address in NO_PLACE:
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is not a number
        host = port = None
    if not host or port is None:
        raise ConfigError(f"--ray-address takes HOST:PORT, ray://HOST:PORT or auto, got {address}")
    # Ray replaces a loopback address by the machine's, but a cluster may listen on it only.
    hosts = (host, ray.util.get_node_ip_address()) if host in LOOPBACK else (host,)
    reason = ""
    for name in hosts:
        try:
            connect(name, port)
            if os.environ.get("RAY_USE_TLS", "0") != "1":
                _require_grpc(name, port)
        except OSError as error:
            reason = reason or error.strerror or str(error)
        else:
            return
    raise ServiceError(f"no Ray cluster at {address}: {reason}")


def _require_grpc(host: str, port: int) -> None:
    """Fail where something other than a gRPC server listens; Ray would talk to it for ever.

    Raises:
        OSError: nothing answers, or no gRPC server does.
    """
    with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
        until = time.monotonic() + ANSWER_SECONDS
        answer = b""
        with suppress(OSError):  # it hung up or stayed silent
            connection.sendall(HTTP2_GREETING)
            while len(answer) < len(HTTP2_SETTINGS) and (more := connection.recv(64)):
                answer += more
                connection.settimeout(max(0.01, until - time.monotonic()))
    if answer[3:4] != HTTP2_SETTINGS[3:4] or answer[5:9] != HTTP2_SETTINGS[5:9]:
        raise OSError("something other than Ray listens there")


class _Worker:
    """Runs in its own process on some machine of the cluster, in two threads.

    One thread does jobs, the other reports their progress.
    """

    def __init__(self, setup: Setup, argument: Any) -> None:
        self._do = ready(setup, argument)
        self._frames = self._faces = 0
        self._parts: list[Any] = []
        self._heard_at = time.monotonic()

    def work(self, job: Any) -> Any:
        """Do one job: its result, or what went wrong."""
        self._heard_at = time.monotonic()
        if isinstance(self._do, Unready):
            return self._do
        try:
            return attempt(partial(self._do, job, self))
        except DferError as error:
            return error

    def state(self) -> "_State":
        """The work done since the last call."""
        frames, faces, parts = self._frames, self._faces, len(self._parts)
        self._frames, self._faces = self._frames - frames, self._faces - faces
        given, self._parts[:parts] = self._parts[:parts], []
        return _State(frames, faces, given, time.monotonic() - self._heard_at)

    def __call__(self, frames: int, faces: int) -> None:
        self._frames += frames
        self._faces += faces
        self._heard_at = time.monotonic()

    def node(self) -> str:
        """Which machine of the cluster this is."""
        import ray

        name: str = ray.get_runtime_context().get_node_id()
        return name

    def hand_over(self, part: Any) -> None:
        self._parts.append(part)
        self._heard_at = time.monotonic()


@dataclass(frozen=True)
class _State:
    """Frames, face crops and parts of the result since the last question; seconds of silence."""

    frames: int
    faces: int
    parts: list[Any]
    seconds: float


@dataclass
class _UnderWay:
    """A job, the actor that does it, and when that last made progress."""

    actor: Any
    job: Any
    question: Any  # the pending answer of the actor's `state`
    heard_at: float


class _Cluster:
    """Actors that do jobs; one that dies or makes no progress costs its job and is replaced.

    The job of an actor whose machine is gone goes to another one. An actor gets jobs only once it
    has started, so an actor without a CPU, as after the loss of a machine, holds no job up.
    """

    def __init__(
        self, ray: Any, setup: Setup, argument: Any, time_limit: float, on_part: OnPart
    ) -> None:
        self._ray = ray
        self._actor = ray.remote(num_cpus=1, max_concurrency=2)(_Worker)
        self._setup = setup
        self._argument = argument
        self._time_limit = time_limit
        self._on_part = on_part
        self._starting: dict[Any, Any] = {}  # by the pending answer that names their machine
        self._idle: list[Any] = []
        self._nodes: dict[Any, str] = {}  # the machine of each started actor
        self._nodes_lost: Counter[int] = Counter()  # under each job
        self._failed_starts = 0  # in a row
        self._died = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError)

    def run(
        self, jobs: Sequence[JobT], count: int
    ) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
        """Do all jobs, `count` at a time."""
        waiting = deque(jobs)
        under_way: dict[Any, _UnderWay] = {}
        worked_at = time.monotonic()
        while waiting or under_way:
            wanted = min(count, len(waiting) + len(under_way))
            while len(self._starting) + len(self._idle) + len(under_way) < wanted:
                self._start()
            while waiting and self._idle:
                actor, job = self._idle.pop(), waiting.popleft()
                answer = actor.work.remote(job)
                under_way[answer] = _UnderWay(actor, job, actor.state.remote(), time.monotonic())
            done, _ = self._ray.wait([*under_way, *self._starting], timeout=POLL_SECONDS)
            for reference in done:
                if reference in self._starting:
                    self._begin(reference)
                    continue
                own = under_way.pop(reference)
                try:
                    result = self._ray.get(reference)
                    told = self._ray.get([own.question, own.actor.state.remote()])
                except self._died as error:
                    if self._is_gone(own.actor):
                        self._nodes_lost[id(own.job)] += 1
                        if self._nodes_lost[id(own.job)] <= MOST_NODES:
                            waiting.appendleft(own.job)
                            continue
                    yield Lost(own.job, f"its worker process died: {str(error).splitlines()[0]}")
                    continue
                if isinstance(result, Unready):
                    raise result.exception()
                if isinstance(result, DferError):
                    raise result
                yield from (self._taken(own.job, state) for state in told)
                yield Finished(own.job, result)
                self._idle.append(own.actor)
            yield from self._news(under_way.values())
            for reference, own in list(under_way.items()):
                if time.monotonic() - own.heard_at > self._time_limit:
                    del under_way[reference]
                    self._ray.kill(own.actor)
                    yield Lost(own.job, no_progress(self._time_limit))
            if under_way or self._idle:
                worked_at = time.monotonic()
            elif time.monotonic() - worked_at > START_SECONDS + self._time_limit:
                raise ServiceError("no worker starts on the Ray cluster", hint=NO_WORKER)

    def _news(self, under_way: Iterable[_UnderWay]) -> Iterator[Advanced]:
        """Ask the actors for their progress; the job of a dead actor reports its death."""
        for own in under_way:
            if not self._ray.wait([own.question], timeout=0)[0]:
                continue
            try:
                state: _State = self._ray.get(own.question)
            except self._died:
                continue
            yield self._taken(own.job, state)
            own.heard_at = time.monotonic() - state.seconds
            own.question = own.actor.state.remote()

    def _taken(self, job: Any, state: _State) -> Advanced:
        for part in state.parts:
            self._on_part(job, part)
        return Advanced(state.frames, state.faces)

    def _start(self) -> None:
        actor = self._actor.remote(self._setup, self._argument)
        self._starting[actor.node.remote()] = actor

    def _begin(self, answer: Any) -> None:
        """Take an actor that has started, or died before that.

        Raises:
            ServiceError: several in a row died, as where `dfercli` is not installed.
        """
        actor = self._starting.pop(answer)
        try:
            self._nodes[actor] = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts > MOST_NODES:
                reason = str(error).strip().splitlines()[-1]
                raise ServiceError(f"workers die on the Ray cluster: {reason}") from error
            return
        self._failed_starts = 0
        self._idle.append(actor)

    def _is_gone(self, actor: Any) -> bool:
        """Whether the machine of an actor is gone.

        The cluster itself learns of a lost machine within a minute.
        """
        name = self._nodes.pop(actor)
        for node in self._ray.nodes():
            if node["NodeID"] == name and node["Alive"]:
                try:
                    connect(node["NodeManagerAddress"], node["NodeManagerPort"])
                except OSError:
                    return True
                return False
        return True
