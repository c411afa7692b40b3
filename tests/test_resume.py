"""Resuming: the same weights as a run that was never stopped, bit for bit on the CPU."""

import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from running import Running
from stores import bright_and_dark_store
from trainings import OPTIONS, Interrupting, last_weights, small_config

from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.inference.restore import restore_model
from dfercli.progress import LogProgress
from dfercli.training import run as train

STEPS_PER_EPOCH = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("resume") / "faces", frames=4)


@pytest.fixture(scope="module")
def uninterrupted(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    return train.run(small_config(store, out), LogProgress()).run


def assert_same_run(run: Path, expected: Path) -> None:
    weights, wanted = last_weights(run), last_weights(expected)
    assert weights.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(weights[name], tensor), name
    rows, wanted_rows = (
        list(read_rows(folder / "fold-1" / "metrics.jsonl")) for folder in (run, expected)
    )
    assert rows == wanted_rows
    links = [
        {name: os.readlink(folder / "fold-1" / "checkpoints" / name) for name in ("last", "best")}
        for folder in (run, expected)
    ]
    assert links[0] == links[1]


@pytest.mark.parametrize(
    ("after_steps", "checkpoint_every", "expected_last"),
    [
        (STEPS_PER_EPOCH + 1, 0, "epoch-0001-step-000000"),
        (STEPS_PER_EPOCH + 3, 1, "epoch-0001-step-000002"),
        (2, 1, "epoch-0000-step-000001"),
    ],
    ids=["after an epoch", "inside the second epoch", "inside the first epoch"],
)
def test_a_resumed_run_ends_with_the_same_weights(
    store: Path,
    uninterrupted: Path,
    tmp_path: Path,
    after_steps: int,
    checkpoint_every: int,
    expected_last: str,
) -> None:
    config = small_config(store, tmp_path, checkpoint_every=checkpoint_every)
    progress = Interrupting(after_steps)
    with pytest.raises(KeyboardInterrupt):
        train.run(config, progress)
    run = tmp_path / "run"
    assert progress.notes[-1] == f"stopped; continue with: dfer train --resume {run}"
    folder = FoldFolder(run / "fold-1")
    assert os.readlink(folder.last) == expected_last
    assert not folder.is_finished
    result = train.resume(run, LogProgress())
    assert result.folds[0].evaluation is not None
    assert_same_run(run, uninterrupted)


def test_a_run_stopped_before_its_first_checkpoint_begins_again(
    store: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train.run(small_config(store, tmp_path), Interrupting(1))
    assert not FoldFolder(tmp_path / "run" / "fold-1").last.exists()
    train.resume(tmp_path / "run", LogProgress())
    assert_same_run(tmp_path / "run", uninterrupted)


def test_other_options_of_a_resume_are_named_as_ignored(
    uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfer(["train", "--resume", str(uninterrupted), "--quiet"]) == 0
    told = capsys.readouterr().err
    assert f"{uninterrupted} is finished" in told
    assert "ignored" not in told
    for more in (["--epochs", "3"], ["--set", "seed=7"]):
        assert dfer(["train", "--resume", str(uninterrupted), "--quiet", *more]) == 0
        assert "keeps the settings of the run: other options are ignored" in capsys.readouterr().err


def test_resuming_a_finished_run_repeats_its_result_without_training(uninterrupted: Path) -> None:
    before = (uninterrupted / "fold-1" / "checkpoints" / "last" / "model.safetensors").stat()
    result = train.resume(uninterrupted, Interrupting(1))
    assert result.folds[0].evaluation is not None
    after = (uninterrupted / "fold-1" / "checkpoints" / "last" / "model.safetensors").stat()
    assert after.st_mtime_ns == before.st_mtime_ns


def test_a_full_disk_keeps_the_previous_checkpoint(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train.run(small_config(store, tmp_path), Interrupting(STEPS_PER_EPOCH + 1))
    run = tmp_path / "run"
    assert dfer(["eval", str(run), "--quiet"]) == 0
    assert "its training is not finished" in capsys.readouterr().err
    before = last_weights(run)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        code = dfer(["train", "--resume", str(run), "--quiet"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 4
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert "cannot write" in errors[0]
    assert "File too large" in errors[0]
    assert said.endswith(f"trained so far is kept; go on with: dfer train --resume {run}\n")
    after = last_weights(run)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not [path for path in run.rglob("*.partial-*")]
    train.resume(run, LogProgress())
    assert FoldFolder(run / "fold-1").is_finished


def test_a_checkpoint_cut_short_is_named(
    store: Path, uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    source = uninterrupted / "fold-1" / "checkpoints" / "last"
    (checkpoint / "model.json").write_bytes((source / "model.json").read_bytes())
    whole = (source / "model.safetensors").read_bytes()
    for share in (0.5, 0.999, 0.0):
        (checkpoint / "model.safetensors").write_bytes(whole[: int(share * len(whole))])
        assert dfer(["eval", str(checkpoint), str(store)]) == 4
        error = capsys.readouterr().err.splitlines()[0]
        weights = checkpoint / "model.safetensors"
        assert error.startswith(f"error: checkpoint is cut short or corrupt: {weights}")


def test_resuming_from_a_damaged_training_state_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train.run(small_config(store, tmp_path), Interrupting(STEPS_PER_EPOCH + 1))
    state = FoldFolder(tmp_path / "run" / "fold-1").last / "training_state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    assert dfer(["train", "--resume", str(tmp_path / "run")]) == 4
    error = capsys.readouterr().err
    assert "not a readable PyTorch file" in error
    assert "go on with" not in error  # it would not
    assert "training_state.pt" in error


def test_resume_needs_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dfer(["train", "--resume", str(tmp_path)]) == 4
    assert "no run to resume" in capsys.readouterr().err
    assert dfer(["train", "faces", "--resume", str(tmp_path)]) == 2
    assert "omit DATASET" in capsys.readouterr().err


def test_ctrl_c_exits_130_and_the_run_goes_on_with_resume(store: Path, tmp_path: Path) -> None:
    options = [*OPTIONS, "--workers", "1", "--epochs", "500"]
    own = ["--out", tmp_path, "--name", "run"]
    process = Running("train", store, *options, *own, folder=tmp_path / "p")
    last = FoldFolder(tmp_path / "run" / "fold-1").last
    process.wait_until(last.exists)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the workers, too
    assert process.ended() == 130, process.err
    err = process.err
    assert process.out == ""
    assert err.splitlines()[-1] == "error: interrupted"
    assert f"continue with: dfer train --resume {tmp_path / 'run'}" in err
    assert "Traceback" not in err
    restore_model(last)
    done = int(os.readlink(last).split("-")[1])
    assert 1 <= done < 500
    with pytest.raises(KeyboardInterrupt):  # it goes on: the interruption comes at a later step
        train.resume(tmp_path / "run", Interrupting(done * 3 + 4))
    assert int(os.readlink(last).split("-")[1]) == done + 1
