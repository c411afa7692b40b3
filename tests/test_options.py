"""Options come from the fields of the configs, and all settings are layered in one way."""

import inspect
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from dfercli import config as configs
from dfercli.cli.app import app
from dfercli.cli.app import run as dfer
from dfercli.cli.offer import Asked, offers
from dfercli.config import TrainConfig
from dfercli.config.options import DATA, offer_of, option, setting
from dfercli.config.training import RECIPES
from dfercli.layers import TABLES, Layer, assigned, in_file, layered, options
from dfercli.recipes import recipe_names

BEFORE = json.loads((Path(__file__).parent / "options_before.json").read_text())
ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())


@dataclass(frozen=True)
class Silent:
    """A config with an undeclared field."""

    size: int = 1


@dataclass(frozen=True)
class Twins:
    """A config with two fields for one option."""

    size: int = option(1, "Of it.", DATA)
    width: int = option(1, "Of it.", DATA, "--size")


@dataclass(frozen=True)
class Small:
    """A config with one option and one setting."""

    size: int = option(1, "Of it.", DATA)
    depth: int = setting(1, "Of it.")


def kind_of(command: Any, row: Any) -> Any:
    """The type of an option in the command's signature, without `Annotated` and `None`."""
    kind = inspect.signature(command.callback).parameters[row.name].annotation
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType) and type(None) in get_args(kind):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    return kind


def nothing(_: Asked[Any]) -> None:
    """Do nothing."""


def test_an_undeclared_field_fails_where_the_command_is_made() -> None:
    with pytest.raises(TypeError, match=r"Silent\.size is neither an option"):
        offers(Silent, "small")(nothing)


@pytest.mark.parametrize("name", ["colour", "depth"])
def test_an_option_without_a_field_fails_where_the_command_is_made(name: str) -> None:
    with pytest.raises(TypeError, match=f"no field for the option {name}"):
        offers(Small, "small", only=("size", name))(nothing)


def test_one_flag_for_two_fields_fails_where_the_command_is_made() -> None:
    with pytest.raises(TypeError, match="--size would be both size and width"):
        offers(Twins, "small")(nothing)


@pytest.mark.parametrize("name", configs.__all__)
def test_every_field_of_every_config_says_what_it_is(name: str) -> None:
    kind = getattr(configs, name)
    if not is_dataclass(kind):
        return
    hints = get_type_hints(kind)
    for field in fields(kind):
        if not is_dataclass(hints[field.name]):
            offer = offer_of(field)
            assert offer is not None, field.name
            assert offer.help.endswith((".", ")")), offer.help


@pytest.mark.parametrize("command", BEFORE)
def test_no_option_is_lost_or_has_another_type_or_default(command: str) -> None:
    """`dfer` still takes every option from before its options were generated."""
    found = {
        "/".join(sorted([*row.opts, *row.secondary_opts])): row for row in COMMANDS[command].params
    }
    for names, (kind, default, *required) in BEFORE[command].items():
        wanted = set(names.split("/"))
        row = next((row for flags, row in found.items() if wanted <= set(flags.split("/"))), None)
        assert row is not None, names
        annotation = kind_of(COMMANDS[command], row)
        if get_origin(annotation) is not Literal:  # choices used to be text
            is_class = isinstance(annotation, type) and get_origin(annotation) is None
            shown = annotation.__name__ if is_class else str(annotation).replace("pathlib.", "")
            assert shown.replace("_local.", "") == kind.rpartition(".")[2] or kind in shown, names
        else:
            assert kind == "str" or kind.startswith("typing.Literal"), names
        assert (None if row.default is None else repr(row.default)) == default, names
        assert row.required == bool(required), names


@pytest.mark.parametrize("command", ["train", "predict", "data check"])
def test_choices_are_completed_by_the_shell(command: str) -> None:
    """Through the program, the way bash calls it."""
    row = next(
        row
        for row in COMMANDS[command].params
        if get_origin(kind_of(COMMANDS[command], row)) is Literal
    )
    line = f"dfer {command} {row.opts[0]} "
    told = {"_DFER_COMPLETE": "complete_bash", "COMP_WORDS": line}
    told["COMP_CWORD"] = str(len(line.split()))
    done = subprocess.run(
        [sys.executable, "-c", "from dfercli.cli.start import main; main()"],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
    )
    choices = get_args(kind_of(COMMANDS[command], row))
    assert done.stdout.split() == [str(choice) for choice in choices], done.stderr


def test_lists_of_choices_are_completed_entry_by_entry() -> None:
    command = COMMANDS["train"]
    (streams,) = (row for row in command.params if "--streams" in row.opts)
    with typer.Context(command) as context:
        found = streams.shell_complete(context, "frames,")
    assert [item.value for item in found] == [
        "frames,landmarks",
        "frames,parsing",
        "frames,regions",
        "frames,captions",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_choice_is_refused_with_the_list(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in COMMANDS[command].params:
        choices = get_args(kind_of(COMMANDS[command], row))
        if get_origin(kind_of(COMMANDS[command], row)) is Literal:
            needed = ["x"] if any(p.required for p in COMMANDS[command].params) else []
            assert dfer([*command.split(), *needed, row.opts[0], "no-such"]) == 2
            said = capsys.readouterr().err
            assert row.opts[0] in said
            assert all(str(choice) in said for choice in choices), said


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_choice_and_lines_that_can_be_copied(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert dfer([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert not any(len(line) > 80 for line in shown.splitlines())
    words = set(shown.replace("|", " ").replace("<", " ").replace(">", " ").split())
    words = {word.strip(".,:;()") for word in words}
    for row in COMMANDS[command].params:
        if get_origin(kind_of(COMMANDS[command], row)) is Literal:
            assert set(map(str, get_args(kind_of(COMMANDS[command], row)))) <= words, row.opts
    _, _, lines = shown.partition("Example")
    examples = [line.strip() for line in lines.splitlines()[1:] if line.strip()]
    assert examples
    for line in examples:
        whole = [*shlex.split(line.rpartition("| ")[2])]
        assert whole[0] == "dfer", line
        ROOT.make_context("dfer", whole[1:2])
        other = " ".join(whole[1:3]) if " ".join(whole[1:3]) in COMMANDS else whole[1]
        COMMANDS[other].make_context(other, whole[1 + len(other.split()) :])


def test_the_completed_recipes_are_the_existing_ones() -> None:
    assert list(RECIPES) == recipe_names()


# One setting of each depth and kind, with different values.
PATHS = {
    "seed": (2, 3, 4, 5),
    "select": ("last", "val", "best-on-test"),
    "optim.epochs": (2, 3, 4, 5),
    "optim.lr_image": (0.5, 0.25, 0.125),
    "data.folds": (2, 3, 4),
    "model.clip": ("tiny/a", "tiny/b", "tiny/c"),
    "model.finecliper.drop_path": (0.5, 0.25, 0.125),
}
LAYERS = st.lists(
    st.dictionaries(st.sampled_from(list(PATHS)), st.integers(0, 3)), min_size=4, max_size=4
)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, value in flat.items():
        *tables, name = path.split(".")
        table = found
        for part in tables:
            table = table.setdefault(part, {})
        table[name] = value
    return found


def toml(values: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def test_every_command_with_settings_has_its_table_in_a_file() -> None:
    named = {
        row.help.partition("`")[2].partition("`")[0]
        for command in COMMANDS.values()
        for row in command.params
        if row.name == "config_file"
    }
    assert named == set(TABLES)


@pytest.mark.parametrize("text", ["[trian]\nepochs = 1\n", "epochs = 1\n[train]\nseed = 1\n"])
@pytest.mark.parametrize(
    "command", [["train", "faces"], ["predict", "a.mp4"], ["data", "check", "x"], ["sweep", "x"]]
)
def test_a_file_with_an_unknown_table_is_refused(
    text: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.toml").write_text(text)
    assert dfer([*command, "--config", str(tmp_path / "own.toml")]) == 2
    said = capsys.readouterr().err
    assert "no command has the table" in said
    assert "known: bench, check, convert" in said


def test_a_file_for_other_commands_gets_one_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.toml").write_text("[predict]\nstride = 1\n")
    assert dfer(["train", str(tmp_path / "none"), "--config", str(tmp_path / "own.toml")]) == 3
    assert capsys.readouterr().err.count("has no settings in its table train") == 1


@settings(max_examples=40, deadline=None)
@given(chosen=LAYERS)
def test_each_layer_lies_over_those_before_it(
    chosen: list[dict[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Recipe, file, options, --set: for each setting, the last layer that has it counts."""
    folder = tmp_path_factory.mktemp("layers")
    recipe, file, typed, given_last = (
        {path: PATHS[path][number % len(PATHS[path])] for path, number in layer.items()}
        for layer in chosen
    )
    (folder / "recipe.toml").write_text(toml(recipe))
    tables = toml({f"train.{path}": value for path, value in file.items()})
    (folder / "file.toml").write_text(tables)
    typed_too = {**typed, "recipe": str(folder / "recipe.toml")}
    config = layered(
        TrainConfig(),
        [
            in_file(folder / "file.toml", "train"),
            options(nested(typed_too)),
            assigned([f"{path}={value}" for path, value in given_last.items()]),
        ],
    )
    wanted = {**recipe, **file, **typed, **given_last}
    for path in PATHS:
        value: Any = config
        default: Any = TrainConfig()
        for name in path.split("."):
            value, default = getattr(value, name), getattr(default, name)
        assert value == wanted.get(path, default), path
    assert config.recipe == str(folder / "recipe.toml")


@pytest.mark.parametrize(
    "layer",
    [
        options({"model": {"method": "finecliper"}}),
        assigned(["model.method=finecliper"]),
        Layer({"model": {"method": "finecliper"}}, "a file"),
        Layer({"recipe": "finecliper"}, "a file"),
    ],
    ids=["option", "--set", "file", "recipe"],
)
def test_a_method_brings_its_recipe_wherever_it_was_named(layer: Layer) -> None:
    config = layered(TrainConfig(), [layer])
    assert config.recipe == "finecliper"
    assert config.model.method == "finecliper"
    assert config.optim.optimizer == "adamw"
    assert config.optim.batch_size == 64
