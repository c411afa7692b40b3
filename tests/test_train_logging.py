"""`--logger`: epochs in TensorBoard or Weights & Biases besides metrics.jsonl."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stores import bright_and_dark_store
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainings import OPTIONS

from dfercli.artifacts.jsonl import read_rows
from dfercli.cli.app import run as dfer
from dfercli.training import epoch_logger


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logging") / "faces"
    return bright_and_dark_store(folder, clips_per_class=4, frames=4)


def train(store: Path, out: Path, logger: str) -> int:
    options = (*OPTIONS, "--select", "last", "--out", str(out), "--name", "run", "--quiet")
    return dfer(["train", str(store), *options, "--logger", logger])


def test_tensorboard_holds_what_metrics_jsonl_holds(store: Path, tmp_path: Path) -> None:
    assert train(store, tmp_path, "tensorboard") == 0
    fold = tmp_path / "run" / "fold-1"
    events = EventAccumulator(str(fold / "tensorboard")).Reload()
    rows = list(read_rows(fold / "metrics.jsonl"))
    for name in ("train_loss", "train_war"):
        logged = [(event.step, event.value) for event in events.Scalars(name)]
        assert logged == [(row["epoch"], pytest.approx(row[name])) for row in rows]
    assert [event.value for event in events.Scalars("lr/image")] == pytest.approx([1e-5, 1e-5])


def test_wandb_gets_the_settings_and_each_epoch(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Any] = []

    def init(**options: Any) -> SimpleNamespace:
        logged.append(options)
        return SimpleNamespace(
            id=options["id"],
            log=lambda numbers, step: logged.append((step, numbers)),
            finish=lambda: logged.append("finished"),
        )

    monkeypatch.setenv("WANDB_CACHE_DIR", "")
    monkeypatch.delenv("WANDB_CACHE_DIR")
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, __spec__=object()))
    assert train(store, tmp_path, "wandb") == 0
    opened, first, second, end = logged
    assert (opened["id"], opened["resume"], end) == ("run-fold-1", "allow", "finished")
    assert opened["config"]["optim"]["epochs"] == 2
    assert [first[0], second[0]] == [1, 2]
    assert first[1]["train_loss"] > 0
    assert Path(os.environ["WANDB_CACHE_DIR"]).is_relative_to(tmp_path / "run" / "fold-1")


def test_a_wandb_that_cannot_begin_is_one_line(
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def init(**options: Any) -> None:
        raise ValueError("No API key configured.\nUse `wandb login`")

    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, __spec__=object()))
    assert train(store, tmp_path, "wandb") == 2
    error = capsys.readouterr().err
    assert "error: --logger wandb: No API key configured. Use `wandb login`\n" in error
    assert "hint: wandb login, or WANDB_MODE=offline" in error


@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_a_missing_logger_is_reported_before_any_work(
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    logger: str,
) -> None:
    monkeypatch.setattr(epoch_logger, "find_spec", lambda name: None)
    assert train(store, tmp_path, logger) == 2
    error = capsys.readouterr().err
    assert f"error: --logger {logger} needs the package {logger}" in error
    assert f"hint: pip install 'dfercli[{logger}]'" in error
    assert not list(tmp_path.iterdir())
