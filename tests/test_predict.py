"""`dfer predict` and the Python API: one answer, whichever way it is asked for."""

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from golden_input import golden_frames
from stores import noise_store
from toy_model import LABELS, write_toy_checkpoint

import dfercli
from dfercli.cli.app import run
from dfercli.data.loading import read_frame
from dfercli.errors import ArtifactError, ConfigError, DataError
from dfercli.inference.choose_model import class_texts

PROBABILITIES = [f"probability_{name}" for name in LABELS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_toy_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture
def store(tmp_path):
    return noise_store(tmp_path / "faces")


def predict(*arguments, code=0):
    assert run(["predict", *map(str, arguments), "--quiet"]) == code


def test_importing_the_package_does_not_import_torch():
    program = "import sys, dfercli; assert dfercli.__all__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_public_name_exists():
    assert all(getattr(dfercli, name) is not None for name in dfercli.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        dfercli.nothing  # noqa: B018


@pytest.mark.media
def test_a_published_checkpoint_gives_the_published_logits(shared):
    model = dfercli.load(shared / "golden" / "official-tiny-end-specific.pth", device="cpu")
    values = np.load("tests/golden/official-tiny-values.npz", allow_pickle=False)
    logits = model.logits(golden_frames())
    assert logits.dtype == torch.float32
    np.testing.assert_allclose(logits, values["end-specific/logits"], atol=1e-4)


def test_the_three_tables_hold_the_same_rows(checkpoint, store, tmp_path):
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        predict(store, "--checkpoint", checkpoint, "--out", tmp_path / name)
    lines = pd.read_json(tmp_path / "a.jsonl", lines=True)
    table = pd.read_csv(tmp_path / "a.csv")
    parquet = pd.read_parquet(tmp_path / "a.parquet")
    assert len(table) == 2 * 3  # 2.8 seconds: windows at 0, 0.5 and one that ends with the clip
    assert list(table.columns) == list(parquet.columns)
    pd.testing.assert_frame_equal(table, parquet, check_dtype=False)
    pd.testing.assert_frame_equal(table, lines[table.columns], check_dtype=False)
    np.testing.assert_allclose(table[PROBABILITIES].sum(axis=1), 1)
    assert (table[PROBABILITIES].max(axis=1) == table["confidence"]).all()


def test_a_window_has_the_probabilities_of_its_frames(checkpoint, store, capsys):
    predict(store, "--checkpoint", checkpoint, "--window", 10, "--json")
    row = json.loads(capsys.readouterr().out)["predictions"][0]
    model = dfercli.load(checkpoint)
    paths = sorted((store / "frames" / "one").iterdir())
    frames = np.stack([read_frame(path) for path in paths])
    alone = model.predict_frames(frames)
    np.testing.assert_allclose(
        [row[name] for name in PROBABILITIES], alone.probabilities[0], atol=1e-6
    )
    twice = model.predict_frames(np.stack([frames, frames]))
    np.testing.assert_allclose(twice.probabilities[1], alone.probabilities[0], atol=1e-6)
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(model.predict_frames(tensor).probabilities, alone.probabilities)
    assert alone.labels == [row["label"]]


def test_frames_of_the_wrong_shape_or_kind_are_refused_with_what_was_expected(checkpoint):
    model = dfercli.load(checkpoint)
    with pytest.raises(DataError, match=r"\(T, H, W, 3\)"):
        model.predict_frames(np.zeros((4, 32, 32), np.uint8))
    with pytest.raises(DataError, match="uint8"):
        model.predict_frames(np.zeros((4, 32, 32, 3)))
    with pytest.raises(DataError, match=r"\(B, 4, 3, 48, 48\)"):
        model.logits(torch.zeros(1, 5, 3, 48, 48))


def test_a_broken_clip_is_a_failure_and_the_rest_is_kept(checkpoint, store, tmp_path, capsys):
    for number in range(24, 36):
        (store / "frames" / "one" / f"{number:06d}.jpg").write_bytes(b"\xff\xd8 cut")
    out = tmp_path / "a.csv"
    arguments = (store, "--checkpoint", checkpoint, "--out", out, "--window", 1)
    predict(*arguments, code=3)
    table = pd.read_csv(out)
    counts = table["source"].str.contains("two").value_counts()
    assert counts[True] > counts.get(False, 0)
    failure = json.loads((tmp_path / "a.failures.jsonl").read_text())
    assert "one.mp4" in failure["source"]
    assert "cut short" in failure["reason"]
    assert "1 of 2 sources failed" in capsys.readouterr().err


def test_sources_come_from_standard_input(checkpoint, store, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{store}\n\n"))
    predict("-", "--checkpoint", checkpoint)
    assert "two.mp4" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    predict("-", "--checkpoint", checkpoint, code=2)


def test_if_no_weights_can_be_found_the_exit_code_is_4_with_a_way_out(store, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("DFER_CACHE", str(store))  # holds no model of `dfer models`
    monkeypatch.setattr("open_clip.download_pretrained", _refuse)
    predict(store, "--runs", store, code=4)
    error = capsys.readouterr().err
    assert "zero-shot CLIP" in error
    assert "--clip-weights FILE" in error


def _refuse(*_, **__):
    raise OSError("no network")


def test_zero_shot_takes_any_classes_as_names_or_texts(store, capsys):
    labels = 'bored, "confused=a face with knitted brows and an open mouth", delighted'
    predict(store, "--clip", "tiny/random", "--labels", labels, "--json")
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert found["label_set"] == ["bored", "confused", "delighted"]
    assert "labels: bored, confused, delighted" in output.err
    assert class_texts(("a", "b=a text"), "context") == {
        "a": ["an expression of a."],
        "b": ["a text"],
    }


def test_zero_shot_takes_a_file_of_descriptions(store, tmp_path, capsys):
    assert run(["describe", "--classes", "7", "--out", str(tmp_path / "seven.json")]) == 0
    predict(store, "--clip", "tiny/random", "--labels", tmp_path / "seven.json")
    error = capsys.readouterr().err
    assert "labels: happiness, sadness" in error
    assert "happiness  The" in error


@pytest.mark.parametrize("labels", [("a",), ("a", "a"), ("a", "b=")])
def test_faulty_zero_shot_labels_are_refused(labels):
    with pytest.raises(ConfigError):
        class_texts(labels, "context")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere.mp4"], 3),
        (["STORE", "--window", "0"], 2),
        (["STORE", "--stride", "5"], 2),
        (["STORE", "--out", "a.xlsx"], 2),
        (["STORE", "--checkpoint", "nowhere"], 4),
        (["STORE", "--labels", "a,b"], 2),
        (["STORE", "--min-confidence", "2"], 2),
        ([], 2),
    ],
)
def test_bad_usage_has_its_exit_code_and_one_line(arguments, code, checkpoint, store, capsys):
    given = [str(store) if word == "STORE" else word for word in arguments]
    if "--checkpoint" not in given:
        given += ["--checkpoint", str(checkpoint)]
    predict(*given, code=code)
    assert capsys.readouterr().err.count("error: ") == 1


def test_a_checkpoint_cut_short_is_an_artifact_error(tmp_path):
    folder = write_toy_checkpoint(tmp_path / "c")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="cut short"):
        dfercli.load(folder)
