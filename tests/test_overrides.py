"""Settings from files, recipes and --set over the defaults."""

from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from stores import bright_and_dark_store

from dfercli.artifacts.run_config import read_train_config
from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.config import (
    DescribeConfig,
    EvalConfig,
    ExportConfig,
    PredictConfig,
    PreprocessConfig,
    TrainConfig,
)
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


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        (EvalConfig, "streams", "frames,frames"),
        (PredictConfig, "streams", ["frames", "parsing", "frames"]),
        (ExportConfig, "streams", "frames,frames"),
        (PreprocessConfig, "streams", "parsing,parsing"),
        (PredictConfig, "export", "srt,srt"),
    ],
)
def test_a_choice_that_comes_twice_is_refused(kind: Any, setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^here: {setting}: (frames|parsing|srt) comes twice$"):
        override(kind(), {setting: value}, where="here")
    same = {"region": "8,8,64,64"}  # numbers may be the same
    assert override(PreprocessConfig(), same, where="here").region == (8, 8, 64, 64)


def test_assignments_without_a_value_are_all_named() -> None:
    with pytest.raises(ConfigError, match=r"'optim.epochs', 'seed'"):
        set_by_path(["optim.epochs", "fold=1", "seed"])


@pytest.mark.parametrize("value", ["nan", "-1", "1e-2x", "true"])
def test_a_number_must_be_one(value: str) -> None:
    with pytest.raises(ConfigError, match=r"optim.lr_image: expected a number of at least 0"):
        settle(f"optim.lr_image={value}")


@pytest.mark.parametrize("command", ["predict a.mp4", "convert-timeline a --to srt"])
def test_a_dash_is_not_a_path(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dfer([*command.split(), "--out", "-"]) == 2
    assert "out: expected a path or none, got '-'" in capsys.readouterr().err
    assert not Path("-").exists()


def test_written_settings_are_read_back_the_same() -> None:
    config = settle("optim.milestones=3,5", "data.root=a/b", "seed=7")
    assert override(TrainConfig(), to_plain(config), where="config.json") == config


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("epochs = = 3")
    with pytest.raises(ConfigError, match=r"not valid TOML: .*settings.toml"):
        read_toml(path)
    with pytest.raises(ConfigError, match=r"cannot read .*missing.toml"):
        read_toml(tmp_path / "missing.toml")


def test_faults_of_a_recipe_name_the_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text("sead = 3\n[optim]\nepochs = 0\n")
    assert dfer(["train", "dfew", "--recipe", str(tmp_path / "mine.toml")]) == 2
    error = capsys.readouterr().err
    assert "mine.toml: unknown setting sead" in error
    assert "optim.epochs: expected a whole number of at least 1, got 0" in error


def optional_settings(config: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Every setting that takes a text or a path or None: its dotted name and its config."""
    found: list[tuple[str, Any]] = []
    for name, hint in get_type_hints(type(config)).items():
        if is_dataclass(hint):
            found += optional_settings(getattr(config, name), f"{prefix}{name}.")
        elif type(None) in get_args(hint) and {str, Path} & set(get_args(hint)):
            found.append((f"{prefix}{name}", config))
    return found


CONFIGS = (TrainConfig, EvalConfig, PredictConfig, PreprocessConfig, DescribeConfig, ExportConfig)
OPTIONAL = [(kind, name) for kind in CONFIGS for name, _ in optional_settings(kind())]


@pytest.mark.parametrize(("kind", "setting"), OPTIONAL)
def test_a_typed_name_is_a_name_and_a_file_may_say_none(kind: type, setting: str) -> None:
    def read(value: str | None, *, literal: bool) -> Any:
        given = set_by_path([f"{setting}=x"])
        table = given
        *sections, name = setting.split(".")
        for section in sections:
            table = table[section]
        table[name] = value
        config = override(kind(), given, where="here", literal=literal)
        for part in setting.split("."):
            config = getattr(config, part)
        return config

    assert str(read("none", literal=True)) == "none"
    assert read(None, literal=True) is None
    with pytest.raises(ConfigError, match="got ''"):
        read("", literal=True)
    assert read("none", literal=False) is None
    assert read("", literal=False) is None


def test_a_run_may_be_named_none(tmp_path: Path) -> None:
    store = bright_and_dark_store(tmp_path / "faces", frames=4)
    options = ("--clip", "tiny/random", "--accelerator", "cpu", "--workers", "0", "--epochs", "1")
    settings = ("--set", "model.num_frames=3", "--set", "model.context_tokens=2")
    where = ("--name", "none", "--out", str(tmp_path / "runs"), "--batch-size", "8")
    assert dfer(["train", str(store), *options, *settings, *where]) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["none"]
    assert read_train_config(FoldFolder(tmp_path / "runs" / "none" / "fold-1")).name == "none"
    assert dfer(["train", str(store), *options, *settings, "--name", ""]) == 2
