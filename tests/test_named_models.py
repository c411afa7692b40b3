"""Models by name: from their owners' place to a prediction."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drive_server import confirmation, quota_page, serve_drive, whole_file
from stores import bright_and_dark_store, write_store
from test_convert import published_content
from toy_model import write_toy_checkpoint

from dfercli import load, registry
from dfercli.artifacts.model_card import ModelCard, read_model_card
from dfercli.cli.app import run as dfer
from dfercli.data.loading import read_frame
from dfercli.evaluation.measure import _warn_if_trained_on
from dfercli.inference import named_models
from dfercli.labels import ELEVEN, SEVEN
from dfercli.progress import SilentProgress

FERV39K = "dfer-clip-ferv39k"
TABLE = """
[[model]]
name = "exp-tiny"
kind = "exp-clip"
classes = "any"
clip = "tiny/random"
clip_hub = "nobody/tiny"
templates = "photo"
place = "https://example.org/ExpCLIP.pth"
page = "https://example.org"
results = [{ dataset = "dfew", uar = 40.16, war = 47.09, protocol = "zero-shot" }]
selected_on = "nothing: it saw no label"
licence_code = "MIT"
licence_weights = "MIT"
licence_data = "CAER-S"
research_only = true
citation = "Zhao et al. 2025"
most_bytes = 10_000_000
[[model]]
name = "clip-tiny"
kind = "clip"
classes = "any"
clip = "tiny/random"
clip_hub = "nobody/tiny"
templates = "five"
place = "open_clip:tiny/random"
page = "https://example.org"
results = [{ dataset = "dfew", uar = 22.08, war = 21.30, protocol = "zero-shot" }]
selected_on = "nothing"
licence_code = "MIT"
licence_weights = "MIT"
licence_data = "the web"
research_only = false
citation = "Radford et al. 2021"
most_bytes = 10_000_000
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "dfer_offline"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(named_models, "first_cached", lambda *_: None)  # from the hub
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own_table(tmp_path, monkeypatch):
    """A table with the shipped models, and zero-shot ones on a tiny CLIP."""
    path = tmp_path / "models.toml"
    path.write_text(registry.TABLE.read_text() + TABLE)
    monkeypatch.setattr(registry, "TABLE", path)
    registry.named_models.cache_clear()
    yield
    monkeypatch.undo()
    registry.named_models.cache_clear()


class RecorderMeter:
    """The published trainer leaves such an object in its files."""


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small checkpoint of the published form, with an object of the trainer's `__main__`."""
    monkeypatch.setattr(RecorderMeter, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "RecorderMeter", RecorderMeter, raising=False)
    path = tmp_path / "model.pth"
    torch.save({**published_content(), "recorder": RecorderMeter()}, path)
    return path


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (30, 64, 64, 3)).astype(np.uint8)
    return write_store(tmp_path / "faces", [("one", None, None, frames)])


@pytest.fixture
def drive(tmp_path, monkeypatch):
    says = {"script": lambda path, headers: [quota_page()]}
    with serve_drive(tmp_path, lambda path, headers: says["script"](path, headers)) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        says["server"] = server
        yield says


def test_from_drive_to_a_prediction(drive, published, store, capsys):
    content = published.read_bytes()

    def script(path, headers):
        return [whole_file(content, headers) if "confirm=t" in path else confirmation()]

    drive["script"] = script
    assert dfer(["models", "get", FERV39K]) == 0
    shown = capsys.readouterr()
    assert "FERV39k: research only" in shown.err
    folder = named_models.folder_of(FERV39K)
    assert shown.out == f"{FERV39K}: {folder}\n"
    assert {path.name for path in folder.iterdir()} == {"model.json", "model.safetensors"}
    assert not list(folder.parent.rglob("*.pth"))
    card = read_model_card(folder)
    assert card.label_set == SEVEN
    assert card.origin["size_bytes"] == len(content)
    assert dfer(["models", "info", FERV39K]) == 0
    told = capsys.readouterr().out
    for words in (
        "made by others: dfer-clip-ferv39k, from drive:",
        "UAR 41.27 %, WAR 51.65 % on ferv39k (official test list, best-on-test)",
        "data behind it: FERV39k: research only",
        "research only: The data behind it",
        "protocol: best-on-test",
        "Do not decide about people by it",
    ):
        assert words in told
    asked = len(drive["server"].requests)
    assert dfer(["models", "get", FERV39K]) == 0  # it is here already
    assert len(drive["server"].requests) == asked

    capsys.readouterr()
    assert dfer(["predict", str(store), "--json", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["model"] == str(folder)
    first = shown.err.splitlines()[0]
    assert "no finished run in runs; the preferred one that is here" in first
    assert "published: UAR 41.27 %, WAR 51.65 % on FERV39k" in first
    assert "better" not in first  # numbers on another benchmark are no reason

    assert dfer(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[FERV39K]["state"] == "here"
    assert rows[FERV39K]["sha256"] == card.origin["sha256"]
    assert rows["dfer-clip-dfew-1"]["state"] == "not here"


def test_a_page_names_the_page_and_the_way_by_hand(drive, published, capsys):
    assert dfer(["models", "get", FERV39K]) == 4
    error = capsys.readouterr().err
    assert "error: cannot fetch dfer-clip-ferv39k from drive:" in error
    assert "Too many users have viewed or downloaded this file recently" in error
    page = "https://drive.google.com/file/d/1lRUw5eTa7TGSEombjHqCPE76oP2c_3fz/view"
    assert f"open {page} in a browser" in error
    assert f"dfer models add {FERV39K} FILE" in error
    html = published.with_name("saved.pth")
    html.write_text("<!doctype html><title>Google Drive - Quota exceeded</title>")
    assert dfer(["models", "add", FERV39K, str(html)]) == 4
    assert "is a page (HTML), no file" in capsys.readouterr().err
    assert dfer(["models", "add", FERV39K, str(published)]) == 0
    assert dfer(["models", "add", "dfer-clip-mafw-1", str(published)]) == 4
    assert "has 7 classes, dfer-clip-mafw-1 has 11" in capsys.readouterr().err
    published.write_bytes(b"other")
    assert dfer(["models", "add", FERV39K, str(published)]) == 4
    assert "has changed since it was first fetched" in capsys.readouterr().err


class Trap:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def test_nothing_in_a_published_file_is_run(tmp_path, capsys):
    path, marker = tmp_path / "trap.pth", tmp_path / "marker"
    torch.save({**published_content(), "recorder": Trap(marker)}, path)
    assert dfer(["models", "add", FERV39K, str(path)]) == 4
    assert "refused" in capsys.readouterr().err
    assert not marker.exists()
    assert not named_models.folder_of(FERV39K).exists()


def test_offline_without_any_model_three_ways_out_are_named(store, monkeypatch, capsys):
    monkeypatch.setenv("DFER_OFFLINE", "1")
    monkeypatch.setattr("dfercli.models.clip_weights.first_cached", lambda *_: None)
    assert dfer(["predict", str(store), "--quiet"]) == 4
    error = capsys.readouterr().err.splitlines()
    assert "DFER_OFFLINE is set" in error[0]
    assert error[1] == "hint: one of these lines:"
    assert error[2].startswith("dfer models get dfer-clip-dfew-1 ")
    assert error[3].startswith(f"dfer predict {store} --clip-weights FILE ")
    assert error[4].startswith("dfer demo ")
    assert dfer(["predict", str(store), "--model", FERV39K]) == 4
    error = capsys.readouterr().err
    assert "dfer-clip-ferv39k is not here, and DFER_OFFLINE is set" in error
    assert f"dfer models get {FERV39K}" in error
    assert dfer(["predict", str(store), "--model", "user/my-model"]) == 4
    assert "DFER_OFFLINE is set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "dfer-clip-ferv39"], 4, "did you mean dfer-clip-ferv39k"),
        (["--model", "faces/nothing"], 4, "no such checkpoint or run"),
        (["--model", "a,,b"], 2, "names separated by commas"),
        (["--model", "clip-tiny,exp-tiny"], 2, "only trained models are averaged"),
        (["--model", "clip-tiny", "--clip", "tiny/random"], 2, "--clip and --model"),
    ],
)
def test_names_that_are_no_model_are_refused(
    own_table, store, tmp_path, capsys, arguments, code, words
):
    torch.save({"mlp.weight": torch.ones(8, 64)}, tmp_path / "matrix.pth")
    assert dfer(["models", "add", "exp-tiny", str(tmp_path / "matrix.pth")]) == 0
    assert dfer(["predict", str(store), *arguments, "--quiet"]) == code
    assert words in capsys.readouterr().err


def test_zero_shot_models_take_any_labels_and_stand_in_one_table(
    own_table, store, tmp_path, capsys
):
    matrix = torch.randn(128, 64, generator=torch.Generator().manual_seed(0))
    torch.save({"mlp.weight": matrix}, tmp_path / "matrix.pth")
    assert dfer(["models", "add", "exp-tiny", str(tmp_path / "matrix.pth")]) == 0
    capsys.readouterr()
    predict = ["predict", str(store), "--json", "--quiet"]
    assert dfer([*predict, "--model", "exp-tiny", "--labels", "bored, confused, delighted"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["label_set"] == ["bored", "confused", "delighted"]
    assert "zero-shot exp-tiny (as asked for); published: UAR 40.16 %" in shown.err
    assert "bored      a photo of a face with an expression of bored." in shown.err
    # Without a name the best zero-shot model that is here is taken.
    assert dfer([*predict, "--labels", "bored,happy"]) == 0
    assert "zero-shot exp-tiny" in capsys.readouterr().err
    assert dfer([*predict, "--clip", "tiny/random"]) == 0
    assert "zero-shot CLIP tiny/random" in capsys.readouterr().err

    labelled = bright_and_dark_store(tmp_path / "labelled", clips_per_class=2, frames=4)
    measure = ["eval", str(labelled), "--zero-shot", "--model", "clip-tiny,exp-tiny"]
    assert dfer([*measure, "--workers", "0", "--template", "photo", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "zero-shot clip-tiny, exp-tiny on all clips" in out
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["clip-tiny", "exp-tiny"]
    assert dfer(["eval", str(labelled), "--zero-shot", "--model", "labelled"]) == 2
    assert "and labelled is trained" in capsys.readouterr().err
    assert dfer(["eval", "exp-tiny", str(labelled)]) == 2
    assert "exp-tiny is a zero-shot model" in capsys.readouterr().err


def test_models_are_averaged_by_their_calibrated_probabilities(store, tmp_path, capsys):
    places = [
        write_toy_checkpoint(tmp_path / "a", calibration={"temperature": 2.0}),
        write_toy_checkpoint(
            tmp_path / "b",
            calibration={"temperature": 30.0},
        ),
    ]
    rows = []
    for spec in (str(places[0]), str(places[1]), f"{places[0]},{places[1]}"):
        assert dfer(["predict", str(store), "--model", spec, "--json", "--quiet"]) == 0
        found = json.loads(capsys.readouterr().out)["predictions"]
        columns = ("probability_sadness", "probability_neutral")
        rows.append(np.array([[row[name] for name in columns] for row in found]))
    assert np.abs(rows[0] - rows[1]).max() > 0.01
    np.testing.assert_allclose(rows[2], (rows[0] + rows[1]) / 2, atol=1e-6)
    labelled = bright_and_dark_store(tmp_path / "labelled", clips_per_class=2, frames=4)
    both = f"{places[0]},{places[1]}"
    assert dfer(["eval", both, str(labelled), "--workers", "0", "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["checkpoint"] == both
    found = list((tmp_path / "runs").rglob("predictions.jsonl"))
    assert len(found) == 1
    clip = json.loads(found[0].read_text().splitlines()[0])
    path = tmp_path / "labelled" / "frames" / clip["clip_id"]
    frames = np.stack([read_frame(frame) for frame in sorted(path.iterdir())])
    together = load(both, device="cpu").predict_frames(frames)
    expected = [clip["probabilities"][name] for name in together.label_set]
    np.testing.assert_allclose(together.probabilities[0], expected, atol=1e-5)
    other = tmp_path / "eleven.pth"
    torch.save(published_content(ELEVEN), other)
    assert dfer(["predict", str(store), "--model", f"{places[0]},{other}"]) == 2
    assert "only models with the same classes can be averaged" in capsys.readouterr().err


def test_an_own_model_gets_a_name(store, tmp_path, capsys):
    place = write_toy_checkpoint(tmp_path / "toy")
    assert dfer(["models", "add", "mine", str(place)]) == 0
    assert dfer(["predict", str(store), "--model", "mine", "--quiet"]) == 0
    assert dfer(["models", "add", "mine", str(place)]) == 2
    assert dfer(["models", "add", "../mine", str(place)]) == 2
    assert dfer(["models", "add", "dfer-clip-dfew", str(place)]) == 2
    capsys.readouterr()
    assert dfer(["models"]) == 0
    assert "mine: your own" in capsys.readouterr().out
    assert dfer(["info", "mine"]) == 0
    assert "happiness, sadness, neutral" in capsys.readouterr().out


def test_the_old_name_of_the_option_works_in_files_too(store, tmp_path, capsys):
    place = write_toy_checkpoint(tmp_path / "toy")
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[predict]\ncheckpoint = "{place}"\n')
    assert dfer(["predict", str(store), "--config", str(settings), "--quiet"]) == 0
    assert f"model: {place} (as asked for)" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 140])
def test_the_table_fits_the_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert dfer(["models"]) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= columns
    rows = [line for line in lines if line.startswith("│")]
    assert len(rows) == 17  # none of them broken
    assert any("59.61/71.25 DFEW" in row and "research" in row for row in rows)


@pytest.mark.parametrize("fold", [1, 2])
def test_a_fold_that_trained_on_the_test_clips_of_another_says_so(fold):
    notes = []

    class Progress(SilentProgress):
        def note(self, message):
            notes.append(message)

    card = ModelCard(
        SEVEN,
        SEVEN,
        {},
        {},
        224,
        {"num_frames": 16},
        trained_on={"dataset": "dfew", "fold": 2, "official_split": True},
    )
    model = SimpleNamespace(card=card)
    _warn_if_trained_on(model, f"test clips of dfew fold {fold}", Progress())
    assert len(notes) == (fold == 1)


def test_adding_a_wrong_file_first_does_not_block_the_right_one(published, tmp_path, capsys):
    wrong = tmp_path / "wrong.pth"
    wrong.write_text("hello")
    assert dfer(["models", "add", FERV39K, str(wrong)]) == 4
    other = tmp_path / "eleven.pth"
    torch.save(published_content(ELEVEN), other)
    assert dfer(["models", "add", FERV39K, str(other)]) == 4
    assert "has changed" not in capsys.readouterr().err
    assert dfer(["models", "add", FERV39K, str(published)]) == 0


def test_fetching_a_wrong_file_first_does_not_block_the_right_one(drive, published, capsys):
    contents = [b"hello" * 100, published.read_bytes()]
    drive["script"] = lambda path, headers: [whole_file(contents[0], headers)]
    assert dfer(["models", "get", FERV39K]) == 4
    del contents[0]
    assert dfer(["models", "get", FERV39K]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("weights nosuch", "dfer weights lists them"),
        ("weights yunet nosuch", "dfer weights lists them"),
        ("models get nosuch", "dfer models lists what has a name"),
        ("models get clip-b32 clip-b3", "did you mean clip-b32, clip-b16, exp-clip-b32?"),
        ("models info nosuch", "dfer models lists what has a name"),
    ],
)
def test_a_name_that_is_in_no_list_is_wrong_usage_and_nothing_is_fetched(
    monkeypatch, tmp_path, capsys, command, hint
):
    monkeypatch.setenv("DFER_OFFLINE", "1")  # a fetch would be an error of another code
    assert dfer(command.split()) == 2
    error, hinted = capsys.readouterr().err.splitlines()
    assert command.split()[-1] in error
    assert hinted == f"hint: {hint}"
    assert not (tmp_path / "cache").exists()
