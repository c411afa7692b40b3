"""The recipe that repeats the published training, and where its class texts come from."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from stores import bright_and_dark_store, write_store
from test_convert import ARCHITECTURE
from trainings import OPTIONS

from dfercli.artifacts.run_config import read_train_config
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.config import AugmentConfig, DataConfig, ModelConfig, TrainConfig
from dfercli.data.augmentation import augment, draw_augmentation
from dfercli.data.clips import Clip
from dfercli.data.loading import ClipDataset
from dfercli.inference.restore import restore_model
from dfercli.labels import SEVEN
from dfercli.layers import layered, options, recipe_differences
from dfercli.models.clip_backbone import build_clip
from dfercli.models.dfer_clip import DferClip
from dfercli.models.published_checkpoint import published_weights

TEXTS = tuple(f"a face that shows {name} in some way." for name in SEVEN)
RECIPE = ("--recipe", "dfer-clip-published")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A checkpoint as the published code writes it, with its own texts."""
    module = DferClip(build_clip(ARCHITECTURE), TEXTS, ModelConfig(num_frames=3, context_tokens=2))
    path = tmp_path_factory.mktemp("published") / "model_best.pth"
    torch.save({"epoch": 1, "state_dict": published_weights(module, list(TEXTS))}, path)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return bright_and_dark_store(folder / "a", 4), bright_and_dark_store(
        folder / "b", 2, people="other"
    )


def train(stores, out: Path, *more: str) -> int:
    command = ["train", str(stores[0]), "--test", str(stores[1]), *OPTIONS, *RECIPE]
    return dfer([*command, "--epochs", "1", "--out", str(out), "--name", "run", *more])


def test_the_recipe_differs_from_ours_only_in_these_settings():
    found = {name: (ours, theirs) for name, ours, theirs in recipe_differences(*RECIPE_NAMES)}
    assert found == {
        "select": ("val", "best-on-test"),
        "precision": ("auto", "32"),
        "data.frame_counts": ("disk", "listed"),
        "model.text_type": ("description", "published"),
        "augment.rotation_pixels": ("bilinear", "nearest"),
    }
    config = layered(
        TrainConfig(), [options({"recipe": "dfer-clip-published", "dataset": "ferv39k"})]
    )
    assert (config.augment.rotation_degrees, config.optim.epochs) == (4.0, 50)


RECIPE_NAMES = ("dfer-clip", "dfer-clip-published")


def test_info_and_docs_show_the_table(capsys):
    assert dfer(["info", "--method", "dfer-clip", "--clip", "tiny/random"]) == 0
    printed = capsys.readouterr().out
    page = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text()
    for name, _, _ in recipe_differences(*RECIPE_NAMES):
        assert name in printed
        assert f"`{name}`" in page


def test_without_its_texts_the_recipe_stops_before_a_run_folder(stores, tmp_path, capsys):
    assert train(stores, tmp_path) == 2
    message = capsys.readouterr().err
    assert "their authors'" in message
    assert "--descriptions CHECKPOINT.pth" in message
    assert not (tmp_path / "run").exists()


def test_own_texts_are_labelled_so(stores, tmp_path, capsys):
    assert train(stores, tmp_path, "--own-texts") == 0
    printed = capsys.readouterr()
    assert "with our own class texts, not the published ones" in printed.out
    card = restore_model(FoldFolder(tmp_path / "run" / "fold-1").best).card
    assert "best-on-test" in card.trained_on["selection"]
    assert "our own class texts" in card.trained_on["selection"]


def test_texts_are_taken_out_of_a_published_checkpoint(stores, published, tmp_path):
    assert train(stores, tmp_path, "--descriptions", str(published)) == 0
    folder = FoldFolder(tmp_path / "run" / "fold-1")
    wanted = (TEXTS[0], TEXTS[1])  # for the store's happiness and sadness
    assert read_train_config(folder).model.class_texts == wanted
    card = restore_model(folder.best).card
    assert card.class_texts == wanted
    assert "own class texts" not in card.trained_on["selection"]


def test_a_file_that_is_not_a_published_checkpoint_is_named(stores, tmp_path, capsys):
    path = tmp_path / "other.pth"
    torch.save({"weights": torch.zeros(3)}, path)
    assert train(stores, tmp_path, "--descriptions", str(path)) == 4
    assert "other.pth" in capsys.readouterr().err


def test_rotated_pixels_are_the_nearest_ones():
    rng = np.random.default_rng(0)
    black_or_white = torch.from_numpy(255 * rng.integers(0, 2, (2, 3, 40, 40), dtype=np.uint8))
    config = AugmentConfig(crop_scale=1.0, flip=0.0, rotation_degrees=30.0)
    draw = draw_augmentation(40, 40, replace(config, rotation_pixels="nearest"), rng)
    assert set(np.unique(augment(black_or_white, draw, 40).numpy())) == {0, 255}
    mixed = augment(black_or_white, replace(draw, nearest=False), 40).numpy()
    assert len(np.unique(mixed)) > 20


def test_frames_are_sampled_by_the_count_of_the_list(tmp_path):
    frames = np.stack([np.full((32, 32, 3), 20 * number, np.uint8) for number in range(8)])
    write_store(tmp_path / "s", [("a", "happiness", "one", frames)])
    for path in (tmp_path / "s" / "frames" / "a").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)))
    clip = Clip("a", tmp_path / "s" / "frames" / "a", "happiness", listed_frames=16)

    def levels(own: Clip) -> list[int]:
        data = ClipDataset([own], SEVEN, num_frames=4, image_size=32)
        return [round(float(frame.float().mean()) / 20) for frame in data[(0, 0)][0]]

    assert levels(clip) == [1, 3, 5, 7]
    assert levels(replace(clip, sampled_as=16)) == [2, 6, 7, 7]
    assert DataConfig().frame_counts == "disk"
