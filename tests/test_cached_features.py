"""Training on cached features of a frozen image encoder: same result, no work done twice."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from running import two_processes
from stores import bright_and_dark_store
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from trainings import MODEL, OPTIM, OPTIONS, Interrupting, last_weights, small_config

from dfercli.artifacts.jsonl import read_rows
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.config import AugmentConfig, TrainConfig
from dfercli.data.features import FeatureDataset
from dfercli.data.fold_clips import read_fold_clips
from dfercli.errors import ArtifactError
from dfercli.inference.fabric import make_fabric
from dfercli.inference.restore import new_model, restore_model
from dfercli.models.dfer_clip import DferClip
from dfercli.progress import LogProgress
from dfercli.training import run as train
from dfercli.training.cached_features import cached_datasets

NO_AUGMENTATION = AugmentConfig(crop_scale=1, flip=0)
CLIPS = 16
CACHED = ("--freeze-image", "--cache-features")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of seven frames; training draws three."""
    return bright_and_dark_store(tmp_path_factory.mktemp("cached") / "faces", frames=7)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


def frozen_config(store: Path, out: Path, features: Path | None, **changes: Any) -> TrainConfig:
    """A training with a frozen encoder and no augmentation; cached if `features` is given."""
    caching = {} if features is None else {"cache_features": True, "features_in": features}
    settings = {
        "model": replace(MODEL, freeze_image=True),
        "augment": NO_AUGMENTATION,
        **caching,
        **changes,
    }
    return small_config(store, out, **settings)


@pytest.fixture(scope="module")
def cached(store: Path, features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("with")
    return train.run(frozen_config(store, out, features), LogProgress()).run


class Telling(Interrupting):
    """Keeps the notes."""

    def __init__(self) -> None:
        super().__init__(after_steps=-1)
        self.infos: list[str] = []

    def info(self, message: str) -> None:
        self.infos.append(message)

    @property
    def cache_line(self) -> str:
        return next(line for line in self.infos if line.startswith("cached features: "))


@contextmanager
def encoded_frames(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of frames of each call of the image encoder."""
    calls: list[int] = []
    original = DferClip.frame_features

    def counting(self: DferClip, frames: Tensor) -> Tensor:
        if not isinstance(frames, FakeTensor):  # counting what a model costs
            calls.append(len(frames))
        return original(self, frames)

    with monkeypatch.context() as patch:
        patch.setattr(DferClip, "frame_features", counting)
        yield calls


def rows_of(run: Path) -> list[dict[str, Any]]:
    return list(read_rows(FoldFolder(run / "fold-1").metrics))


def assert_equal_runs(run: Path, expected: Path) -> None:
    assert rows_of(run) == rows_of(expected)
    weights = last_weights(run)
    for name, tensor in last_weights(expected).items():
        assert torch.equal(weights[name], tensor), name


def test_the_result_is_the_same_as_without_the_cache(
    store: Path, cached: Path, tmp_path: Path
) -> None:
    plain = train.run(frozen_config(store, tmp_path, None), LogProgress()).run
    for row, expected in zip(rows_of(cached), rows_of(plain), strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], abs=1e-4)
        assert row["train_war"] == expected["train_war"]
        assert row["validation_war"] == expected["validation_war"]
        assert row["lr"].keys() == {"temporal", "context"}
    weights = last_weights(cached)
    start = new_model(replace(MODEL, freeze_image=True), ("happiness", "sadness"), seed=1)
    before = start.module.state_dict()
    moved = 0
    for name, expected in last_weights(plain).items():
        torch.testing.assert_close(weights[name], expected, atol=1e-4, rtol=1e-3)
        if name.startswith("clip."):  # batch normalisation's counters stay, too
            assert torch.equal(weights[name], before[name]), name
        else:
            moved += not torch.allclose(weights[name], before[name], atol=1e-4)
    assert moved > 3
    results = (next((run / "fold-1" / "evaluation").iterdir()) for run in (cached, plain))
    measured, wanted = (list(read_rows(folder / "predictions.jsonl")) for folder in results)
    for row, expected in zip(measured, wanted, strict=True):
        assert row["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)


def test_the_checkpoint_predicts_by_itself(cached: Path) -> None:
    model = restore_model(FoldFolder(cached / "fold-1").last).module
    frames = torch.randint(0, 256, (2, 3, 3, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        model.eval()
        whole = model(frames)
        in_training = model.train()(frames)
        features = model.frame_features(frames.flatten(0, 1)).unflatten(0, (2, 3))
        of_features = model(features)
    assert torch.equal(whole, in_training)
    torch.testing.assert_close(of_features, whole)
    assert not any(weight.requires_grad for weight in model.clip.visual.parameters())


def test_the_encoder_sees_each_frame_once(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then never again, except for the final measurement, which does not use the cache."""
    counts = []
    for run, epochs in (("empty", 1), ("filled", 3)):
        config = frozen_config(
            store, tmp_path / run, tmp_path / "features", optim=replace(OPTIM, epochs=epochs)
        )
        with encoded_frames(monkeypatch) as calls:
            train.run(config, LogProgress())
        counts.append(sum(calls))
    held_out = 4 * MODEL.num_frames
    assert counts == [CLIPS * 7 + held_out, held_out]


@pytest.mark.parametrize("views", [0, 2])
def test_a_resumed_run_ends_equal(store: Path, features: Path, tmp_path: Path, views: int) -> None:
    augment = NO_AUGMENTATION if views == 0 else AugmentConfig(crop_scale=0.5)
    changes: dict[str, Any] = {"cached_views": views, "augment": augment, "checkpoint_every": 1}
    whole = train.run(
        frozen_config(store, tmp_path / "whole", features, **changes), LogProgress()
    ).run
    with pytest.raises(KeyboardInterrupt):
        train.run(frozen_config(store, tmp_path, features, **changes), Interrupting(5))
    progress = Telling()
    train.resume(tmp_path / "run", progress, features)
    assert "(0 encoded now)" in progress.cache_line
    assert_equal_runs(tmp_path / "run", whole)


def test_the_feature_folder_named_in_a_strangers_run_is_not_used(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    with pytest.raises(KeyboardInterrupt):
        train.run(frozen_config(store, tmp_path, theirs), Interrupting(4))
    shutil.rmtree(theirs)
    monkeypatch.setenv("DFER_CACHE", str(ours))
    progress = Telling()
    train.resume(tmp_path / "run", progress)
    assert not theirs.exists()
    assert any((ours / "features").rglob("*.safetensors"))
    assert f"only --features-in {theirs} uses it" in "\n".join(progress.notes)


def test_two_processes_train_as_one(store: Path, features: Path, tmp_path: Path) -> None:
    options = [
        *OPTIONS,
        *CACHED,
        *("--cached-views", "2", "--features-in", str(tmp_path / "features")),
        *("--name", "run", "--quiet"),
    ]
    own = ("train", store, *options, "--out", tmp_path / "two")
    both = two_processes(*own, folder=tmp_path / "p")
    assert [one.ended() for one in both] == [0, 0], both[0].err
    made = sorted((tmp_path / "features").rglob("*.safetensors"))
    assert len(made) == 14 * 2 + 2
    assert dfer(["train", str(store), *options, "--out", str(tmp_path / "one")]) == 0
    assert sorted((tmp_path / "features").rglob("*.safetensors")) == made
    rows, expected_rows = rows_of(tmp_path / "two" / "run"), rows_of(tmp_path / "one" / "run")
    for row, expected in zip(rows, expected_rows, strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], abs=1e-4)
        assert row["validation_war"] == expected["validation_war"]


def encoded_now(config: TrainConfig) -> tuple[str, Telling]:
    """Fill the cache for a training, without the training."""
    progress, clips = Telling(), read_fold_clips(config, 1)
    model = new_model(config.model, clips.fold.label_set, config.seed)
    cached_datasets(config, clips, model, make_fabric("cpu", precision=config.precision), progress)
    return progress.cache_line.rpartition("(")[2], progress


def test_only_a_changed_clip_is_encoded_again(tmp_path: Path) -> None:
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=4, frames=4)
    features = tmp_path / "features"
    config = frozen_config(store, tmp_path, features)
    assert encoded_now(config)[0] == "8 encoded now)"
    frame = store / "frames" / "sadness-2" / "000003.jpg"
    image = cv2.imread(str(frame))
    image[:16] = 255
    cv2.imwrite(str(frame), image)
    assert encoded_now(config)[0] == "1 encoded now)"
    content = frame.read_bytes()
    frame.write_bytes(content[:-2] + b"\x00" + content[-2:])  # the same picture, other bytes
    assert encoded_now(config)[0] == "1 encoded now)"
    # Folder and name do not matter.
    store.rename(tmp_path / "elsewhere")
    moved = replace(config, dataset=str(tmp_path / "elsewhere"))
    assert encoded_now(moved)[0] == "0 encoded now)"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},  # the toy with other random weights
        {"model": replace(MODEL, freeze_image=True, normalization="clip")},
        {"precision": "bf16-mixed"},
    ],
    ids=["weights", "normalisation", "precision"],
)
def test_features_of_another_encoder_are_not_used(
    store: Path, features: Path, cached: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    assert encoded_now(frozen_config(store, tmp_path, features))[0] == "0 encoded now)"
    other = frozen_config(store, tmp_path, features, **change)
    assert encoded_now(other)[0] == f"{CLIPS} encoded now)"


def test_other_settings_of_the_trained_part_use_the_same_features(
    store: Path, features: Path, cached: Path, tmp_path: Path
) -> None:
    model = replace(MODEL, freeze_image=True, context_tokens=4, temporal_layers=2, num_frames=5)
    config = frozen_config(store, tmp_path, features, model=model)
    assert encoded_now(config)[0] == "0 encoded now)"


def test_torn_and_foreign_files_are_computed_again_with_one_note(
    store: Path, tmp_path: Path
) -> None:
    features = tmp_path / "features"
    encoded_now(frozen_config(store, tmp_path, features))
    files = sorted(features.rglob("*.safetensors"))
    contents = [file.read_bytes() for file in files]
    files[0].write_bytes(contents[0][:-100])
    files[1].write_bytes(b"not features")
    files[2].write_bytes(contents[3])  # of another clip
    flipped = bytearray(contents[4])
    flipped[-1] ^= 1
    files[4].write_bytes(flipped)
    files[5].unlink()
    left = files[6].with_name(f".{files[6].stem}.partial-abc.safetensors")
    left.write_bytes(b"what a kill left")
    said, progress = encoded_now(frozen_config(store, tmp_path, features))
    assert said == "5 encoded now)"
    notes = [note for note in progress.notes if "features" in note]
    assert len(notes) == 1
    assert notes[0].startswith("4 files of cached features were damaged and are computed again: ")
    assert [file.read_bytes() for file in files] == contents


def test_views_are_drawn_once_and_differ(store: Path, tmp_path: Path) -> None:
    contents = []
    for folder in ("first", "second"):
        config = frozen_config(
            store,
            tmp_path / folder,
            tmp_path / folder / "features",
            cached_views=3,
            augment=AugmentConfig(crop_scale=0.5),
            select="last",
        )
        assert encoded_now(config)[0] == f"{CLIPS * 3} encoded now)"
        files = sorted((tmp_path / folder / "features").rglob("*.safetensors"))
        contents.append({file.name: file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    different = {content[-512:] for content in contents[0].values()}
    assert len(different) > CLIPS * 2  # small frames may draw one crop twice


def test_an_epochs_view_depends_on_seed_epoch_and_clip(tmp_path: Path) -> None:
    def views(seed: int, *, training: bool = True) -> np.ndarray:
        dataset = FeatureDataset(
            [],
            (),
            [[tmp_path / "0", tmp_path / "1", tmp_path / "2"]] * 40,
            num_frames=3,
            image_size=48,
            training=training,
            seed=seed,
        )
        return np.array([[dataset.view(epoch, clip) for clip in range(40)] for epoch in range(30)])

    drawn = views(1)
    assert np.array_equal(drawn, views(1))
    assert not np.array_equal(drawn, views(2))
    shares = np.bincount(drawn.ravel(), minlength=3) / drawn.size
    assert np.all(np.abs(shares - 1 / 3) < 0.06)
    assert all(len(set(column)) == 3 for column in drawn.T)
    assert not views(1, training=False).any()


def test_features_that_vanish_are_named(store: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    config = frozen_config(store, tmp_path, features)

    class Removing(Interrupting):
        def info(self, message: str) -> None:
            if message.startswith("epoch 1/"):
                for file in features.rglob("*.safetensors"):
                    file.unlink()

    with pytest.raises(ArtifactError, match="cached features are gone or damaged"):
        train.run(config, Removing(-1))
    train.resume(tmp_path / "run", LogProgress())
    assert len(rows_of(tmp_path / "run")) == 3


def test_the_command_reports_the_size_of_its_cache(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DFER_CACHE", str(tmp_path / "cache"))
    command = ["train", str(store), *OPTIONS, *CACHED, "--out", str(tmp_path)]
    assert dfer([*command, "--name", "first"]) == 0
    said = capsys.readouterr().err
    assert f"MB in {tmp_path / 'cache' / 'features'} ({CLIPS} encoded now)" in said
    assert said.count("no augmentation (--cached-views N would draw N views)") == 1
    assert dfer([*command, "--name", "second", "--workers", "1"]) == 0
    assert "(0 encoded now)" in capsys.readouterr().err
    assert_equal_runs(tmp_path / "second", tmp_path / "first")


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--cache-features",), "needs an image encoder that is not trained", "--freeze-image"),
        (("--cached-views", "2"), "without cached features", "--cache-features --freeze-image"),
        (("--freeze-image", "--cached-views", "2"), "without cached features", "--cache-features"),
        (("--method", "mean-pooling", *CACHED), "nothing but its image encoder", "dfer-clip"),
        (("--method", "mean-pooling", "--freeze-image"), "--freeze-image does not go", "dfer-clip"),
        (("--method", "finecliper", "--cache-features"), "adapters inside its image", "dfer-clip"),
        (
            (*CACHED, "--temporal-layers", "0", "--set", "model.context_tokens=0"),
            "there is nothing to train",
            "--temporal-layers 1",
        ),
        (
            (
                *(*CACHED, "--cached-views", "2"),
                *("--set", "augment.crop_scale=1", "--set", "augment.flip=0"),
            ),
            "all views are the same",
            "omit --cached-views",
        ),
        ((*CACHED, "--cached-views", "-1"), "cached_views: expected a whole number", ""),
    ],
)
def test_options_that_exclude_each_other_are_refused_at_once(
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
    hint: str,
) -> None:
    assert dfer(["train", str(store), *OPTIONS, "--out", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("error: ") == 1
    assert message in error.splitlines()[0]
    assert hint in error
    assert not list(tmp_path.iterdir())


def test_a_broken_frame_and_a_folder_that_is_a_file_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=4, frames=4)
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    command = ["train", str(store), *OPTIONS, *CACHED, "--out", str(tmp_path), "--quiet"]
    assert dfer([*command, "--features-in", str(blocked)]) == 2
    assert f"error: --features-in {blocked} is a file, expected a folder" in capsys.readouterr().err
    broken = store / "frames" / "sadness-1" / "000002.jpg"
    broken.write_bytes(b"no picture")
    again = [*command, "--name", "again", "--features-in", str(tmp_path / "features")]
    assert dfer(again) == 3
    error = capsys.readouterr().err
    assert f"error: frame is not a readable picture: {broken}" in error
