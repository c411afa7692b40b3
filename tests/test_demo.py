"""The demo at a small size: the same code with a few people and one epoch."""

import contextlib
import io
import json

import pytest

from dfercli.artifacts.face_store import read_clips
from dfercli.artifacts.jsonl import read_rows
from dfercli.cli.app import run
from dfercli.config import DemoConfig
from dfercli.labels import SEVEN

SMALL = ["--train-identities", "4", "--test-identities", "1", "--epochs", "1", "--workers", "2"]


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "dfer-demo"


@pytest.fixture(scope="module")
def printed(demo_folder):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["demo", "--out", str(demo_folder), *SMALL, "--json"])
    assert code == 0, err.getvalue()
    return json.loads(out.getvalue()), err.getvalue()


def test_the_default_demo_has_seventy_held_out_clips():
    assert DemoConfig.test_identities * len(SEVEN) >= 70


def test_every_drawn_face_is_found_and_labelled(demo_folder, printed):
    train, test = (read_clips(demo_folder / f"faces-{part}") for part in ("train", "test"))
    assert sorted({clip.label for clip in train}) == sorted(SEVEN)
    assert len(train) == 4 * 7
    assert len(test) == 7
    assert {clip.subject for clip in train}.isdisjoint({clip.subject for clip in test})


def test_it_measures_on_people_never_seen_and_names_chance(printed):
    result, said = printed
    assert result["num_clips"] == 7
    assert result["chance"] == pytest.approx(1 / 7)
    assert 0 <= result["war"] <= 1
    assert "drawn" in said
    assert "toy" in said
    assert list(result["seconds"]) == [
        "render", "preprocess", "describe", "train", "eval", "predict",
    ]  # fmt: skip


def test_it_leaves_what_a_user_would_make(demo_folder, printed):
    result, _ = printed
    fold = demo_folder / "runs" / result["run"].rpartition("/")[2] / "fold-1"
    for made in (
        demo_folder / "videos" / "train" / "happiness" / "person-000.mp4",
        demo_folder / "descriptions.json",
        demo_folder / "predictions.csv",
        fold / "config.json",
        fold / "environment.json",
        fold / "checkpoints" / "last" / "model.safetensors",
        fold / "evaluation" / "faces-test" / "confusion.png",
    ):
        assert made.exists(), made
    rows = list(read_rows(fold / "metrics.jsonl"))
    assert [row["epoch"] for row in rows] == [1]
