"""Intervals, and results on clips that chose the checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import bright_and_dark_store
from trainings import small_config

from dfercli.artifacts.run_folder import FoldFolder
from dfercli.cli.app import run as dfer
from dfercli.config import DataConfig
from dfercli.data.fold_clips import read_fold_clips
from dfercli.labels import SEVEN
from dfercli.metrics.calibration import cross_fitted, fit_temperature
from dfercli.metrics.comparison import compare
from dfercli.metrics.rates import Predicted, evaluate, summarise_folds
from dfercli.progress import LogProgress
from dfercli.training import run as train


def of_hits(targets, right, **options):
    """An evaluation that recognises these clips and takes the others for the next class."""
    predicted = np.where(right, targets, (targets + 1) % 7)
    return evaluate(np.eye(7)[predicted], targets, SEVEN, **options)


def coverage(recalls, sizes, *, alike=None, subjects=1, trials=300):
    """The share of intervals that contain the truth, for WAR and for UAR."""
    targets = np.tile(np.repeat(np.arange(7), sizes), subjects)
    units = np.repeat(np.arange(subjects), sum(sizes))
    truth = np.average(recalls, weights=sizes), np.mean(recalls)
    rng = np.random.default_rng(3)
    hits = np.zeros(2)
    for trial in range(trials):
        chance = np.array(recalls)[targets]
        if alike is not None:
            more = (1 - alike) / alike
            chance = rng.beta(chance[0] * more, (1 - chance[0]) * more, subjects)[units]
        names = [f"p{unit}" for unit in units] if alike is not None else None
        right = rng.random(len(targets)) < chance
        found = of_hits(targets, right, subjects=names, bootstrap_samples=400, seed=trial)
        for place, (low, high) in enumerate((found.war_interval, found.uar_interval)):
            hits[place] += low <= truth[place] <= high
    return hits / trials


@pytest.mark.parametrize(
    ("recalls", "sizes", "options"),
    [
        ((0.97,) * 7, (11,) * 7, {}),
        ((0.7,) * 7, (3,) * 7, {"alike": 0.15, "subjects": 10}),
        ((0.5, *(0.7,) * 6), (12, *(50,) * 6), {}),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(recalls, sizes, options):
    # 95 % is expected; in 300 trials, below 91 or above 98.5 % has a chance of less than 0.5 %.
    assert all(0.91 < share < 0.985 for share in coverage(recalls, sizes, **options))


@pytest.mark.parametrize("subjects", [None, [f"p{number // 7}" for number in range(77)]])
@pytest.mark.parametrize("all_right", [True, False])
def test_nothing_is_certain_after_77_clips(subjects, all_right):
    targets = np.arange(77) % 7
    found = of_hits(targets, np.full(77, all_right), subjects=subjects)
    for low, high in (found.war_interval, found.uar_interval):
        width = high - low
        assert 0.03 < width < 0.1
        assert (high if all_right else 1 - low) == 1


def test_a_class_that_is_always_recognised_leaves_doubt():
    targets = np.repeat(np.arange(7), 3)
    right = np.ones(21, bool)
    right[0] = False
    low, high = of_hits(targets, right).uar_interval
    assert low < 0.9 < high < 1


def test_the_method_is_named_and_subjects_count_instead_of_clips():
    targets = np.arange(210) % 7
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(10), 21)
    right = rng.random(210) < np.linspace(0.3, 1, 10)[people]
    names = [f"person {number}" for number in people]
    clips, subjects = of_hits(targets, right), of_hits(targets, right, subjects=names)
    assert clips.war_method == "Wilson over 210 clips"
    assert subjects.war_method == subjects.uar_method == "bootstrap over 10 subjects"
    assert np.ptp(subjects.war_interval) > 2 * np.ptp(clips.war_interval)
    # One clip per person, or no known subjects: the clips are independent.
    alone = of_hits(targets, right, subjects=[f"p{number}" for number in range(210)])
    assert alone.war_interval == clips.war_interval
    assert of_hits(targets, right, subjects=[None] * 210).war_method == clips.war_method


def test_folds_and_paired_runs_are_redrawn_by_subject():
    targets = np.arange(210) % 7
    people = [f"p{number}" for number in np.repeat(np.arange(10), 21)]
    right = np.repeat(np.arange(10) % 2 == 0, 21)
    predicted = np.where(right, targets, (targets + 1) % 7)
    fold = Predicted(np.eye(7)[predicted], targets, people)
    summary = summarise_folds([fold, fold], SEVEN)
    assert summary.mean_war_method == "bootstrap over 20 subjects"
    without = summarise_folds([replace(fold, subjects=None)] * 2, SEVEN)
    assert np.ptp(summary.mean_war_interval) > 2 * np.ptp(without.mean_war_interval)
    worse = np.where(right, predicted, targets)
    by_clip = compare(predicted, worse, targets, 7)
    by_person = compare(predicted, worse, targets, 7, subjects=people)
    assert np.ptp(by_person.war_interval) > 2 * np.ptp(by_clip.war_interval)


def test_calibration_is_judged_on_clips_that_did_not_fit_it():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 5)) * 3
    targets = rng.integers(5, size=60)
    people = [str(number // 6) for number in range(60)]
    probabilities = cross_fitted(logits, targets, people)
    changed = targets.copy()
    changed[:6] = (changed[:6] + 1) % 5
    again = cross_fitted(logits, changed, people)
    assert np.array_equal(probabilities[:6], again[:6])  # their own labels say nothing about them
    assert not np.array_equal(probabilities[6:], again[6:])
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert cross_fitted(logits, targets, ["one"] * 60) is None
    assert fit_temperature(logits, targets) > 1


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selected")
    config = small_config(bright_and_dark_store(folder / "faces"), folder / "runs")
    return train.run(config, LogProgress())


def test_clips_that_chose_the_checkpoint_give_no_interval_and_no_ece(selected, capsys):
    (fold,) = selected.folds
    assert fold.measured_on.endswith("selected and measured on the same clips")
    found = fold.evaluation
    assert (found.war_interval, found.uar_interval, found.ece) == (None, None, None)
    assert dfer(["eval", str(selected.run), "--workers", "0", "--json", "--quiet"]) == 0
    (again,) = json.loads(capsys.readouterr().out)
    assert again["war_interval"] is None
    assert again["ece"] is None
    assert "selected and measured on the same clips" in again["measured_on"]
    assert dfer(["results", str(selected.run), "--format", "csv"]) == 0
    assert "none: selected and measured on the same clips" in capsys.readouterr().out
    assert dfer(["info", str(selected.run)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "no interval" in shown
    assert "cross-fitted" in shown


def test_own_data_are_split_three_ways_by_subject(tmp_path: Path):
    store = bright_and_dark_store(tmp_path / "faces", clips_per_class=10)
    config = small_config(store, tmp_path, data=DataConfig(workers=0))
    clips = read_fold_clips(config, 1)
    people = [{clip.subject for clip in part} for part in (clips.train, clips.held_out, clips.test)]
    assert [len(part) for part in people] == [6, 2, 2] or [len(p) for p in people] == [7, 1, 2]
    assert set.union(*people) == {f"subject-{number}" for number in range(10)}
    assert sum(map(len, people)) == 10
    assert not clips.selected
    assert clips.test_name.startswith("test part of ")
    other = replace(config, seed=2, data=replace(config.data, split_seed=1))
    assert read_fold_clips(other, 1) == clips  # one split for several seeds


def test_an_older_run_is_split_as_it_was_trained(selected, tmp_path: Path):
    from dfercli.artifacts.atomic import read_json, write_json
    from dfercli.artifacts.run_config import read_train_config

    folder = FoldFolder(selected.run / "fold-1")
    content = read_json(folder.config)
    content["data"].pop("test_share")
    old = FoldFolder(tmp_path / "fold-1")
    write_json(old.config, content)
    assert read_train_config(old).data.test_share == 0
