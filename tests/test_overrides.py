"""Settings from files, recipes and --set over the defaults."""

from dataclasses import replace
from pathlib import Path

import pytest

from dfercli.cli.app import run as dfer
from dfercli.config import TrainConfig
from dfercli.errors import ConfigError
from dfercli.overrides import override, read_toml, set_by_path, to_plain


def settle(*assignments: str) -> TrainConfig:
    return override(TrainConfig(), set_by_path(list(assignments)), where="--set")


def test_any_field_can_be_set_and_is_read_as_its_type() -> None:
    config = settle(
        "optim.batch_size=8",
        "optim.lr_image=1e-6",
        "optim.milestones=3,5",
        "model.class_specific=false",
        "model.temporal_layers=0",
        "data.root=/data/dfew",
        "data.folds=none",
    )
    assert config.optim.batch_size == 8
    assert config.optim.lr_image == 1e-6
    assert config.optim.milestones == (3, 5)
    assert config.model.class_specific is False
    assert config.model.temporal_layers == 0
    assert config.data.root == Path("/data/dfew")
    assert config.data.folds is None
    assert replace(config, optim=TrainConfig().optim).optim.epochs == 50


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        settle(
            "optim.batch=8",
            "optim.epochs=many",
            "optim.batch_size=0",
            "data.validation=1.5",
            "model.class_position=left",
            "model.class_specific=perhaps",
            "augment=3",
            "colour=red",
        )
    message = caught.value.message
    for fault in (
        "unknown setting optim.batch (known: optimizer, epochs, batch_size",
        "optim.epochs: expected a whole number of at least 1, got 'many'",
        "optim.batch_size: expected a whole number of at least 1, got '0'",
        "data.validation: expected a number from 0 to 1, got '1.5'",
        "model.class_position: expected one of end, middle, front, got 'left'",
        "model.class_specific: expected true or false, got 'perhaps'",
        "augment is a table of settings, got '3'",
        "unknown setting colour",
    ):
        assert fault in message
    assert "\n" not in message


def test_assignments_without_a_value_are_all_named() -> None:
    with pytest.raises(ConfigError, match=r"'optim.epochs', 'seed'"):
        set_by_path(["optim.epochs", "fold=1", "seed"])


@pytest.mark.parametrize("value", ["nan", "-1", "1e-2x", "true"])
def test_a_number_must_be_one(value: str) -> None:
    with pytest.raises(ConfigError, match=r"optim.lr_image: expected a number of at least 0"):
        settle(f"optim.lr_image={value}")


def test_what_is_written_is_read_back_the_same() -> None:
    config = settle("optim.milestones=3,5", "data.root=a/b", "seed=7")
    assert override(TrainConfig(), to_plain(config), where="config.json") == config


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("epochs = = 3")
    with pytest.raises(ConfigError, match=r"not valid TOML: .*settings.toml"):
        read_toml(path)
    with pytest.raises(ConfigError, match=r"cannot read .*missing.toml"):
        read_toml(tmp_path / "missing.toml")


def test_faults_of_a_recipe_name_the_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text("seeds = 3\n[optim]\nepochs = 0\n")
    assert dfer(["train", "dfew", "--recipe", str(tmp_path / "mine.toml")]) == 2
    error = capsys.readouterr().err
    assert "mine.toml: unknown setting seeds" in error
    assert "optim.epochs: expected a whole number of at least 1, got 0" in error
