"""`dfer train`: its files and messages, and its answers to bad input."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import huggingface_hub.constants
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from stores import bright_and_dark_store, write_store
from trainings import OPTIONS, TOWER, Interrupting, small_config

from dfercli.artifacts.atomic import read_json, write_json
from dfercli.artifacts.face_store import read_clips
from dfercli.artifacts.jsonl import read_rows, write_rows
from dfercli.artifacts.run_folder import FoldFolder, newest_finished_fold
from dfercli.artifacts.run_result import read_run_result
from dfercli.cli.app import run as dfer
from dfercli.config import DataConfig, OptimConfig
from dfercli.data.batches import Batch
from dfercli.data.fold_clips import read_fold_clips
from dfercli.errors import ConfigError
from dfercli.inference.restore import restore_model
from dfercli.models import clip_backbone
from dfercli.progress import LogProgress
from dfercli.training import fit
from dfercli.training import run as train
from dfercli.training.step import step_seed, update_weights

Read = Callable[[], str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_and_dark_store(tmp_path_factory.mktemp("train") / "faces", frames=4)


@pytest.fixture
def own_store(tmp_path: Path) -> Path:
    """A store that a test may break."""
    return bright_and_dark_store(tmp_path / "faces", clips_per_class=4, frames=4)


@pytest.fixture
def errors(capsys: pytest.CaptureFixture[str]) -> Read:
    """Reads stderr, which must hold exactly one error, of one line."""

    def read() -> str:
        text = capsys.readouterr().err
        assert text.count("error: ") == 1
        assert "Traceback" not in text
        return text

    return read


def train_command(store: Path, out: Path, *options: str) -> int:
    return dfer(["train", str(store), *OPTIONS, "--out", str(out), "--name", "run", *options])


def test_a_run_leaves_its_folder_and_prints_its_result(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(store, tmp_path) == 0
    printed = capsys.readouterr()
    assert "run │    1 │" in printed.out
    assert "selected on: best WAR on a held-out part of the training clips" in printed.out
    assert "selected and measured on the same clips" in printed.out
    assert "epoch 2/2" in printed.err
    folder = FoldFolder(tmp_path / "run" / "fold-1")
    assert read_json(folder.config)["optim"]["epochs"] == 2
    assert read_json(folder.environment)["device"] == "cpu"
    rows = list(read_rows(folder.metrics))
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"train_loss", "train_war", "validation_war", "lr"} <= rows[0].keys()
    card = restore_model(folder.best).card
    assert card.label_set == ("happiness", "sadness")
    assert card.selected_on.startswith("validation WAR (epoch ")
    assert card.trained_on["num_held_out"] == 2
    assert newest_finished_fold(tmp_path) == folder
    # Another run ends with the clock set back, and the first one is copied.
    shutil.copytree(tmp_path / "run", tmp_path / "later", symlinks=True)
    later = FoldFolder(tmp_path / "later" / "fold-1")
    later.result.unlink()
    assert dfer(["train", "--resume", str(tmp_path / "later")]) == 0
    os.utime(later.result, (0, 0))
    shutil.copytree(tmp_path / "run", tmp_path / "moved", symlinks=True)
    assert newest_finished_fold(tmp_path) == later
    assert [read_run_result(one.result).finished_as for one in (folder, later)] == [1, 2]
    names = {path.name for path in (folder.path / "evaluation" / "faces").iterdir()}
    expected = {"metrics.json", "predictions.jsonl", "confusion.csv", "confusion.png"}
    assert names >= expected | {"reliability.png"}


def test_the_result_as_json(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(store, tmp_path, "--json", "--quiet", "--select", "last") == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["run"] == str(tmp_path / "run")
    assert found["folds"][0]["selected_on"] == "last epoch, nothing selected"
    assert found["folds"][0]["metrics"] is None
    assert "epoch" not in printed.err


def test_each_way_to_select_is_named_and_uses_its_clips(store: Path, tmp_path: Path) -> None:
    other = bright_and_dark_store(tmp_path / "other", clips_per_class=3, frames=4, people="other")
    data = DataConfig(workers=0, test=str(other))
    expected = {
        "last": (16, 0, "last", "nothing selected"),
        "val": (14, 2, "best", "held-out part of the training clips"),
        "best-on-test": (16, 6, "best", "best-on-test"),
    }
    for select, (trained, held_out, checkpoint, rule) in expected.items():
        config = small_config(store, tmp_path / select, select=select, data=data)
        clips = read_fold_clips(config, 1)
        assert (len(clips.train), len(clips.held_out), len(clips.test)) == (trained, held_out, 6)
        result = train.run(config, LogProgress()).folds[0]
        assert result.checkpoint.name == checkpoint
        assert rule in result.selected_on
        assert result.measured_on == f"all clips of {other}"


def test_best_on_test_needs_test_clips(store: Path, tmp_path: Path, errors: Read) -> None:
    assert train_command(store, tmp_path, "--select", "best-on-test") == 2
    assert "needs test clips" in errors()
    assert not list(tmp_path.iterdir())


def test_validation_clips_are_of_other_subjects(store: Path, tmp_path: Path) -> None:
    clips = read_fold_clips(small_config(store, tmp_path), 1)
    subjects = [{clip.subject for clip in part} for part in (clips.train, clips.held_out)]
    assert not subjects[0] & subjects[1]
    assert len(subjects[1]) == 2  # a quarter of eight clips
    assert read_fold_clips(small_config(store, tmp_path), 1) == clips


def test_folds_by_subject_are_all_trained_and_never_share_one(store: Path, tmp_path: Path) -> None:
    data = DataConfig(workers=0, folds=2, group="subject")
    config = small_config(store, tmp_path, data=data, select="last")
    result = train.run(config, LogProgress())
    tested = []
    for number in (1, 2):
        clips = read_fold_clips(config, number)
        assert not {clip.subject for clip in clips.train} & {clip.subject for clip in clips.test}
        tested += [clip.clip_id for clip in clips.test]
    assert sorted(tested) == sorted(row.clip_id for row in read_clips(store))
    assert [fold.evaluation.num_clips for fold in result.folds if fold.evaluation] == [8, 8]


def test_training_twice_gives_the_same_weights_and_another_seed_others(
    store: Path, tmp_path: Path
) -> None:
    def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
        run = train.run(small_config(store, tmp_path, name=name, seed=seed), LogProgress()).run
        return restore_model(FoldFolder(run / "fold-1").last).module.state_dict()

    first, again, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["context.vectors"], other["context.vectors"])


def test_accumulated_pieces_train_as_the_whole_batch_does(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Batch normalisation would see single pieces; the published backbones have none.
    monkeypatch.setitem(clip_backbone.TINY, "vision_cfg", TOWER)
    losses = []
    for accumulate in (1, 3, 4):
        config = small_config(store, tmp_path, name=str(accumulate), select="last")
        config = replace(config, optim=replace(config.optim, accumulate=accumulate, epochs=1))
        run = train.run(config, LogProgress()).run
        losses.append(next(read_rows(run / "fold-1" / "metrics.jsonl"))["train_loss"])
    assert losses[1:] == pytest.approx(losses[:1] * 2, abs=1e-4)


def test_accumulated_pieces_update_the_weights_as_the_whole_batch_does() -> None:
    """With plain SGD, which follows the size of a gradient; AdamW would hide a wrong one."""

    def weights_after(accumulate: int) -> torch.Tensor:
        fabric = Fabric(accelerator="cpu", devices=1)
        torch.manual_seed(0)
        module = _Linear()
        model, optimizer = fabric.setup(module, torch.optim.SGD(module.parameters(), lr=0.1))
        frames, labels = torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
        batch = Batch(frames, labels, torch.arange(6))
        optim = OptimConfig(accumulate=accumulate)
        update_weights(fabric, model, module, optimizer, optim, batch)
        return module.layer.weight.detach().clone()

    whole = weights_after(1)
    for accumulate in (2, 3):
        torch.testing.assert_close(weights_after(accumulate), whole)


class _Linear(torch.nn.Module):
    """The least that `update_weights` needs from a method."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.layer(frames)

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, labels)

    def logits(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs


@pytest.mark.parametrize(
    ("wars", "best"), [((0.5, 0.5, 0.5), 1), ((0.2, 0.5, 0.5), 2), ((0.2, 0.5, 0.6), 3)]
)
def test_the_first_of_equally_good_epochs_is_selected(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wars: Any, best: int
) -> None:
    measured = iter(wars)
    monkeypatch.setattr(fit, "war_and_uar", lambda *_: (next(measured), 0.0))
    train.run(small_config(store, tmp_path, name="run", select="val"), LogProgress())
    card = read_json(tmp_path / "run" / "fold-1" / "checkpoints" / "best" / "model.json")
    assert card["selected_on"] == f"validation WAR (epoch {best})"


def test_each_step_and_process_draws_its_own_numbers_on_every_machine() -> None:
    seeds = [step_seed(1, step, rank) for step in range(3) for rank in range(2)]
    assert len(set(seeds)) == 6
    assert step_seed(1, 0, 0) == seeds[0] != step_seed(2, 0, 0)
    assert step_seed(1, 2, 3) == 3822189696


def test_a_batch_larger_than_the_data_is_made_smaller_with_a_note(
    own_store: Path, tmp_path: Path
) -> None:
    progress = Interrupting(after_steps=-1)
    config = small_config(own_store, tmp_path / "runs", select="last")
    config = replace(config, optim=replace(config.optim, batch_size=48, epochs=1))
    result = train.run(config, progress)
    assert progress.notes[:1] == ["batch size 48 is more than the 8 training clips: using 8"]
    saved = json.loads((result.run / "fold-1" / "config.json").read_text())
    assert saved["optim"]["batch_size"] == 8
    assert saved["asked"]["optim"] == {"batch_size": 48}
    again = train.run_or_resume(replace(config, name=result.run.name), progress)
    assert again == result
    other = replace(config, name=result.run.name, optim=replace(config.optim, batch_size=8))
    with pytest.raises(ConfigError, match=r"optim\.batch_size 48 -> 8"):
        train.run_or_resume(other, progress)


def test_a_run_folder_that_exists_is_kept(store: Path, tmp_path: Path, errors: Read) -> None:
    (tmp_path / "run").mkdir()
    assert train_command(store, tmp_path) == 2
    message = errors()
    assert f"run folder exists: {tmp_path / 'run'}" in message
    assert f"hint: continue it with --resume {tmp_path / 'run'}" in message
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("fault", ["corrupt", "cut short", "missing"])
def test_a_broken_frame_is_named(
    own_store: Path, tmp_path: Path, errors: Read, fault: str, workers: str
) -> None:
    for clip in range(4):  # one clip of each class, so one of them is read at once
        frame = own_store / "frames" / f"sadness-{clip}" / "000001.jpg"
        if fault == "corrupt":
            frame.write_bytes(b"this is no picture")
        elif fault == "cut short":
            frame.write_bytes(frame.read_bytes()[:400])
        else:
            frame.unlink()
    assert train_command(own_store, tmp_path / "runs", "--workers", workers) == 3
    message = errors()
    assert str(own_store / "frames" / "sadness-") in message
    expected = {
        "corrupt": "frame is not a readable picture",
        "cut short": "frame is cut short",
        "missing": "holds 3 frames, expected 4",
    }
    assert expected[fault] in message
    assert read_json(FoldFolder(tmp_path / "runs" / "run" / "fold-1").config)["seed"] == 1


def test_a_label_outside_the_label_set_is_named_with_its_clip(
    own_store: Path, tmp_path: Path, errors: Read
) -> None:
    rows = list(read_rows(own_store / "clips.jsonl"))
    rows[2]["label"] = "joyous"
    write_rows(own_store / "clips.jsonl", rows)
    assert train_command(own_store, tmp_path / "runs") == 3
    message = errors()
    assert rows[2]["clip_id"] in message
    assert "'joyous', which is not in the label set (happiness, sadness)" in message


def test_clips_that_cannot_be_split_say_how_to_go_on(tmp_path: Path, errors: Read) -> None:
    frames = np.full((4, 32, 32, 3), 128, np.uint8)
    store = write_store(
        tmp_path / "faces", [("a", "happiness", "one", frames), ("b", "sadness", "one", frames)]
    )
    assert train_command(store, tmp_path / "runs") == 3
    assert "hint: train without a selection: --select last" in errors()
    assert train_command(store, tmp_path / "runs", "--select", "last") == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--method", "resnet"], "'--method': 'resnet' is not one of 'clip-lora', 'dfer-clip'"),
        (["--select", "luck"], "'--select': 'luck' is not one of 'last', 'val', 'best-on-test'"),
        (["--precision", "8"], "'--precision': '8' is not one of 'auto', '32'"),
        (["--epochs", "0"], "optim.epochs: expected a whole number of at least 1"),
        (["--epochs", "many"], "--epochs"),
        (["--fold", "2"], "--fold takes 1 to 1 or all"),
        (["--clip", "tiny/openai"], "no weights 'openai' for tiny"),
        (["--recipe", "nobody"], "no such recipe: nobody"),
        (["--unknown", "1"], "No such option: --unknown"),
        (["--set", "optim.epochs"], "--set takes NAME=VALUE, got 'optim.epochs'"),
        (["--seed", str(2**64)], "seed: expected a whole number from 0 to 4294967295"),
        (["--name", "../elsewhere"], "--name is one folder in"),
        (["--precision", "16-mixed"], "precision 16-mixed needs a CUDA device"),
        (["--num-nodes", "2"], "nothing says where the other machines are"),
        (["--set", "optim.milestones=a"], "expected a list, each entry a whole number, got 'a'"),
        (["--devices", "3"], "3 processes cannot share batches of 4 clips equally"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    store: Path,
    tmp_path: Path,
    errors: Read,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    expected: str,
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert train_command(store, tmp_path, *options) == 2
    assert expected in errors()
    assert not list(tmp_path.iterdir())


def test_no_such_data_set(tmp_path: Path, errors: Read) -> None:
    assert train_command(tmp_path / "nowhere", tmp_path) == 3
    assert "no such data set" in errors()


def test_weights_from_a_local_file(store: Path, tmp_path: Path, errors: Read) -> None:
    torch.manual_seed(7)
    clip, _ = clip_backbone.load_backbone("tiny/random", None)
    torch.save(clip.state_dict(), tmp_path / "tiny.pt")
    options = ("--clip-weights", str(tmp_path / "tiny.pt"), "--epochs", "1")
    assert train_command(store, tmp_path / "runs", *options) == 0
    model = restore_model(FoldFolder(tmp_path / "runs" / "run" / "fold-1").last)
    weights = model.module.state_dict()
    assert torch.equal(weights["clip.token_embedding.weight"], clip.token_embedding.weight)
    assert model.card.backbone["tag"] == "file"
    assert len(model.card.backbone["sha256"]) == 64
    for name, content in (("wrong.pt", b"no weights"), ("missing.pt", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        weights_option = ("--clip-weights", str(tmp_path / name), "--name", name)
        assert train_command(store, tmp_path / "runs", *weights_option) == 4


def test_weights_that_cannot_be_downloaded(
    store: Path, tmp_path: Path, errors: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert train_command(store, tmp_path / "runs", "--clip", "ViT-B-32-quickgelu/openai") == 4
    message = errors()
    assert "cannot download the CLIP weights ViT-B-32-quickgelu/openai from timm/" in message
    assert "--clip-weights FILE" in message
    assert "dfer demo" in message


def test_a_store_without_labels_says_where_they_come_from(
    own_store: Path, tmp_path: Path, errors: Read
) -> None:
    rows = [{**row, "label": None} for row in read_rows(own_store / "clips.jsonl")]
    write_rows(own_store / "clips.jsonl", rows)
    assert train_command(own_store, tmp_path / "runs") == 3
    assert "have no label" in errors()


def test_frames_of_two_sizes_are_refused(own_store: Path, tmp_path: Path, errors: Read) -> None:
    for clip in range(4):
        frame = own_store / "frames" / f"happiness-{clip}" / "000002.jpg"
        cv2.imwrite(str(frame), np.zeros((20, 20, 3), np.uint8))
    assert train_command(own_store, tmp_path / "runs") == 3
    assert "frames of different sizes" in errors()


def test_a_store_of_another_schema_is_refused(
    own_store: Path, tmp_path: Path, errors: Read
) -> None:
    write_json(own_store / "dataset.json", {"schema": "dfer.face_store/99"})
    assert train_command(own_store, tmp_path / "runs") == 4
    assert "dataset.json: expected schema dfer.face_store/1" in errors()
