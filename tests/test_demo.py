"""The demo at a small size: the same code with a few people and one epoch.

Then the README's commands, run as they stand on what the demo leaves behind.
"""

import contextlib
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from dfercli.artifacts.face_store import read_clips
from dfercli.artifacts.jsonl import read_rows
from dfercli.cli.app import run
from dfercli.config import DemoConfig
from dfercli.labels import SEVEN

README = (Path(__file__).parents[1] / "README.md").read_text()
SMALL = ["--train-identities", "4", "--test-identities", "1", "--epochs", "1", "--workers", "1"]


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


def pipeline_lines() -> list[str]:
    section = README.split("## The pipeline")[1].split("### On a benchmark")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("dfer ")]


def python_block() -> str:
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0]


def test_the_pipeline_and_python_examples_run(demo_folder, printed, monkeypatch, capsys):
    assert printed
    monkeypatch.chdir(demo_folder.parent)
    # The README names one of the held-out people of the real demo.
    videos = demo_folder / "videos" / "test" / "happiness"
    (videos / "person-004.mp4").rename(videos / f"person-{DemoConfig.train_identities:03d}.mp4")
    lines = pipeline_lines()
    assert len(lines) >= 7
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        assert run(arguments) == 0, f"{line}\n{capsys.readouterr().err}"
    assert Path("results/windows.csv").read_text().startswith("schema,")
    assert list(Path("results/exports/eaf").iterdir())
    names: dict[str, object] = {}
    exec(python_block(), names)
    assert len(names["table"]) >= 1


def test_benchmark_examples_are_understood(capsys):
    """Their data cannot be here: the commands must get far enough to say so."""
    section = README.split("### On a benchmark")[1].split("###")[0]
    lines = [line for line in section.splitlines() if line.startswith("dfer ")]
    assert lines
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        if "--root" in arguments:
            assert run(arguments) == 3
            assert "/data/DFEW" in capsys.readouterr().err
