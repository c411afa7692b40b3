import json

import numpy as np
import pytest

from dfercli.artifacts.atomic import write_json
from dfercli.artifacts.jsonl import write_rows
from dfercli.cli.app import run
from dfercli.labels import SEVEN
from dfercli.metrics.rates import evaluate
from dfercli.report.published_results import PUBLISHED_RESULTS, published_for


def make_run(runs, name, *, skill, folds=(1, 2), dataset="dfew", clips=70, official=True):
    """A run folder as training leaves it, with made-up predictions."""
    for fold in folds:
        rng = np.random.default_rng(100 * fold)
        targets = np.arange(clips) % 7
        logits = rng.normal(size=(clips, 7))
        logits[np.arange(clips), targets] += skill
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        folder = runs / name / f"fold-{fold}"
        rows = [
            {
                "schema": "dfer.clip_prediction/1",
                "clip_id": f"{fold}{number:04d}",
                "label": SEVEN[targets[number]],
                "probabilities": dict(zip(SEVEN, map(float, probabilities[number]), strict=True)),
            }
            for number in range(clips)
        ]
        write_rows(folder / "evaluation" / dataset / "predictions.jsonl", rows)
        found = evaluate(probabilities, targets, SEVEN)
        write_json(folder / "evaluation" / dataset / "metrics.json", found.to_json())
        result = {
            "schema": "dfer.result/1",
            "dataset": dataset,
            "method": "dfer-clip",
            "fold": fold,
            "official_split": official,
            "seed": 1,
            "checkpoint": "epoch-1",
            "selected_on": "best WAR on a held-out part of the training clips",
            "measured_on": f"test clips of {dataset} fold {fold}",
            "evaluation": dataset,
            "war": found.war,
            "uar": found.uar,
        }
        write_json(folder / "result.json", result)
    return runs / name


@pytest.fixture
def runs(tmp_path):
    make_run(tmp_path, "good", skill=3.0)
    make_run(tmp_path, "poor", skill=0.5)
    return tmp_path


def printed(capsys, *arguments):
    assert run(["results", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_table_shows_folds_mean_pooled_and_the_selection_rule(runs, capsys):
    lines = printed(capsys, runs, "--format", "csv").splitlines()
    own = [line.split(",") for line in lines if line.startswith("good")]
    assert [row[1] for row in own] == ["1", "2", "mean of 2", "pooled"]
    assert "±" in own[2][3]
    assert [row[-4] for row in own][1:3] == ["test clips of dfew fold 2", "test clips of dfew"]
    assert all(row[-2] == "best WAR on a held-out part of the training clips" for row in own)


def test_published_numbers_stand_beside_the_runs_and_name_their_selection(runs, capsys):
    text = printed(capsys, runs, "--format", "csv")
    row = next(line for line in text.splitlines() if line.startswith("DFER-CLIP 2023"))
    assert "59.61" in row
    assert "71.25" in row
    assert row.endswith('mostly best-on-test",-')
    assert "DFER-CLIP 2023" not in printed(capsys, runs, "--no-published", "--format", "csv")


def test_published_numbers_are_shown_only_for_benchmarks():
    assert len(published_for("dfew")) == len(PUBLISHED_RESULTS)
    assert "M3DFEL 2023" not in {result.method for result in published_for("mafw")}
    assert published_for("faces/") == []


def test_terminal_table_is_printed_on_stdout(runs, capsys):
    text = printed(capsys, runs / "good")
    assert "pooled" in text
    assert "poor" not in text
    assert (
        "good: measured on test clips of dfew, official split, "
        "selected on: best WAR on a held-out part of the training clips"
    ) in text
    assert "published: measured on test clips of dfew, official split" in text


def test_json_holds_every_interval(runs, capsys):
    content = json.loads(printed(capsys, runs, "--json"))
    good = next(entry for entry in content["runs"] if entry["run"] == "good")
    low, high = good["mean"]["uar_interval"]
    assert low < good["mean"]["uar"] < high
    assert good["pooled"]["num_clips"] == 140
    assert set(good["folds"]) == {"1", "2"}
    assert good["selected_on"].startswith("best WAR on a held-out part")


def test_latex_is_printed(runs, capsys):
    text = printed(capsys, runs, "--format", "latex")
    assert text.startswith(r"\begin{tabular}")
    assert r"$\pm$" in text


def test_paired_test_finds_the_better_run(runs, capsys):
    found = json.loads(printed(capsys, runs / "good", runs / "poor", "--paired", "--json"))
    assert found["num_clips"] == 140
    assert found["mcnemar_p"] < 1e-6
    assert found["uar_interval"][0] > 0
    assert "good minus poor on 140 clips" in printed(
        capsys, runs / "good", runs / "poor", "--paired"
    )


def test_paired_test_of_different_clips_uses_the_common_ones_and_says_so(runs, capsys):
    make_run(runs, "more", skill=1.0, folds=(2, 3))
    assert run(["results", str(runs / "good"), str(runs / "more"), "--paired", "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["num_clips"] == 70
    assert "70 clips that only" in output.err.replace("\n", " ")


def test_paired_test_without_common_clips_is_refused(runs, capsys):
    make_run(runs, "other", skill=1.0, folds=(3,))
    assert run(["results", str(runs / "good"), str(runs / "other"), "--paired"]) == 3
    assert "no common clips" in capsys.readouterr().err


def test_paired_test_takes_two_runs(runs, capsys):
    assert run(["results", str(runs), "--paired"]) == 2
    assert run(["results", str(runs), str(runs / "good"), "--paired"]) == 2
    assert "takes two runs" in capsys.readouterr().err


def test_an_unfinished_run_is_named_and_skipped(runs, capsys):
    (runs / "begun" / "fold-1").mkdir(parents=True)
    assert run(["results", str(runs), "--format", "csv"]) == 0
    output = capsys.readouterr()
    assert "begun" in output.err
    assert "begun" not in output.out


def test_fewer_folds_than_published_are_marked_as_no_comparison(runs, capsys):
    assert run(["results", str(runs / "good")]) == 0
    assert "good: 2 of 5 folds; published numbers are means" in capsys.readouterr().err


def test_an_own_split_is_marked(tmp_path, capsys):
    make_run(tmp_path, "mine", skill=1.0, dataset="faces", official=False)
    assert ",own," in printed(capsys, tmp_path, "--format", "csv")


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert run(["results", str(tmp_path)]) == 4
    assert "no runs in" in capsys.readouterr().err


def test_a_broken_prediction_is_named(runs, capsys):
    path = runs / "good/fold-1/evaluation/dfew/predictions.jsonl"
    path.write_text(
        '{"clip_id": "1", "label": "joy", "probabilities": {}, '
        '"schema": "dfer.clip_prediction/1"}\n'
    )
    assert run(["results", str(runs / "good")]) == 4
    assert "predictions.jsonl, row 1: not a prediction over" in capsys.readouterr().err


def test_a_result_of_another_schema_is_refused(runs, capsys):
    write_json(runs / "good/fold-1/result.json", {"schema": "dfer.result/9"})
    assert run(["results", str(runs / "good")]) == 4
    assert "expected schema dfer.result/1, got 'dfer.result/9'" in capsys.readouterr().err
