"""Several seeds, several test sets, groups of subjects, and tables for papers."""

import json
from pathlib import Path

import pytest
from stores import bright_and_dark_store
from trainings import OPTIONS

from dfercli.artifacts.evaluation import Evaluation
from dfercli.cli.app import run as dfer
from dfercli.config import DataConfig, TrainConfig
from dfercli.errors import ConfigError
from dfercli.metrics.rates import evaluate
from dfercli.report.tables import TextTable, to_markdown
from dfercli.training import seeds


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A store with a test store beside it."""
    folder = tmp_path_factory.mktemp("seeds")
    bright_and_dark_store(folder / "faces", 5)
    bright_and_dark_store(folder / "faces-test", 3, people="other")
    return folder


@pytest.fixture(scope="module")
def runs(folder) -> Path:
    command = ["train", str(folder / "faces"), "--test", str(folder / "faces-test"), *OPTIONS]
    command += ["--epochs", "1", "--out", str(folder / "runs"), "--name", "own", "--quiet"]
    assert dfer([*command, "--seeds", "3,4"]) == 0
    return folder / "runs"


def test_each_seed_is_a_run_and_the_deviation_over_seeds_is_shown(runs, capsys):
    assert sorted(path.name for path in runs.iterdir()) == ["own-seed-3", "own-seed-4"]
    configs = [json.loads((run / "fold-1" / "config.json").read_text()) for run in runs.iterdir()]
    assert {config["seed"] for config in configs} == {3, 4}
    assert {config["data"]["split_seed"] for config in configs} == {3}
    assert dfer(["results", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert "Over seeds" in printed
    row = next(line for line in printed.splitlines() if " 3, 4 │" in line)
    assert row.startswith("│ own ")


def test_deviation_over_seeds_and_over_folds_are_told_apart():
    from dataclasses import replace

    from dfercli.artifacts.evaluation import FoldSummary
    from dfercli.report.results import RunSummary, seeds_table

    pooled = evaluate_two(0.5)
    summary = FoldSummary(
        (pooled, pooled), 0.5, 0.03, (0.4, 0.6), 0.5, 0.02, (0.4, 0.6), "by", "by", pooled
    )
    first = RunSummary("a-seed-1", "x", (1, 2), summary, "last", ("t", "t"), False, 1, "same")
    other = replace(
        first, name="a-seed-2", seed=2, summary=replace(summary, mean_war=0.6, mean_uar=0.7)
    )
    table = seeds_table([first, other, replace(first, name="b", settings="others")])
    (row,) = table.rows
    assert row == ("a", "1, 2", "2", "60.00", "14.14", "2.00", "55.00", "7.07", "3.00")
    assert seeds_table([first, replace(first, name="again")]) is None


def evaluate_two(war: float) -> Evaluation:
    import numpy as np

    return evaluate(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), ("a", "b"))


def test_macro_f1_is_the_mean_over_classes():
    found = evaluate_two(0.5)
    assert found.macro_f1 == pytest.approx((2 / 3 + 0) / 2)
    assert found.to_json()["macro_f1"] == found.macro_f1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"seeds": (1, 1)}, "a seed comes twice"), ({"devices": 2, "seeds": (1, 2)}, "one process")],
)
def test_seeds_that_cannot_be_used_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        seeds.plan(TrainConfig(dataset="faces", data=DataConfig(), **changes))


def test_seeds_twice_is_a_usage_error(folder, capsys):
    assert dfer(["train", str(folder / "faces"), *OPTIONS, "--seeds", "1,1"]) == 2
    assert "--seeds 1,1: a seed comes twice" in capsys.readouterr().err


def test_runs_by_test_sets_are_a_matrix(folder, runs, capsys):
    named = [str(path) for path in sorted(runs.iterdir())]
    sets = f"{folder / 'faces-test'},{folder / 'faces'}"
    command = ["eval", *named, "--on", sets, "--workers", "0", "--quiet"]
    assert dfer([*command, "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert [(cell["run"], Path(cell["tested_on"]).name) for cell in cells] == [
        ("own-seed-3", "faces-test"),
        ("own-seed-3", "faces"),
        ("own-seed-4", "faces-test"),
        ("own-seed-4", "faces"),
    ]
    assert all(cell["classes"] == ["happiness", "sadness"] for cell in cells)
    assert dfer(["eval", *named, named[0], "--workers", "0"]) == 2
    assert "hint: several runs on several data sets: --on" in capsys.readouterr().err


def test_groups_of_subjects_have_their_recalls(runs, tmp_path, capsys):
    table = tmp_path / "groups.csv"
    table.write_text("subject,sex\nother-0,f\nother-1,m\nother-2,m\n")
    assert dfer(["results", str(runs), "--groups", str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(r["value"], r["num_clips"]) for r in found["own-seed-3"]] == [("f", 2), ("m", 4)]
    assert dfer(["results", str(runs), "--groups", str(table), "--format", "markdown"]) == 0
    assert "| sex | f | 2 |" in capsys.readouterr().out
    table.write_text("subject,sex\nother-0,f\nnobody,m\n")
    assert dfer(["results", str(runs), "--groups", str(table)]) == 3
    assert "no test clip shows nobody" in capsys.readouterr().err
    table.write_text("person,sex\nother-0,f\n")
    assert dfer(["results", str(runs), "--groups", str(table)]) == 3
    assert "row 2: expected the columns subject" in capsys.readouterr().err


def test_results_are_printed_as_markdown(runs, capsys):
    assert dfer(["results", str(runs), "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| run | fold | clips | UAR % |")
    assert lines[1].startswith("| --- | ---: |")
    assert any(line.startswith("| own-seed-3 |") for line in lines)
    table = TextTable("t", ("a", "b"), (("x|y", "1"),))
    assert to_markdown(table).splitlines()[2] == "| x&#124;y | 1 |"
