"""SIGINT, SIGTERM, SIGHUP and SIGUSR1: work is saved with a note, tidied up and ended."""

import os
import pty
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from drawn_videos import write_drawn_video
from fork_server import Forked
from llm_server import Received, Reply, serve
from running import DFER, Running
from stores import bright_and_dark_store
from test_resume import assert_same_run
from toy_model import write_toy_checkpoint
from trainings import OPTIONS, small_config

from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.bench import loading
from dfercli.bench import run as bench
from dfercli.cli.app import run as dfer
from dfercli.evaluation import measure
from dfercli.inference import convert, export
from dfercli.prediction import annotate, live
from dfercli.processes import ONE_REQUEST_SECONDS, STOPPING, Stopped, stop_signals
from dfercli.progress import LogProgress
from dfercli.training import fit
from dfercli.training import run as train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("signals") / "faces", frames=4)


@pytest.fixture(scope="module")
def uninterrupted(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train.run(small_config(store, tmp_path_factory.mktemp("whole")), LogProgress()).run


class Signalling:
    """A progress that signals this process at one advance of one task, and keeps the notes."""

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
    """Sends the signal again at each later step, like an impatient user."""

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
    time.sleep(0.1)  # a thread reports it
    assert told == [signal.SIGTERM]


def test_ignored_signals_and_handlers_of_others_are_left_alone() -> None:
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with stop_signals():
            os.kill(os.getpid(), signal.SIGHUP)  # ignored, as under nohup
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == [signal.SIGTERM]


def of_session(leader: int) -> list[int]:
    """The processes of a session that are still there."""
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


def assert_ended(process: Running, number: int) -> str:
    assert process.ended() == 128 + number, process.err
    assert process.err.splitlines()[-1] == f"error: interrupted by {signal.Signals(number).name}"
    assert "Traceback" not in process.err
    assert process.out == ""
    assert list(process.temporary.iterdir()) == []
    deadline = time.monotonic() + 5  # Python's resource tracker ends after the rest
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert of_session(process.pid) == []
    return process.err


def test_preemption_of_a_training(store: Path, tmp_path: Path) -> None:
    """A cluster signals every process of a job, readers too, with SIGUSR1 first."""
    own = ["--workers", "1", "--epochs", "500", "--out", tmp_path, "--name", "run"]
    process = Running("train", store, *OPTIONS, *own, folder=tmp_path / "p")
    process.wait_until(FoldFolder(tmp_path / "run" / "fold-1").last.exists)
    os.killpg(process.pid, signal.SIGUSR1)
    process.wait_until(lambda: "SIGUSR1: saved" in process.err)
    os.killpg(process.pid, signal.SIGTERM)
    err = assert_ended(process, signal.SIGTERM)
    assert "SIGTERM: saved" in err
    assert f"continue with: dfer train --resume {tmp_path / 'run'}" in err


def test_all_processes_of_a_training_stop_at_the_same_step(store: Path, tmp_path: Path) -> None:
    own = ["--devices", "2", "--epochs", "500", "--out", tmp_path, "--name", "run"]
    process = Running("train", store, *OPTIONS, *own, folder=tmp_path / "p")
    process.wait_until(FoldFolder(tmp_path / "run" / "fold-1").last.exists)
    others = set(of_session(process.pid)) - {process.pid}
    (other,) = (pid for pid in others if b"train" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(other, signal.SIGTERM)  # only one of them receives it
    err = assert_ended(process, signal.SIGTERM)
    assert err.count("SIGTERM: saved") == 1


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    first = write_drawn_video(folder / "0.mp4", seconds=2)
    for index in range(1, 4):
        os.link(first, folder / f"{index}.mp4")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crop = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint", crop=crop)


def test_predict_leaves_nothing_behind(videos: Path, checkpoint: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    options = ("--checkpoint", checkpoint, "--detector", "haar", "--workers", 1)
    process = Running("predict", videos, *options, "--faces-out", kept, folder=tmp_path / "p")
    process.wait_until(lambda: any(kept.glob("frames/*")))
    os.killpg(process.pid, signal.SIGHUP)
    assert_ended(process, signal.SIGHUP)


@pytest.mark.parametrize("command", ["demo", "preprocess"])
def test_commands_with_workers_end_with_them(videos: Path, tmp_path: Path, command: str) -> None:
    own = [videos, "--detector", "haar"] if command == "preprocess" else []
    out = tmp_path / "out"
    process = Running(command, *own, "--workers", 1, "--out", out, folder=tmp_path / "p")
    process.wait_until(lambda: any(path.suffix in (".mp4", ".jpg") for path in out.rglob("*")))
    os.killpg(process.pid, signal.SIGTERM)
    assert_ended(process, signal.SIGTERM)
    assert [path for path in out.rglob("*") if ".partial-" in path.name] == []


def test_a_terminal_that_goes_away(store: Path, tmp_path: Path) -> None:
    """Nobody reads the progress bars, and writing them fails; the work is saved all the same."""
    terminal, theirs = pty.openpty()
    own = ["--epochs", "500", "--out", str(tmp_path), "--name", "run"]
    command = [DFER, "train", str(store), *OPTIONS, *own]
    process = Forked(command, theirs, theirs, dict(os.environ))
    os.close(theirs)
    folder = FoldFolder(tmp_path / "run" / "fold-1")
    deadline = time.monotonic() + 60
    while not folder.last.exists() and time.monotonic() < deadline:
        os.read(terminal, 65536)
    os.close(terminal)
    assert process.poll(60) == 129
    assert folder.last_name is not None


class Striking:
    """Sends this process a signal in the middle of a command's work."""

    def __init__(self, number: int, work: Callable[..., Any], at: int = 1) -> None:
        self.number, self.work, self.left = number, work, at

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.work(*arguments, **named)


# The arguments of a command, the function in which the signal strikes, and at which call.
STRUCK: dict[str, tuple[Callable[..., list[object]], Any, str, int]] = {
    "eval, measuring": (
        lambda at: ["eval", at.checkpoint, at.store, "--workers", 0, "--out", at.out / "e"],
        measure,
        "predict_logits",
        1,
    ),
    "eval, writing": (
        lambda at: ["eval", at.checkpoint, at.store, "--workers", 0, "--out", at.out / "e"],
        measure,
        "plot_reliability",
        1,
    ),
    "export, comparing": (
        lambda at: [
            *("export", at.checkpoint, "--format", "torchscript"),
            *("--out", at.out / "m.torchscript"),
        ],
        export,
        "_difference",
        1,
    ),
    "export, rounding": (
        lambda at: ["export", at.checkpoint, "--int8", "--out", at.out / "m.onnx"],
        export,
        "_difference",
        2,
    ),
    "convert": (
        lambda at: ["convert", at.checkpoint, "--to", "official", "--out", at.out / "m.pth"],
        convert,
        "_write_official",
        1,
    ),
    "bench": (lambda at: ["bench", "--only", "loading", "--runs", 1], loading, "by_turns", 1),
    "predict, writing": (
        lambda at: [
            *("predict", at.faces, "--checkpoint", at.checkpoint),
            *("--html", at.out / "p.html", "--video", at.out / "copies"),
        ],
        annotate,
        "_faces_in",
        3,
    ),
}


@dataclass(frozen=True)
class Places:
    checkpoint: Path
    store: Path
    faces: Path
    out: Path


@pytest.fixture(scope="module")
def faces(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "store"
    command = ["preprocess", str(videos / "0.mp4"), "--detector", "haar", "--workers", "0"]
    assert dfer([*command, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def assert_told(capsys: pytest.CaptureFixture[str], number: int) -> None:
    told = capsys.readouterr().err
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    assert told.splitlines()[-1] == f"error: interrupted{by}"
    assert "Traceback" not in told


@pytest.mark.parametrize("name", STRUCK)
def test_a_command_struck_in_the_middle_leaves_nothing(
    name: str,
    store: Path,
    checkpoint: Path,
    faces: Path,
    temporary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    command, module, function, at = STRUCK[name]
    number = STOPPING[list(STRUCK).index(name) % len(STOPPING)]
    strike = Striking(number, getattr(module, function), at)
    monkeypatch.setattr(module, function, strike)
    arguments = command(Places(checkpoint, store, faces, out))
    for slow in ("matrix_rate", "_memory_of_ours"):  # in `dfer bench`, before the signal
        monkeypatch.setattr(bench, slow, lambda *_: 1.0)
    assert dfer([*map(str, arguments)]) == 128 + number
    assert strike.left <= 0
    assert_told(capsys, number)
    assert list(temporary.iterdir()) == []
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_an_interrupted_evaluation_keeps_the_older_one_whole(
    store: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "e"
    command = ["eval", str(checkpoint), str(store), "--workers", "0", "--out", str(out)]
    assert dfer(command) == 0
    (out / "notes.txt").write_text("of the user")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    strike = Striking(signal.SIGTERM, measure.plot_reliability)
    monkeypatch.setattr(measure, "plot_reliability", strike)
    assert dfer([*command, "--batch-size", "1"]) == 143
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_an_interrupted_sweep_says_how_to_go_on(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep.toml"
    sweep.write_text(
        f'dataset = "{store}"\nout = "{tmp_path}/s"\naccelerator = "cpu"\n'
        '[model]\nclip = "tiny/random"\nnum_frames = 3\ncontext_tokens = 2\n'
        "[optim]\nepochs = 1\nbatch_size = 4\n[data]\nworkers = 0\n[grid]\nseed = [1, 2]\n"
    )
    strike = Striking(signal.SIGTERM, fit.update_weights, 2)
    monkeypatch.setattr(fit, "update_weights", strike)
    assert dfer(["sweep", str(sweep)]) == 143
    told = capsys.readouterr().err
    assert told.splitlines()[-1] == "error: interrupted by SIGTERM"
    assert f"continue it with: dfer sweep {sweep}" in told
    assert not (tmp_path / "s" / "sweep.csv").exists()
    assert dfer(["sweep", str(sweep)]) == 0
    assert (tmp_path / "s" / "sweep.csv").exists()


def test_an_interrupt_does_not_wait_for_a_server_that_hangs(
    temporary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (tmp_path / "classes.txt").write_text("awe\nboredom\n")
    out = tmp_path / "out" / "d.json"
    struck: list[float] = []

    def hang(request: Received, number: int) -> Reply:
        struck.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGHUP)
        return Reply("too late", hang_seconds=4)

    with serve(hang) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        command = ["describe", "--classes", str(tmp_path / "classes.txt"), "--out", str(out)]
        assert dfer([*command, "--model", "m"]) == 129
        assert time.monotonic() - struck[0] < 3.5
    assert_told(capsys, signal.SIGHUP)
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_an_interrupted_camera_keeps_the_rows_so_far(
    videos: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "t.jsonl"
    monkeypatch.setattr(live, "_predict", Striking(signal.SIGTERM, live._predict, 3))
    command = ["predict", "--camera", str(videos / "0.mp4"), "--headless", "--out", str(out)]
    options = ["--window", "0.5", "--stride", "0.4", "--detector", "haar"]
    assert dfer([*command, *options, "--checkpoint", str(checkpoint)]) == 143
    assert_told(capsys, signal.SIGTERM)
    assert len(list(read_rows(out))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]
