"""Calibration: temperature, threshold, what is stored, and what `dfer info` shows."""

import json

import numpy as np
import pytest
from stores import bright_and_dark_store
from toy_model import write_toy_checkpoint
from trainings import small_config

import dfercli
from dfercli.cli.app import run
from dfercli.inference.probabilities import softmax
from dfercli.metrics.calibration import choose_threshold, fit_temperature
from dfercli.metrics.rates import evaluate
from dfercli.progress import LogProgress
from dfercli.training import run as train


def drawn_clips(temperature, count=4000):
    """Logits whose probabilities are right once they are divided by `temperature`."""
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(count, 5)) * 2
    targets = np.array([rng.choice(5, p=row) for row in softmax(honest.astype(np.float32))])
    return honest.astype(np.float32) * temperature, targets


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_behind_the_logits_is_recovered(temperature):
    logits, targets = drawn_clips(temperature)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.08)


def test_calibration_lowers_the_error_of_overconfident_logits():
    logits, targets = drawn_clips(4.0)
    fitted = fit_temperature(logits[:2000], targets[:2000])
    before, after = (
        evaluate(softmax(logits[2000:], value), targets[2000:], "abcde", bootstrap_samples=1).ece
        for value in (1.0, fitted)
    )
    assert after < 0.05 < 0.2 < before


def test_clips_without_a_mistake_do_not_give_certainty():
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]] * 3
    targets = np.array([0, 1, 2, 0, 1, 2])
    assert 0.5 < fit_temperature(logits, targets) < 1


def test_a_single_mistake_among_few_clips_changes_little():
    rng = np.random.default_rng(0)
    targets = np.arange(42) % 7
    logits = (8 * np.eye(7)[targets] + rng.normal(size=(42, 7))).astype(np.float32)
    logits[0] = np.roll(logits[0], 1)
    assert 0.7 < fit_temperature(logits, targets) < 3


def test_the_threshold_separates_right_from_wrong():
    confidence = np.array([0.55, 0.6, 0.7, 0.9, 0.95])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    targets = np.array([1, 1, 0, 0, 0])  # the two least sure ones are wrong
    assert choose_threshold(probabilities, targets) == pytest.approx(0.7)
    assert choose_threshold(probabilities, np.zeros(5, int)) == pytest.approx(0.55)
    one_sure_mistake = np.array([0, 0, 0, 1, 0])
    assert choose_threshold(probabilities, one_sure_mistake) == pytest.approx(0.55)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    store = bright_and_dark_store(folder / "faces")
    return train.run(small_config(store, folder / "runs"), LogProgress())


def test_training_stores_calibration_and_results_in_the_selected_checkpoint(trained):
    model = dfercli.load(trained.run)
    calibration, results = model.card.calibration, model.card.results
    assert calibration["fitted_on"] == "validation"
    assert calibration["num_clips"] > 0
    assert {"ece_before", "ece_after", "min_confidence"} <= set(calibration)
    assert results["war"] == trained.folds[0].evaluation.war
    logits = np.float32([[2.0, 1.0]])
    assert calibration["temperature"] != 1.0
    assert not np.allclose(softmax(logits), softmax(logits, calibration["temperature"]))


def test_info_shows_the_model_card(trained, capsys):
    assert run(["info", str(trained.run)]) == 0
    output = capsys.readouterr().out
    for words in ("trained on: ", "ECE there", "WAR ", "intended use: ", "AI Act", "class texts"):
        assert words in output
    assert run(["info", str(trained.run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["temperature"] > 0


def test_info_of_a_model_that_says_little_and_of_none(tmp_path, capsys):
    assert run(["info", str(write_toy_checkpoint(tmp_path / "c"))]) == 0
    assert "trained on: not recorded" in capsys.readouterr().out
    assert run(["info", str(tmp_path / "nothing")]) == 4
