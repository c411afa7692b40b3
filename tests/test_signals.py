"""SIGINT, SIGTERM, SIGHUP and SIGUSR1: work is saved, said, tidied up, ended."""

import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drawn_videos import write_drawn_video
from stores import bright_and_dark_store
from test_resume import assert_same_run
from toy_model import write_toy_checkpoint
from trainings import DFER, OPTIONS, small_config

from dfercli.artifacts.run_folder import FoldFolder
from dfercli.processes import ONE_REQUEST_SECONDS, Stopped, stop_signals
from dfercli.progress import LogProgress
from dfercli.training import run as train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("signals") / "faces", frames=4)


@pytest.fixture(scope="module")
def uninterrupted(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train.run(small_config(store, tmp_path_factory.mktemp("whole")), LogProgress()).run


class Signalling:
    """A progress that sends this process a signal at one advance of one task; notes are kept."""

    def __init__(self, number: int, task: str, at: int) -> None:
        self.number, self.named, self.left = number, task, at
        self.notes: list[str] = []

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator["Signalling"]:
        self.running = description
        yield self
        self.running = "training"

    def advance(self, steps: float = 1) -> None:
        if self.running == self.named and steps:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)

    def status(self, **values: float | int | str) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)

    def info(self, message: str) -> None:
        pass


@pytest.mark.parametrize(
    ("number", "task", "at", "saved"),
    [
        (signal.SIGINT, "training", 1, "epoch-0000-step-000001"),
        (signal.SIGHUP, "training", 3, "epoch-0000-step-000003"),  # nothing measured yet
        (signal.SIGTERM, "training", 4 + 1, "epoch-0001-step-000002"),
        (signal.SIGTERM, "validation", 1, "epoch-0000-step-000003"),
    ],
)
def test_a_training_saves_at_the_next_step_and_ends_as_if_never_stopped(
    store: Path,
    uninterrupted: Path,
    tmp_path: Path,
    number: signal.Signals,
    task: str,
    at: int,
    saved: str,
) -> None:
    progress = Signalling(number, task, at)
    with pytest.raises(Stopped) as stopped:
        train.run(small_config(store, tmp_path), progress)
    assert stopped.value.number == number
    run = tmp_path / "run"
    assert FoldFolder(run / "fold-1").last_name == saved
    assert f"{number.name}: saved after epoch {int(saved[6:10])}" in "\n".join(progress.notes)
    assert progress.notes[-1] == f"stopped; continue with: dfer train --resume {run}"
    train.resume(run, LogProgress())
    assert_same_run(run, uninterrupted)


def test_sigusr1_saves_and_goes_on(store: Path, uninterrupted: Path, tmp_path: Path) -> None:
    progress = Signalling(signal.SIGUSR1, "training", 4 + 1)
    train.run(small_config(store, tmp_path), progress)
    assert progress.notes == ["SIGUSR1: saved after epoch 1, step 2 of the next"]
    assert_same_run(tmp_path / "run", uninterrupted)


class Twice(Signalling):
    """Sends the signal again at each later step, as one who loses patience."""

    def advance(self, steps: float = 1) -> None:
        super().advance(steps)
        if self.left <= 0 and self.running == self.named:
            time.sleep(ONE_REQUEST_SECONDS)
            os.kill(os.getpid(), self.number)


def test_the_second_signal_stops_at_once_and_saves_nothing(store: Path, tmp_path: Path) -> None:
    progress = Twice(signal.SIGTERM, "training", 1)
    with pytest.raises(Stopped):
        train.run(small_config(store, tmp_path), progress)
    assert FoldFolder(tmp_path / "run" / "fold-1").last_name is None
    assert not any("saved" in note for note in progress.notes)


def test_a_signal_sent_twice_at_once_counts_as_one() -> None:
    told: list[int] = []
    with stop_signals() as signals, pytest.raises(Stopped), signals.held_back(told.append):
        os.kill(os.getpid(), signal.SIGTERM) or os.kill(os.getpid(), signal.SIGTERM)
    assert signals.asked.stop == signal.SIGTERM
    time.sleep(0.1)  # it is told by a thread
    assert told == [signal.SIGTERM]


def test_ignored_signals_and_those_of_others_are_left_alone() -> None:
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with stop_signals():
            os.kill(os.getpid(), signal.SIGHUP)  # as under nohup
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == [signal.SIGTERM]


def start(*arguments: object, temporary: Path) -> subprocess.Popen[str]:
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [DFER, *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def wait_until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not there() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert there(), process.communicate()[1] if process.poll() is not None else "still running"


def of_session(leader: int) -> list[int]:
    """The processes that are left of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, *fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader and state != "Z":
                found.append(int(entry.name))
    return found


def assert_ended(process: subprocess.Popen[str], number: int, temporary: Path) -> str:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number, err
    assert err.splitlines()[-1] == f"error: interrupted by {signal.Signals(number).name}"
    assert "Traceback" not in err
    assert out == ""
    assert list(temporary.iterdir()) == []
    deadline = time.monotonic() + 5  # Python's own tracker of resources ends after the rest
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert of_session(process.pid) == []
    return err


def test_preemption_of_a_training(store: Path, tmp_path: Path) -> None:
    """A cluster signals every process of a job, readers too; SIGUSR1 comes first."""
    own = ["--workers", "1", "--epochs", "500", "--out", tmp_path, "--name", "run"]
    process = start("train", store, *OPTIONS, *own, temporary=tmp_path / "t")
    folder = FoldFolder(tmp_path / "run" / "fold-1")
    wait_until(folder.last.exists, process)
    os.killpg(process.pid, signal.SIGUSR1)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGTERM)
    err = assert_ended(process, signal.SIGTERM, tmp_path / "t")
    assert "SIGUSR1: saved" in err
    assert "SIGTERM: saved" in err
    assert f"continue with: dfer train --resume {tmp_path / 'run'}" in err


def test_all_processes_of_a_training_stop_at_the_same_step(store: Path, tmp_path: Path) -> None:
    own = ["--devices", "2", "--epochs", "500", "--out", tmp_path, "--name", "run"]
    process = start("train", store, *OPTIONS, *own, temporary=tmp_path / "t")
    folder = FoldFolder(tmp_path / "run" / "fold-1")
    wait_until(folder.last.exists, process)
    others = set(of_session(process.pid)) - {process.pid}
    (other,) = (pid for pid in others if b"train" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(other, signal.SIGTERM)  # one of them alone hears it
    err = assert_ended(process, signal.SIGTERM, tmp_path / "t")
    assert err.count("SIGTERM: saved") == 1


def test_predict_leaves_nothing_behind(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for index in range(4):
        write_drawn_video(videos / f"{index}.mp4", seconds=2)
    crop = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}
    checkpoint = write_toy_checkpoint(tmp_path / "checkpoint", crop=crop)
    options = ("--checkpoint", checkpoint, "--detector", "haar", "--workers", 2)
    process = start("predict", videos, *options, temporary=tmp_path / "t")
    wait_until(lambda: any((tmp_path / "t").glob("dfer-faces-*/frames/*")), process)
    os.killpg(process.pid, signal.SIGHUP)
    assert_ended(process, signal.SIGHUP, tmp_path / "t")


@pytest.mark.parametrize(
    "command",
    [
        ("demo", "--workers", "1"),
        ("preprocess", "videos", "--detector", "haar", "--workers", "1"),
    ],
    ids=lambda command: command[0],
)
def test_commands_with_workers_end_with_them(tmp_path: Path, command: tuple[str, ...]) -> None:
    for index in range(4):
        write_drawn_video(tmp_path / "videos" / f"{index}.mp4", seconds=2)
    arguments = [tmp_path / "videos" if part == "videos" else part for part in command]
    out = tmp_path / "out"
    process = start(*arguments, "--out", out, temporary=tmp_path / "t")
    wait_until(lambda: any(path.suffix in (".mp4", ".jpg") for path in out.rglob("*")), process)
    os.killpg(process.pid, signal.SIGTERM)
    assert_ended(process, signal.SIGTERM, tmp_path / "t")
    assert [path for path in out.rglob("*") if ".partial-" in path.name] == []


def test_a_terminal_that_goes_away(store: Path, tmp_path: Path) -> None:
    """Nobody reads the bars any more, and writing them fails; the work is saved all the same."""
    process, terminal = pty.fork()
    own = ["--epochs", "500", "--out", str(tmp_path), "--name", "run"]
    if process == 0:
        os.execv(DFER, [DFER, "train", str(store), *OPTIONS, *own])
    folder = FoldFolder(tmp_path / "run" / "fold-1")
    deadline = time.monotonic() + 60
    while not folder.last.exists() and time.monotonic() < deadline:
        os.read(terminal, 65536)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert folder.last_name is not None
