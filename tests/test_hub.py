"""Models on a hub: what is uploaded, what is loaded, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from hub_server import TOKEN, serve_hub
from stores import bright_and_dark_store
from toy_model import write_toy_checkpoint

from dfercli.artifacts.checkpoint import read_weights
from dfercli.artifacts.model_card import read_model_card
from dfercli.cli.app import run as dfer
from dfercli.inference.hub import is_repository

DFER = str(Path(sys.executable).with_name("dfer"))
RESULTS = {
    "measured_on": "test clips of /clinic/anna/secret/faces fold 1",
    "num_clips": 12,
    "war": 0.75,
    "war_interval": [0.5, 0.9],
    "uar": 0.7,
    "uar_interval": [0.4, 0.9],
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on the loopback with a user who is logged in."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "dfer_offline"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    constants = huggingface_hub.constants
    with serve_hub() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def trained(tmp_path):
    """A run with everything that a training leaves, and paths of this machine in its card."""
    fold = tmp_path / "runs" / "mine" / "fold-1"
    checkpoint = fold / "checkpoints" / "epoch-3"
    write_toy_checkpoint(
        checkpoint,
        trained_on={"dataset": "/clinic/anna/secret/dfew", "fold": 1, "num_train": 5},
        selected_on="validation clips of /clinic/anna/secret/faces",
        results=RESULTS,
        crop={"detector": "yunet", "source": "/clinic/anna/secret/videos"},
    )
    (checkpoint / "training_state.pt").write_bytes(b"optimiser")
    (fold / "checkpoints" / "best").symlink_to("epoch-3")
    (fold / "metrics.jsonl").write_text("{}\n")
    (fold / "predictions.jsonl").write_text("clips of the training data\n")
    card = json.loads((checkpoint / "model.json").read_text())
    card["backbone"]["file"] = "/clinic/anna/secret/ViT.pt"
    (checkpoint / "model.json").write_text(json.dumps(card))
    return tmp_path / "runs" / "mine"


def test_three_files_are_uploaded_and_nothing_of_the_machine_or_the_data(hub, trained, capsys):
    assert dfer(["models", "push", str(trained), "user/my-model", "--private", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert hub.commits == [["README.md", "model.json", "model.safetensors"]]
    assert sorted(hub.files["user/my-model"]) == sorted(found["files"]) == hub.commits[0]
    assert hub.private == {"user/my-model": True}
    for name, content in hub.files["user/my-model"].items():
        assert b"secret" not in content, name
        assert b"anna" not in content, name
    weights = hub.files["user/my-model"]["model.safetensors"]
    checkpoint = trained / "fold-1" / "checkpoints" / "best"
    assert weights == (checkpoint / "model.safetensors").read_bytes()
    card = json.loads(hub.files["user/my-model"]["model.json"])
    assert card["trained_on"]["dataset"] == "dfew"
    assert card["backbone"]["file"] is None
    assert card["results"]["measured_on"] == "test clips of faces fold 1"


def test_the_readme_is_what_the_hub_reads(hub, trained):
    assert dfer(["models", "push", str(trained), "user/my-model", "--license", "cc-by-4.0"]) == 0
    text = hub.files["user/my-model"]["README.md"].decode()
    _, front, body = text.split("---\n", 2)
    data = yaml.safe_load(front)
    assert data["license"] == "cc-by-4.0"
    assert data["datasets"] == ["dfew"]
    assert data["library_name"] == "dfer"
    (index,) = data["model-index"]
    assert index["name"] == "my-model"
    metrics = {metric["name"]: metric["value"] for metric in index["results"][0]["metrics"]}
    assert metrics == {"WAR": 75.0, "UAR": 70.0}
    assert "dfer predict clip.mp4 --model user/my-model" in body
    assert "**For research only.** The model was trained on DFEW" in body
    assert "Do not decide about people by it" in body


def test_a_pushed_model_predicts_and_measures_by_its_name(
    hub, trained, tmp_path, monkeypatch, capsys
):
    assert dfer(["models", "push", str(trained), "user/my-model"]) == 0
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=2, frames=4)
    capsys.readouterr()
    predict = ["predict", str(store), "--json", "--quiet", "--model"]
    assert dfer([*predict, "user/my-model"]) == 0
    shown = capsys.readouterr()
    assert "fetching user/my-model from the hub, commit " in shown.err
    assert "(as asked for); measured: UAR 70.00 %, WAR 75.00 % on test clips of faces" in shown.err
    rows = json.loads(shown.out)["predictions"]
    assert dfer([*predict, str(trained)]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == rows
    asked = len(hub.requests)
    assert dfer(["eval", "user/my-model", str(store), "--workers", "0", "--quiet"]) == 0
    monkeypatch.setenv("DFER_OFFLINE", "1")
    assert dfer([*predict, "user/my-model"]) == 0
    assert len(hub.requests) == asked  # it is in the hub's cache
    assert (tmp_path / "runs" / "user_my-model" / "evaluation" / "faces" / "metrics.json").is_file()


def test_a_process_with_hf_endpoint_gets_a_model(hub, trained, tmp_path):
    assert dfer(["models", "push", str(trained), "user/my-model"]) == 0
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "other-cache")}
    done = subprocess.run(
        [DFER, "models", "get", "user/my-model"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    folder = Path(done.stdout.strip().partition(": ")[2])
    assert folder.is_relative_to(tmp_path / "other-cache")
    assert read_model_card(folder).label_set
    assert read_weights(folder)


def test_a_push_needs_a_login_with_write_access(hub, trained, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert dfer(["models", "push", str(trained), "user/my-model"]) == 4
    error = capsys.readouterr().err
    assert "needs a login with write access" in error
    assert "hint: hf auth login" in error
    assert "hf_wrong" not in error
    assert not hub.commits


def test_a_foreign_model_is_refused_before_its_weights_are_fetched(hub, capsys):
    hub.files["user/other"] = {"pytorch_model.bin": b"x", "README.md": b""}
    assert dfer(["models", "get", "user/other"]) == 4
    assert "is not a model of dfer: it has no model.json" in capsys.readouterr().err
    hub.files["user/broken"] = {"model.json": b"{}", "model.safetensors": b"x"}
    assert dfer(["models", "get", "user/broken"]) == 4
    assert "model.json" in capsys.readouterr().err
    assert not [line for line in hub.requests if "user/broken/resolve" in line and "safet" in line]
    assert dfer(["models", "get", "user/nothing"]) == 4
    assert "the hub has no such model" in capsys.readouterr().err


def test_weights_of_others_are_not_uploaded(hub, tmp_path, capsys):
    place = write_toy_checkpoint(tmp_path / "theirs", origin={"name": "dfer-clip-dfew-1"})
    assert dfer(["models", "push", str(place), "user/mine"]) == 2
    assert "holds the weights of others (dfer-clip-dfew-1)" in capsys.readouterr().err
    assert not hub.requests


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("user/my-model", True),
        ("a.b/c_d.e", True),
        ("user", False),
        ("a/b/c", False),
        ("../x", False),
        ("user/..", False),
        ("/user/x", False),
        ("user/x?y", False),
    ],
)
def test_a_repository_has_an_owner_and_a_name(name, is_one):
    assert is_repository(name) == is_one
