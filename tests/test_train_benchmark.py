"""`dfer train dfew`: five folds of a miniature copy, in a table beside the published numbers."""

from pathlib import Path

import pytest
import torch
from miniature_datasets import make_dfew
from trainings import OPTIONS, Interrupting, last_weights

from dfercli.artifacts.run_config import read_train_config
from dfercli.artifacts.run_folder import FoldFolder, fold_folders
from dfercli.cli.app import run as dfer
from dfercli.progress import LogProgress
from dfercli.training import run as train

STEPS_PER_FOLD = 4  # two epochs of two steps


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dfew(tmp_path_factory.mktemp("dfew"))


def arguments(root: Path, out: Path) -> list[str]:
    options = [*OPTIONS, "--select", "best-on-test", "--out", str(out), "--name", "five"]
    return ["train", "dfew", "--root", str(root), *options]


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert dfer(arguments(root, out)) == 0
    return out / "five"


def test_the_table_shows_folds_mean_pooled_and_published_numbers(
    root: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfer(["train", "--resume", str(whole)]) == 0  # it is finished: the result is repeated
    printed = capsys.readouterr().out
    for row in ("mean of 5", "pooled", "DFER-CLIP 2023", "59.61", "71.25", "95 %", "ECE %"):
        assert row in printed
    assert printed.count("±") == 2
    assert "five: measured on test clips of dfew, own split" in printed
    assert "selected on: best-on-test: the epoch with the best WAR on the test clips" in printed
    assert "published: measured on test clips of dfew, official split" in printed


def test_every_fold_says_that_it_is_not_the_official_split(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfer([*arguments(root, tmp_path), "--fold", "2", "--epochs", "1"]) == 0
    assert "dfew fold 2 is not the official split" in capsys.readouterr().err
    assert [folder.path.name for folder in fold_folders(tmp_path / "five")] == ["fold-2"]


def test_five_folds_killed_in_the_third_and_resumed_are_the_same(
    root: Path, whole: Path, tmp_path: Path
) -> None:
    config = read_train_config(FoldFolder(whole / "fold-1"))
    config = type(config)(**{**vars(config), "out": tmp_path})
    with pytest.raises(KeyboardInterrupt):
        train.run(config, Interrupting(2 * STEPS_PER_FOLD + 3))
    run = tmp_path / "five"
    assert [folder.is_finished for folder in fold_folders(run)] == [True, True, False]
    train.resume(run, LogProgress())
    for fold in range(1, 6):
        weights, wanted = last_weights(run, fold), last_weights(whole, fold)
        assert all(torch.equal(weights[name], tensor) for name, tensor in wanted.items())
        assert FoldFolder(run / f"fold-{fold}").is_finished
