"""`dfer eval`: metrics of a run or a checkpoint, the same every time."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stores import bright_and_dark_store
from trainings import small_config

from dfercli.artifacts.jsonl import read_rows, write_rows
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.config import DataConfig, EvalConfig
from dfercli.data.loading import ClipDataset
from dfercli.data.store_folds import read_store_fold
from dfercli.errors import ArtifactError
from dfercli.evaluation import run as evaluate
from dfercli.inference.fabric import make_fabric
from dfercli.inference.predict_logits import predict_logits
from dfercli.inference.probabilities import softmax
from dfercli.inference.restore import restore_model
from dfercli.progress import LogProgress
from dfercli.training import run as train


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("evaluate")
    return (
        bright_and_dark_store(folder / "faces", frames=4),
        bright_and_dark_store(folder / "faces-test", clips_per_class=5, frames=4, people="other"),
    )


@pytest.fixture(scope="module")
def run(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = DataConfig(workers=0, test=str(stores[1]))
    config = small_config(stores[0], tmp_path_factory.mktemp("runs"), data=data)
    return train.run(config, LogProgress()).run


def content(folder: Path) -> dict[str, bytes]:
    """All files but the report, which names the checkpoint as the user does."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".html"}


def test_evaluating_a_run_again_gives_what_training_wrote(run: Path) -> None:
    folder = FoldFolder(run / "fold-1").evaluation("faces-test")
    written = content(folder)
    config = EvalConfig(checkpoint=run, workers=0, device="cpu", batch_size=4)  # as in training
    for _ in range(2):
        (measured,) = evaluate.run(config, LogProgress())
        assert measured.folder == folder
        assert content(folder) == written


def test_a_fold_is_measured_the_same_under_any_folder_name(run: Path, tmp_path: Path) -> None:
    config = EvalConfig(checkpoint=run, workers=0, device="cpu", batch_size=4)
    (expected,) = evaluate.run(config, LogProgress())
    best = "checkpoints/best"
    for name, parts in {
        "mymodel": ("", best),
        "fold-seven": ("",),
        "fold-9": ("", best),
        "fold-\u00b2": (best,),
    }.items():
        shutil.copytree(run / "fold-1", tmp_path / name, symlinks=True)
        for asked in (tmp_path / name / part for part in parts):
            (measured,) = evaluate.run(replace(config, checkpoint=asked), LogProgress())
            assert measured.measured_on == expected.measured_on
            assert measured.evaluation.to_json() == expected.evaluation.to_json()
    card = tmp_path / "mymodel" / "checkpoints" / "last" / "model.json"
    content = json.loads(card.read_text())
    for fold in ("x", None, 0, True):
        content["trained_on"]["fold"] = fold
        card.write_text(json.dumps(content))
        asked = tmp_path / "mymodel" / "checkpoints" / "last"
        with pytest.raises(ArtifactError, match=r"trained_on\W+fold: expected"):
            evaluate.run(replace(config, checkpoint=asked), LogProgress())


def test_every_clip_is_in_the_predictions_once(run: Path, stores: tuple[Path, Path]) -> None:
    folder = FoldFolder(run / "fold-1").evaluation("faces-test")
    rows = list(read_rows(folder / "predictions.jsonl"))
    expected = [clip.clip_id for clip in read_store_fold(stores[1]).train]
    assert [row["clip_id"] for row in rows] == expected
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
    metrics = json.loads((folder / "metrics.json").read_text())
    guesses = [max(row["probabilities"], key=row["probabilities"].get) for row in rows]
    right = sum(guess == row["label"] for guess, row in zip(guesses, rows, strict=True))
    assert metrics["war"] == pytest.approx(right / len(rows))


def test_the_tables_and_the_json(
    run: Path, stores: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = FoldFolder(run / "fold-1").last
    arguments = ["eval", str(checkpoint), str(stores[1]), "--out", str(tmp_path / "results")]
    assert dfer([*arguments, "--workers", "0", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert f"all clips of {stores[1]} fold 1" in printed
    for word in ("UAR", "WAR", "ECE", "happiness", "sadness", "selected on last epoch"):
        assert word in printed
    assert dfer([*arguments, "--workers", "0", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["num_clips"] == 10
    assert found["folder"] == str(tmp_path / "results")
    assert (tmp_path / "results" / "confusion.png").stat().st_size > 1000


def test_a_note_says_when_training_clips_are_measured(
    run: Path, stores: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", str(run), str(stores[0]), "--out", str(tmp_path), "--workers", "0"]
    assert dfer(arguments) == 0
    assert "these clips hold the ones that the model was trained on" in capsys.readouterr().err


def test_the_batch_size_does_not_change_the_result(run: Path, stores: tuple[Path, Path]) -> None:
    model = restore_model(FoldFolder(run / "fold-1").last)
    clips = read_store_fold(stores[1]).train
    dataset = ClipDataset(clips, model.card.label_set, num_frames=3, image_size=64)
    fabric = make_fabric("cpu", 1, "32")
    module = fabric.setup_module(model.module.eval())
    together, alone = (
        predict_logits(fabric, module, dataset, LogProgress(), batch_size=size, workers=0)
        for size in (7, 1)
    )
    np.testing.assert_allclose(together, alone, atol=1e-3)  # cosines times 100
    assert softmax(together).sum(axis=1) == pytest.approx(1)


def test_saved_and_loaded_weights_are_the_same_bits(run: Path, tmp_path: Path) -> None:
    last = FoldFolder(run / "fold-1").last
    first, second = restore_model(last), restore_model(last)
    frames = torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(first.module.eval()(frames), second.module.eval()(frames))
    assert first.card == second.card
    assert first.config.num_frames == 3


def test_a_label_that_the_model_does_not_know_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=1, frames=4)
    rows = [{**row, "label": "anger"} for row in read_rows(store / "clips.jsonl")]
    write_rows(store / "clips.jsonl", rows)
    (store / "dataset.json").write_text(
        (store / "dataset.json").read_text().replace('"sadness"', '"anger"')
    )
    assert dfer(["eval", str(run), str(store), "--workers", "0"]) == 3
    assert "the model knows happiness, sadness" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--precision", "8"], 2, "'--precision': '8' is not one of 'auto', '32'"),
        (["--device", "abacus"], 2, "abacus"),
        (["--batch-size", "0"], 2, "batch_size: expected a whole number of at least 1"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    assert dfer(["eval", str(run), *options]) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_missing_files_are_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfer(["eval", str(tmp_path / "nothing")]) == 4
    assert "no such checkpoint or run" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert dfer(["eval", str(tmp_path / "empty"), "faces"]) in (3, 4)
    capsys.readouterr()
    assert dfer(["eval", str(run), str(tmp_path / "faces-nowhere")]) == 3
    assert "no such data set" in capsys.readouterr().err
