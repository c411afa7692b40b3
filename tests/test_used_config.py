"""config.json says how a fold was trained, and keeps the requested settings beside it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from miniature_datasets import make_dfew
from stores import bright_and_dark_store
from trainings import OPTIM, Interrupting, small_config

from dfercli.artifacts.run_config import read_asked_config, read_train_config
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.config import DataConfig, TrainConfig
from dfercli.training import run as train
from dfercli.training.fold import _with_what_is_here


def saved_config(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "fold-1" / "config.json").read_text())
    return found


def test_the_resolved_value_of_auto_is_written_beside_the_requested_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bright_and_dark_store(tmp_path / "faces")
    asked = small_config(
        store,
        tmp_path / "runs",
        name=None,
        accelerator="auto",
        optim=replace(OPTIM, epochs=1, batch_size=1000),
        data=DataConfig(validation=0.25, test_share=0.0),
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = train.run(asked, Interrupting(after_steps=-1)).run
    saved = saved_config(run)
    used, as_asked = saved, saved["asked"]
    trained_on = json.loads((run / "fold-1/checkpoints/best/model.json").read_text())["trained_on"]
    assert used["optim"]["batch_size"] == trained_on["num_train"] < 1000
    assert used["precision"] == "32"
    assert used["accelerator"] == "cpu"
    assert used["data"]["workers"] == 2
    assert used["data"]["split_seed"] == used["seed"]
    assert used["name"] == run.name
    assert as_asked == {
        "accelerator": "auto",
        "precision": "auto",
        "name": None,
        "optim": {"batch_size": 1000},
        "data": {"workers": None, "split_seed": None},
    }
    assert read_asked_config(FoldFolder(run / "fold-1")) == asked


@pytest.mark.parametrize(("accelerator", "precision"), [("cpu", "32"), ("cuda", "bf16-mixed")])
def test_a_run_resumed_elsewhere_uses_the_devices_of_that_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str, precision: str
) -> None:
    """Only `auto` and None are resolved again; an explicit value stays."""

    class Device:
        type = accelerator

    class Engine:
        device = Device()
        world_size = 2

    monkeypatch.setattr("torch.cuda.is_available", lambda: accelerator == "cuda")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("dfercli.inference.predict_logits.num_cores", lambda: 12)
    (clips := tmp_path / "list.txt").touch()
    asked = small_config(clips, tmp_path, accelerator="auto", data=DataConfig())
    once: Any = _with_what_is_here(asked, asked, FoldFolder(tmp_path / "r" / "fold-1"), Engine())
    assert (once.accelerator, once.precision, once.strategy) == (accelerator, precision, "ddp")
    assert once.data.workers == (2 if accelerator == "cpu" else 6)
    assert once.name == "r"
    fixed = small_config(clips, tmp_path, precision="32", strategy="fsdp")
    again = _with_what_is_here(once, fixed, FoldFolder(tmp_path / "r" / "fold-1"), Engine())
    assert (again.precision, again.strategy, again.data.workers) == ("32", "fsdp", 0)


def test_the_folder_of_a_benchmark_is_written_and_eval_finds_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    make_dfew(copies / "DFEW")
    monkeypatch.setenv("DFER_DATA", str(copies))
    asked: TrainConfig = small_config("dfew", tmp_path / "runs", fold="1", select="last")
    run = train.run(asked, Interrupting(after_steps=-1)).run
    fold = FoldFolder(run / "fold-1")
    assert read_train_config(fold).data.root == copies / "DFEW"
    assert read_asked_config(fold).data.root is None
