"""Runs and outputs are locked for one process; its name is told, and its death frees the lock."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drawn_videos import write_drawn_video
from running import Running
from stores import bright_and_dark_store
from test_resume import assert_same_run
from test_signals import of_session
from toy_model import write_toy_checkpoint
from trainings import OPTIONS, Interrupting, small_config

from dfercli.artifacts.locks import exclusive, writing_file
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.errors import ArtifactError
from dfercli.progress import LogProgress
from dfercli.training import run as train

HOLD = """
import sys, time
from pathlib import Path
from dfercli.artifacts.locks import exclusive
with exclusive(Path(sys.argv[1]), busy="it is in use"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_by_another(lock: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("locks") / "faces", frames=4)


def test_the_holder_of_a_lock_is_named_and_loses_it_by_dying(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with held_by_another(lock) as process:
        with pytest.raises(ArtifactError) as refused, exclusive(lock, busy="x is being made"):
            pass
        own = f"x is being made by process {process.pid} on {socket.gethostname()} since 20"
        assert refused.value.message.startswith(own)
        assert refused.value.hint == f"wait for it, or end it: kill {process.pid}"
        process.kill()
        with exclusive(lock, busy="x is being made"):  # nothing to wait for, nothing to remove
            holder = json.loads((tmp_path / ".lock.holder").read_text())
            assert holder["process"] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_holder_on_another_machine_is_named_with_its_machine(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with held_by_another(lock):
        row = {"process": 1, "host": "node-7", "since": "yesterday", "command": "dfer train x"}
        (tmp_path / ".lock.holder").write_text(json.dumps(row))
        with pytest.raises(ArtifactError) as refused, exclusive(lock, busy="x is being made"):
            pass
    assert "by process 1 on node-7 since yesterday (dfer train x)" in refused.value.message
    assert f"remove {lock}" in str(refused.value.hint)


def test_the_note_beside_a_lock_is_not_trusted(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with held_by_another(lock):
        for text in ("[" * 5000, "{}", '{"process": "x"}', "[]", ""):
            (tmp_path / ".lock.holder").write_text(text)
            with (
                pytest.raises(ArtifactError, match="x is being made by another process"),
                exclusive(lock, busy="x is being made"),
            ):
                pass


@pytest.mark.parametrize("busy", ["x is being made", None])
def test_a_lock_that_cannot_be_made_is_not_reported_as_held(busy: str | None) -> None:
    with (
        pytest.raises(ArtifactError, match=r"cannot write /proc/\.x\.lock: No such file"),
        exclusive(Path("/proc/.x.lock"), busy=busy),
    ):
        pass


def test_the_lock_of_an_output_file_is_removed_after_the_work(tmp_path: Path) -> None:
    with writing_file(tmp_path / "a.csv"):
        assert (tmp_path / ".a.csv.lock").exists()
        with pytest.raises(ArtifactError, match=r"a\.csv is being written by process"):
            writing_file(tmp_path / "a.csv").__enter__()
    with writing_file(tmp_path / "made for it" / "a.csv"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_trained_by_one_process_at_a_time(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train.run(small_config(store, tmp_path / "whole"), LogProgress()).run
    with pytest.raises(KeyboardInterrupt):
        train.run(small_config(store, tmp_path), Interrupting(4))
    run = tmp_path / "run"
    with held_by_another(run / ".lock") as process:
        assert dfer(["train", "--resume", str(run)]) == 4
        error = capsys.readouterr().err.splitlines()[0]
        assert error.startswith(f"error: {run} is being trained by process {process.pid} on ")
        assert FoldFolder(run / "fold-1").last_name == "epoch-0001-step-000000"
    train.resume(run, LogProgress())
    assert_same_run(run, whole)


def test_two_processes_that_resume_one_run_do_not_collide(store: Path, tmp_path: Path) -> None:
    config = small_config(store, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train.run(config, Interrupting(4))
    command = ("train", "--resume", tmp_path / "run")
    both = [Running(*command, folder=tmp_path / name) for name in ("one", "two")]
    ends = [(process.ended(120), process.err) for process in both]
    for code, err in ends:  # one may start after the other is done
        assert code == 0 or (code == 4 and "is being trained by process" in err), err
    assert 0 in [code for code, _ in ends]
    rows = (tmp_path / "run" / "fold-1" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == [1, 2, 3]


def test_outputs_are_written_by_one_process_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_drawn_video(tmp_path / "a.mp4", seconds=1)
    crop = {"size": 80, "margin": 0.0, "align": "square", "detector": "haar"}
    model = write_toy_checkpoint(tmp_path / "checkpoint", crop=crop)
    faces = bright_and_dark_store(tmp_path / "faces", clips_per_class=1)
    sweep = tmp_path / "sweep.toml"
    sweep.write_text(f'dataset = "{faces}"\nout = "{tmp_path}/s"\n[grid]\nseed = [1]\n')
    out = tmp_path / "out"
    predict = ["predict", str(video), "--checkpoint", str(model), "--detector", "haar"]
    commands = {
        out / ".t.csv.lock": [*predict, "--out", str(out / "t.csv")],
        out / ".t.html.lock": [*predict, "--html", str(out / "t.html")],
        out / ".t.mp4.lock": [*predict, "--video", str(out / "t.mp4")],
        out / "store" / ".lock": [*predict, "--faces-out", str(out / "store")],
        out / ".d.json.lock": ["describe", "--classes", "7", "--out", str(out / "d.json")],
        out / ".m.onnx.lock": ["export", str(model), "--out", str(out / "m.onnx")],
        out / ".m.pth.lock": (
            ["convert", str(model), "--to", "official", "--out", str(out / "m.pth")]
        ),
        out / ".e.lock": ["eval", str(model), str(faces), "--out", str(out / "e")],
        out / ".z.lock": (
            ["eval", "--zero-shot", str(faces), "--clip", "tiny/random", "--out", str(out / "z")]
        ),
        out / ".l.jsonl.lock": (
            ["predict", "--camera", str(video), *predict[2:], "--out", str(out / "l.jsonl")]
        ),
        out / "merged" / ".lock": (
            ["data", "merge", str(faces), str(faces), "--out", str(out / "merged")]
        ),
        tmp_path / "s" / ".sweep.lock": ["sweep", str(sweep)],
    }
    for lock, command in commands.items():
        with exclusive(lock, busy="held by the test"):
            assert dfer(command) == 4, command
        error = capsys.readouterr().err
        assert f" by process {os.getpid()} on " in error, error
        assert "wait for it" in error
    assert not [path for path in out.rglob("*") if path.is_file() and "lock" not in path.name]


AUTO = ("--epochs", "1", "--resume", "auto", "--quiet")


def test_resume_auto_starts_continues_and_repeats_the_result(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(store), *OPTIONS, *AUTO, "--out", str(tmp_path)]
    run = tmp_path / "faces-dfer-clip"
    (run / "fold-1").mkdir(parents=True)
    (run / ".lock").touch()  # killed before it wrote anything
    assert dfer(command) == 0
    folder = FoldFolder(run / "fold-1")
    assert folder.is_finished
    capsys.readouterr()

    assert dfer(command) == 0
    assert f"{run} is finished" in capsys.readouterr().err

    folder.result.unlink()  # as if it was killed just before its end
    weights = folder.last / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert dfer(command) == 0
    assert folder.is_finished
    assert weights.stat().st_mtime_ns == before  # no step was repeated

    assert dfer([*command, "--epochs", "2", "--set", "seed=5"]) == 2
    error = capsys.readouterr().err
    assert f"{run} was trained with other settings: optim.epochs 1 -> 2; seed 1 -> 5" in error
    assert "hint: choose another --name" in error


def test_resume_auto_needs_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert dfer(["train", "--resume", "auto"]) == 2
    assert "missing argument DATASET" in capsys.readouterr().err


def test_a_run_killed_with_readers_can_continue_at_once(store: Path, tmp_path: Path) -> None:
    """Its readers outlive it by a little; they must not hold its lock."""
    options = [*OPTIONS, "--epochs", "500", "--workers", "2", "--out", tmp_path, "--name", "run"]
    process = Running("train", store, *options, folder=tmp_path / "p")
    last = FoldFolder(tmp_path / "run" / "fold-1").last
    process.wait_until(last.exists)
    os.kill(process.pid, signal.SIGKILL)
    process.ended()
    done = int(os.readlink(last).split("-")[1])
    with pytest.raises(KeyboardInterrupt):
        train.resume(tmp_path / "run", Interrupting(done * 3 + 1))
    deadline = time.monotonic() + 20  # they look for it every five seconds
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert of_session(process.pid) == []
