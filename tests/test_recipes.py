"""The recipe `dfer-clip` is the published training, data set by data set, and its ablations."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dfercli.cli.app import run as dfer
from dfercli.config import AugmentConfig, ModelConfig, OptimConfig, TrainConfig
from dfercli.config.data import DATASETS
from dfercli.errors import ConfigError
from dfercli.progress import Progress
from dfercli.recipes import read_recipe, recipe_names

Settle = Callable[..., TrainConfig]


@pytest.fixture
def config_of(monkeypatch: pytest.MonkeyPatch) -> Settle:
    """The settings from a command line, without the training."""

    def settle(*arguments: str) -> TrainConfig:
        found: list[TrainConfig] = []

        def run(config: TrainConfig, _progress: Progress) -> None:
            found.append(config)
            raise ConfigError("this is only a test")

        monkeypatch.setattr("dfercli.training.run.run", run)
        assert dfer(["train", *arguments]) == 2
        return found[0]

    return settle


@pytest.mark.parametrize(
    ("dataset", "augment"),
    [
        ("dfew", AugmentConfig(brightness=0.5)),
        ("ferv39k", AugmentConfig(rotation_degrees=4.0)),
        ("mafw", AugmentConfig()),
        ("DFEW", AugmentConfig(brightness=0.5)),
    ],
)
def test_the_published_values_of_each_data_set(
    config_of: Settle, dataset: str, augment: AugmentConfig
) -> None:
    config = config_of(dataset)
    assert config.augment == augment
    assert augment.crop_scale == 0.08
    assert augment.flip == 0.5
    assert config.seed == 1
    assert config.optim == OptimConfig(
        optimizer="sgd",
        epochs=50,
        batch_size=48,
        lr_temporal=1e-2,
        lr_image=1e-5,
        lr_context=1e-3,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="step",
        milestones=(30, 40),
        gamma=0.1,
    )
    assert config.model == ModelConfig(
        method="dfer-clip",
        clip="ViT-B-32-quickgelu/openai",
        num_frames=16,
        normalization="none",
        text_type="description",
        context_tokens=8,
        class_specific=True,
        class_position="end",
        temporal_layers=1,
    )


def test_options_override_files_and_files_override_the_recipe(
    config_of: Settle, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[train.optim]\nbatch_size = 16\nepochs = 10\n[train]\nseed = 5\n")
    config = config_of("dfew", "--config", str(mine), "--epochs", "3", "--set", "seed=9")
    assert (config.optim.batch_size, config.optim.epochs, config.seed) == (16, 3, 9)
    assert config.augment.brightness == 0.5


def test_an_own_recipe(config_of: Settle, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[optim]\nepochs = 7\n[for.dfew.optim]\nepochs = 8\n")
    assert config_of("mafw", "--recipe", str(mine)).optim.epochs == 7
    assert config_of("dfew", "--recipe", str(mine)).optim.epochs == 8


def test_settings_for_an_unknown_data_set_are_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[for.ferv38k.optim]\nepochs = 8\n")
    with pytest.raises(ConfigError, match=r"\[for.ferv38k\] is no data set \(dfew, ferv39k"):
        read_recipe(str(mine), "dfew", DATASETS)


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        (["--text-type", "name"], "text_type", "name"),
        (["--text-type", "context"], "text_type", "context"),
        (["--context-tokens", "4"], "context_tokens", 4),
        (["--context-tokens", "0"], "context_tokens", 0),
        (["--generic-context"], "class_specific", False),
        (["--class-position", "front"], "class_position", "front"),
        (["--temporal-layers", "0"], "temporal_layers", 0),
        (["--temporal-layers", "3"], "temporal_layers", 3),
    ],
)
def test_the_ablations_of_the_paper_are_options(
    config_of: Settle, options: list[str], field: str, value: object
) -> None:
    assert getattr(config_of("dfew", *options).model, field) == value


def test_every_recipe_in_the_package_can_be_used(config_of: Settle) -> None:
    assert "dfer-clip" in recipe_names()
    for name in recipe_names():
        assert read_recipe(name, "dfew", DATASETS)
        assert config_of("dfew", "--recipe", name).optim.epochs >= 1
