"""`dfer export`: one file that answers like the checkpoint it was made from."""

import json
import shutil
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from golden_input import golden_frames
from stores import write_store
from toy_model import LABELS, write_toy_checkpoint

import dfercli
from dfercli import load
from dfercli.artifacts.checkpoint import save_checkpoint
from dfercli.cli.app import run
from dfercli.config import ExportConfig, ModelConfig
from dfercli.errors import ArtifactError
from dfercli.inference import export
from dfercli.inference.restore import new_model
from dfercli.models.clip_backbone import TINY_VIT
from dfercli.progress import LogProgress

PROBABILITIES = [f"probability_{name}" for name in LABELS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "checkpoint"
    return write_toy_checkpoint(folder, calibration={"temperature": 2.0, "min_confidence": 0.4})


@pytest.fixture(scope="module")
def onnx_file(checkpoint):
    out = checkpoint.parent / "model.onnx"
    assert run(["export", str(checkpoint), "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def torchscript_file(checkpoint):
    out = checkpoint.parent / "model.torchscript"
    assert run(["export", str(checkpoint), "--format", "torchscript", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("kind", ["onnx_file", "torchscript_file"])
def test_an_exported_model_agrees_and_carries_its_card(checkpoint, kind, request):
    path = request.getfixturevalue(kind)
    exported, original = dfercli.load(path, trust_code=True), dfercli.load(checkpoint)
    assert exported.card == original.card
    shape = (4, 3, original.image_size, original.image_size)
    for clips in (1, 5):
        frames = torch.rand(clips, *shape)
        np.testing.assert_allclose(exported.logits(frames), original.logits(frames), atol=1e-4)
    frames = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    np.testing.assert_allclose(exported.logits(frames), original.logits(frames), atol=1e-4)


def test_predict_runs_an_exported_model_with_the_same_probabilities(
    checkpoint, onnx_file, tmp_path
):
    frames = np.random.default_rng(0).integers(0, 255, (30, 32, 32, 3)).astype(np.uint8)
    store = write_store(tmp_path / "faces", [("one", None, None, frames)])
    tables = []
    for number, model in enumerate((checkpoint, onnx_file)):
        out = tmp_path / f"{number}.csv"
        assert run(["predict", str(store), "--checkpoint", str(model), "--out", str(out)]) == 0
        tables.append(pd.read_csv(out))
    np.testing.assert_allclose(tables[0][PROBABILITIES], tables[1][PROBABILITIES], atol=1e-4)
    assert list(tables[0]["uncertain"]) == list(tables[1]["uncertain"])


def test_the_text_tower_is_left_out(checkpoint, onnx_file):
    weights = (checkpoint / "model.safetensors").stat().st_size
    assert onnx_file.stat().st_size < weights / 3
    names = [entry.name for entry in onnx.load(onnx_file).graph.initializer]
    assert not any("token_embedding" in name for name in names)


def test_info_reads_the_card_of_an_exported_model(onnx_file, capsys):
    assert run(["info", str(onnx_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label_set"] == list(LABELS)


@pytest.mark.media
def test_the_published_checkpoint_exports_with_its_logits(shared, tmp_path):
    out = tmp_path / "golden.onnx"
    published = shared / "golden" / "official-tiny-end-specific.pth"
    export.run(ExportConfig(published, out=out), LogProgress())
    values = np.load("tests/golden/official-tiny-values.npz", allow_pickle=False)
    logits = dfercli.load(out).logits(golden_frames())
    np.testing.assert_allclose(logits, values["end-specific/logits"], atol=1e-4)


def test_a_file_that_does_not_agree_is_not_kept(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_difference", lambda *_: 0.5)
    out = tmp_path / "model.torchscript"
    config = ExportConfig(checkpoint, format="torchscript", out=out)
    with pytest.raises(ArtifactError, match="differ"):
        export.run(config, LogProgress())
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_remedy(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert run(["export", str(checkpoint), "--out", str(tmp_path / "model.onnx")]) == 4
    assert 'pip install "dfercli[export]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["CHECKPOINT", "--format", "tflite"], 2),
        (["CHECKPOINT", "--out", "model.pb"], 2),
        (["ONNX"], 2),
        (["nowhere"], 4),
    ],
)
def test_bad_usage_has_its_exit_code(arguments, code, checkpoint, onnx_file, tmp_path):
    given = {"CHECKPOINT": str(checkpoint), "ONNX": str(onnx_file)}
    assert run(["export", *(given.get(word, word) for word in arguments)]) == code


@pytest.mark.parametrize("name", ["a.onnx", "a.torchscript"])
def test_files_that_are_not_exported_models_are_refused(name, tmp_path, onnx_file):
    path = tmp_path / name
    path.write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="not a readable"):
        dfercli.load(path, trust_code=True)
    model = onnx.load(onnx_file)
    del model.metadata_props[:]
    bare = tmp_path / "bare.onnx"
    onnx.save(model, bare)
    with pytest.raises(ArtifactError, match="no model card"):
        dfercli.load(bare)


def test_8_bit_weights_are_smaller_and_hardly_change_the_answer(
    checkpoint, onnx_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(TINY_VIT["vision_cfg"], "layers", 1)  # each takes seconds to trace
    card = new_model(ModelConfig(clip="tiny-vit/random", num_frames=4), LABELS, seed=3)
    save_checkpoint(tmp_path / "c", card.module.state_dict(), card.card.to_json())
    whole, rounded = tmp_path / "whole.onnx", tmp_path / "rounded.onnx"
    assert run(["export", str(tmp_path / "c"), "--out", str(whole)]) == 0

    def round_weights_of(exported):
        """Tracing the same model again takes most of an export."""
        monkeypatch.setattr(export, "write_onnx", lambda *given: shutil.copy(exported, given[2]))

    round_weights_of(whole)
    assert run(["export", str(tmp_path / "c"), "--int8", "--out", str(rounded)]) == 0
    assert rounded.stat().st_size < 0.6 * whole.stat().st_size
    exact, close = load(whole), load(rounded)
    assert close.card == exact.card
    frames = torch.randint(0, 256, (6, 4, 3, 48, 48), dtype=torch.uint8)
    difference = np.abs(exact.probabilities(frames) - close.probabilities(frames)).max()
    assert 0 < difference < 0.05
    convolutional = str(tmp_path / "convolutional.onnx")
    round_weights_of(onnx_file)
    assert run(["export", str(checkpoint), "--int8", "--out", convolutional]) == 0
    assert run(["export", str(tmp_path / "c"), "--int8", "--format", "torchscript"]) == 2
    assert "--int8 goes with --format onnx" in capsys.readouterr().err
