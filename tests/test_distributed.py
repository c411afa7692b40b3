"""Training in several processes on the CPU: the same losses, each clip measured once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from running import DFER, Running
from stores import bright_and_dark_store
from trainings import OPTIONS, last_weights

from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer

TWO = ("--devices", "2")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("two") / "faces", frames=4)


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips: one process gets more than the other."""
    folder = tmp_path_factory.mktemp("unseen") / "faces"
    return bright_and_dark_store(folder, clips_per_class=5, frames=4, people="other")


@pytest.fixture(scope="module")
def one_process(store: Path, unseen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    assert dfer(arguments(store, unseen, out)) == 0
    return out / "run"


def arguments(store: Path, unseen: Path, out: Path, *options: str) -> list[str]:
    own = ["--test", str(unseen), "--out", str(out), "--name", "run", "--quiet"]
    return ["train", str(store), *OPTIONS, *own, *options]


def run_processes(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def assert_same_training(run: Path, expected: Path) -> None:
    rows, wanted_rows = (
        list(read_rows(FoldFolder(folder / "fold-1").metrics)) for folder in (run, expected)
    )
    assert len(rows) == len(wanted_rows) == 2
    for row, wanted in zip(rows, wanted_rows, strict=True):
        assert row["train_loss"] == pytest.approx(wanted["train_loss"], abs=1e-4)
        assert row["train_war"] == wanted["train_war"]
        assert row["validation_war"] == wanted["validation_war"]
    weights, wanted_weights = last_weights(run), last_weights(expected)
    for name, tensor in wanted_weights.items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-4, rtol=1e-3)
    predictions, wanted_predictions = (
        list(read_rows(next((folder / "fold-1" / "evaluation").iterdir()) / "predictions.jsonl"))
        for folder in (run, expected)
    )
    clips = [row["clip_id"] for row in predictions]
    assert clips == [row["clip_id"] for row in wanted_predictions]
    assert len(clips) == len(set(clips)) == 10
    for row, wanted in zip(predictions, wanted_predictions, strict=True):
        assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-3)


def test_two_processes_train_as_one(
    store: Path, unseen: Path, one_process: Path, tmp_path: Path
) -> None:
    first = Running(*arguments(store, unseen, tmp_path, *TWO), folder=tmp_path / "p")
    assert first.ended(120) == 0, first.err
    assert first.out.count("selected on") == 1  # one process speaks
    assert_same_training(tmp_path / "run", one_process)


def test_torchrun_starts_the_processes_too(
    store: Path, unseen: Path, one_process: Path, tmp_path: Path
) -> None:
    command = [*TORCHRUN, "--nproc-per-node", "2", "--no-python", DFER]
    options = (*TWO, "--num-nodes", "1", "--strategy", "ddp", "--set", "optim.accumulate=1")
    done = run_processes([*command, *arguments(store, unseen, tmp_path, *options)])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("selected on") == 1
    assert_same_training(tmp_path / "run", one_process)


def test_state_that_fsdp_shards_comes_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unused in ("torchmetrics", "transformers"):  # lightning and open_clip try to import them
        (tmp_path / f"{unused}.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    script = Path(__file__).with_name("fsdp_processes.py")
    done = run_processes([*TORCHRUN, "--nproc-per-node", "2", str(script)])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("whole")


def test_a_broken_clip_ends_all_processes_with_one_line(unseen: Path, tmp_path: Path) -> None:
    store = bright_and_dark_store(tmp_path / "faces", frames=4)
    for clip in range(8):
        (store / "frames" / f"sadness-{clip}" / "000001.jpg").write_bytes(b"no picture")
    first = Running(*arguments(store, unseen, tmp_path / "runs", *TWO), folder=tmp_path / "p")
    assert first.ended(120) == 3, first.err
    assert first.err.count("error: frame is not a readable picture") == 1
    assert "Traceback" not in first.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--devices", "3"), "3 processes cannot share batches of 4 clips equally"),
        (("--strategy", "fsdp"), "FSDP is only available on GPU"),
        (("--accelerator", "cuda", "--devices", "64", "--batch-size", "64"), "cuda"),
        (("--num-nodes", "0"), "num_nodes: expected a whole number of at least 1"),
    ],
)
def test_unusable_settings_are_refused_before_any_process_starts(
    store: Path,
    unseen: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    assert dfer(arguments(store, unseen, tmp_path, *options)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not list(tmp_path.iterdir())
