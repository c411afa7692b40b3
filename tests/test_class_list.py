"""`--labels`: commas, quotes, and the messages about them."""

import shlex

import numpy as np
import pytest
from stores import write_store

from dfercli.cli.app import run
from dfercli.config import PredictConfig
from dfercli.config.class_list import split_classes
from dfercli.errors import ConfigError
from dfercli.layers import layered, options
from dfercli.overrides import override

UNDERSTOOD = ["müde", "scared=a frightened, open-mouthed face"]


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ,", ["a", "b"]),
        ('müde,"scared=a frightened, open-mouthed face"', None),
        ('müde,scared="a frightened, open-mouthed face"', None),
        ('müde , "scared=a frightened, open-mouthed face" ', None),
        (
            '"scared=a frightened, open-mouthed face",müde',
            ["scared=a frightened, open-mouthed face", "müde"],
        ),
        ("müde,scared=a frightened face", ["müde", "scared=a frightened face"]),
        ("a=one text,b=two", ["a=one text", "b=two"]),
        ('a="one, text",b', ["a=one, text", "b"]),
        ('"say ""cheese""",b', ['say "cheese"', "b"]),
        ('so "sad",b', ['so "sad"', "b"]),
        ("texts.json", ["texts.json"]),
        ("", []),
    ],
)
def test_a_list_is_split_like_csv(text, entries):
    assert split_classes(text) == (UNDERSTOOD if entries is None else entries)


def test_a_doubtful_comma_is_refused_with_both_ways_to_write_it():
    with pytest.raises(ConfigError, match="is 'open-mouthed face' a class, or the rest") as found:
        split_classes("müde, scared=a frightened, open-mouthed face, bored")
    one, two = (line.partition("--labels ")[2] for line in found.value.hint.splitlines())
    assert split_classes(*shlex.split(one)) == [
        *("müde", "scared=a frightened, open-mouthed face", "bored"),
    ]
    assert split_classes(*shlex.split(two)) == [
        *("müde", "scared=a frightened", "open-mouthed face", "bored"),
    ]


@pytest.mark.parametrize("text", [",,", " ", '""'])
def test_a_list_without_a_class_is_refused(text, capsys):
    assert run(["predict", "a.mp4", "--labels", text]) == 2
    assert "--labels names no class" in capsys.readouterr().err


@pytest.mark.parametrize("text", ['a,"b', 'a,b="c', '"a"b,c', 'a="b" c'])
def test_a_quote_that_does_not_end_its_entry_is_refused(text):
    with pytest.raises(ConfigError, match="quote"):
        split_classes(text)


def test_a_list_from_python_or_a_file_is_taken_as_it_is():
    labels = ("shy=small, pale", "bored")
    assert override(PredictConfig(), {"labels": labels}, where="test").labels == labels
    typed = layered(PredictConfig(), [options({"labels": 'bored,"shy=small, pale"'})])
    assert typed.labels == ("bored", "shy=small, pale")


def dfer(*arguments, code=0):
    assert run(["predict", *map(str, arguments), "--quiet"]) == code


@pytest.fixture
def store(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (30, 32, 32, 3)).astype(np.uint8)
    return write_store(tmp_path / "faces", [("one", None, None, frames)])


def test_the_classes_are_shown_as_a_table(store, capsys):
    labels = 'müde,"scared=a frightened, open-mouthed face"'
    dfer(store, "--clip", "tiny/random", "--labels", labels)
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    start = lines.index("class is compared with")
    assert lines[start + 1].startswith("müde ")
    assert lines[start + 1].endswith("(and 4 like it)")
    assert lines[start + 2] == "scared a frightened, open-mouthed face"


@pytest.mark.parametrize("place", [("faces",), ("--camera", "0")])
def test_a_doubtful_list_ends_the_command_before_work_live_and_on_files(place, capsys):
    dfer(*place, "--labels", "müde, scared=a frightened, open-mouthed face", code=2)
    error = capsys.readouterr().err
    assert "error: --labels: is 'open-mouthed face' a class" in error
    assert """--labels 'müde,"scared=a frightened, open-mouthed face"'""" in error
