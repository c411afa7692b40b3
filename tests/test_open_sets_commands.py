"""The whole path on miniatures of the open data sets, on the command line."""

import json
from pathlib import Path

import pytest
from drawn_sets import draw_crema_d, draw_ravdess
from typer.testing import CliRunner

from dfercli.artifacts.face_store import read_clips
from dfercli.cli.app import app

TOY = (
    *("--clip", "tiny/random", "--epochs", "1", "--batch-size", "8"),
    *("--workers", "0", "--set", "model.num_frames=4", "--select", "last"),
)


def dfer(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--quiet"])
    assert result.exception is None, result.output
    return result.stdout


@pytest.fixture(scope="module")
def ravdess(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ravdess")
    draw_ravdess(root, [1, 5], num_frames=6)
    return root


@pytest.mark.slow
def test_ravdess_from_videos_to_recalls_per_group(tmp_path, monkeypatch, ravdess):
    monkeypatch.chdir(tmp_path)
    dfer("data", "check", "ravdess", "--root", str(ravdess), "--subset")
    found = ("--detector", "haar", "--size", "64", "--workers", "0")
    dfer("preprocess", "ravdess", "--root", str(ravdess), "--out", "faces/ravdess", *found)
    dfer("train", "ravdess", "--recipe", "ravdess", "--fold", "1", "--name", "first", *TOY)
    card = json.loads(Path("runs/first/fold-1/checkpoints/last/model.json").read_text())
    assert card["trained_on"]["labelling"] == "acted emotions, calm left out"
    assert card["crop"]["size"] == 64
    saved = json.loads(Path("runs/first/fold-1/config.json").read_text())
    assert (saved["data"]["root"], saved["asked"]["data"]["root"]) == ("faces/ravdess", None)
    metrics = json.loads(Path("runs/first/fold-1/evaluation/ravdess/metrics.json").read_text())
    assert metrics["measured_on"] == (
        "test clips of ravdess fold 1 (acted emotions, calm left out)"
    )
    printed = dfer("eval", "runs/first", "--workers", "0")
    assert "intensity" in printed
    assert "strong" in printed
    groups = Path("runs/first/fold-1/evaluation/ravdess/groups.csv").read_text()
    assert groups.startswith("group,value,clips")
    assert "intensity,normal,1," in groups


@pytest.mark.slow
def test_crema_d_from_videos_to_recalls_per_group(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "crema-d"
    draw_crema_d(root, [1001, 1030], num_frames=6)
    dfer("data", "check", "crema-d", "--root", str(root), "--subset")
    dfer(
        *("preprocess", "crema-d", "--root", str(root), "--out", "faces/crema-d"),
        *("--labels", "face-votes", "--ties", "soft"),
        *("--detector", "haar", "--size", "64", "--workers", "0"),
    )
    dfer("train", "crema-d", "--recipe", "crema-d", "--fold", "2", "--name", "first", *TOY)
    metrics = json.loads(Path("runs/first/fold-2/evaluation/crema-d/metrics.json").read_text())
    assert "2 ties trained on with equal shares, not tested on" in metrics["measured_on"]
    found = read_clips(Path("faces/crema-d"))
    tested = [clip for clip in found if clip.subject == "1030" and not clip.soft_label]
    assert metrics["num_clips"] == len(tested)
    assert {group["group"] for group in metrics["groups"]} == {"level"}


@pytest.mark.slow
def test_the_demo_runs_on_real_faces(tmp_path, monkeypatch, ravdess):
    monkeypatch.chdir(tmp_path)
    printed = dfer(
        *("demo", "--real", "ravdess", "--root", str(ravdess), "--out", "demo", "--json"),
        *("--clip", "tiny/random", "--epochs", "1", "--workers", "1"),
    )
    result = json.loads(printed)
    assert result["metrics"]["num_clips"] == 7
    assert Path(result["page"]).read_text().startswith("<!")
    assert set(result["seconds"]) == {"fetch", "preprocess", "train", "predict"}
