"""Worker processes whose crash or hang does not stop the others.

Each job goes to one process at a time. A process that dies or makes no progress for too long
costs only its job; another process takes its place.
"""

import contextlib
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, Protocol, TypeVar

from dfercli.attempts import Crash, SetUpError, attempt
from dfercli.errors import DferError
from dfercli.processes import block_signals

HEARTBEAT_SECONDS = 0.2
START_SECONDS = 120.0  # for a new process to import what it needs, beyond the time limit
JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class Report(Protocol):
    """Reports the progress of a job, from any thread."""

    def __call__(self, frames: int, faces: int) -> None:
        """Frames and face crops done since the last call."""

    def hand_over(self, part: Any) -> None:
        """Hand over a part of the result, to free its memory here."""


# Makes the function that does jobs: called once in each process, with its argument.
Job = Callable[[Any, Report], Any]
Setup = Callable[[Any], Job]
OnPart = Callable[[Any, Any], None]  # takes a job, and a part of its result


def no_parts(job: Any, part: Any) -> None:
    """For jobs that hand over no parts.

    Raises:
        TypeError: one did.
    """
    raise TypeError(f"nobody waits for parts of {job}: {type(part).__name__}")


@dataclass(frozen=True)
class Advanced:
    """Some frames and face crops more are done."""

    frames: int
    faces: int


@dataclass(frozen=True)
class Finished(Generic[JobT, ResultT]):
    """A job is done."""

    job: JobT
    result: ResultT


@dataclass(frozen=True)
class Lost(Generic[JobT]):
    """There is no result of this job.

    Attributes:
        job: The job.
        reason: Why there is none.
        stage: Its name: the process died, was given up, or hit a bug.
    """

    job: JobT
    reason: str
    stage: str = "worker"


@dataclass(frozen=True)
class _Part:
    content: Any


@dataclass(frozen=True)
class Unready:
    """A process could not be set up: the error of a user, or a bug."""

    fault: DferError | Crash

    def exception(self) -> Exception:
        """The error to raise for whoever waits for the process."""
        return self.fault if isinstance(self.fault, DferError) else SetUpError(self.fault)


def ready(setup: Setup, argument: Any) -> Job | Unready:
    """Set up a process: return the function that does jobs, or why there is none."""
    try:
        done = attempt(lambda: setup(argument))
    except DferError as error:
        return Unready(error)
    return Unready(done) if isinstance(done, Crash) else done


def no_progress(time_limit: float) -> str:
    """Why a process was given up."""
    return f"no progress for {time_limit:g} s (--time-limit)"


class WorkerPool:
    """A number of processes for the jobs of one stage; use as a context manager.

    Args:
        setup: A function at the top of a module; it is called once in each process.
        argument: The argument of `setup`.
        workers: Number of processes.
        time_limit: Seconds without a report after which a process is given up.
        on_part: Called with each part of a result that a job hands over, before its end.
    """

    def __init__(
        self,
        setup: Setup,
        argument: Any,
        *,
        workers: int,
        time_limit: float,
        on_part: OnPart = no_parts,
    ) -> None:
        self._setup = setup
        self._argument = argument
        self._count = workers
        self._time_limit = time_limit
        self._on_part = on_part
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()

    def run(self, jobs: Sequence[JobT]) -> Iterator[Advanced | Finished[JobT, Any] | Lost[JobT]]:
        """Do all jobs, in any order, and yield what happens.

        Raises:
            DferError: one that a job raised; a bug in a job is its result, a `Crash`.
            SetUpError: a bug in `setup`.
        """
        waiting = deque(jobs)
        while waiting or any(worker.busy for worker in self._workers):
            while waiting and (worker := self._idle_worker()) is not None:
                worker.give(waiting.popleft())
            yield from self._news()

    def _idle_worker(self) -> "_Worker | None":
        for worker in self._workers:
            if not worker.busy:
                return worker
        if len(self._workers) < self._count:
            self._workers.append(_Worker(self._context, self._setup, self._argument))
            return self._workers[-1]
        return None

    def _news(self) -> Iterator[Advanced | Finished[Any, Any] | Lost[Any]]:
        by_connection = {worker.connection: worker for worker in self._workers if worker.busy}
        for connection in wait(list(by_connection), timeout=HEARTBEAT_SECONDS):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                yield Lost(worker.job, worker.cause_of_death())
                self._workers.remove(worker)
                continue
            worker.heard_at = time.monotonic()
            worker.started = True
            if isinstance(message, Unready):
                raise message.exception()
            if isinstance(message, DferError):
                raise message
            if isinstance(message, Finished):
                yield Finished(worker.job, message.result)
                worker.busy = False
            elif isinstance(message, _Part):
                self._on_part(worker.job, message.content)
            else:
                yield message
        for worker in [worker for worker in self._workers if worker.busy]:
            limit = self._time_limit + (0.0 if worker.started else START_SECONDS)
            if time.monotonic() - worker.heard_at > limit:
                worker.stop()
                self._workers.remove(worker)
                yield Lost(worker.job, no_progress(self._time_limit))


class _Worker:
    def __init__(self, context: SpawnContext, setup: Setup, argument: Any) -> None:
        self.connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(
            target=_work, args=(theirs, setup, argument), daemon=True
        )
        with block_signals():  # this process gets the signal and stops them
            self._process.start()
        theirs.close()
        self.started = False
        self.busy = False
        self.job: Any = None
        self.heard_at = time.monotonic()

    def give(self, job: Any) -> None:
        self.job = job
        self.busy = True
        self.heard_at = time.monotonic()
        # A process that is dead already is noticed when its answer is awaited.
        with contextlib.suppress(OSError):
            self.connection.send(job)

    def cause_of_death(self) -> str:
        self._process.join(timeout=5)
        code = self._process.exitcode
        self.connection.close()
        if code is not None and code < 0:
            return f"its worker process was killed by {signal.Signals(-code).name}"
        return f"its worker process ended with exit code {code}"

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(connection: Connection, setup: Setup, argument: Any) -> None:
    """Do the jobs that come in until the other end closes."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        do = ready(setup, argument)
        if isinstance(do, Unready):
            connection.recv()
            connection.send(do)
            return
        connection.send(Advanced(0, 0))
        while True:
            job = connection.recv()
            heartbeat = _Heartbeat(connection)
            try:
                result = attempt(partial(do, job, heartbeat))
            except DferError as error:
                connection.send(error)
                continue
            heartbeat.flush()
            connection.send(Finished(None, result))


class _Heartbeat:
    """Gathers reports and sends them on a few times a second; fails once nobody listens."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # decoding reports from its own thread
        self._sent_at = 0.0
        self._frames = 0
        self._faces = 0

    def __call__(self, frames: int, faces: int) -> None:
        with self._lock:
            self._frames += frames
            self._faces += faces
            if time.monotonic() - self._sent_at > HEARTBEAT_SECONDS:
                self._send()

    def hand_over(self, part: Any) -> None:
        with self._lock:
            self._connection.send(_Part(part))

    def flush(self) -> None:
        with self._lock:
            self._send()

    def _send(self) -> None:
        self._connection.send(Advanced(self._frames, self._faces))
        self._sent_at = time.monotonic()
        self._frames = self._faces = 0
