import json
import math
from fractions import Fraction

import numpy as np
import pytest

from dfercli.artifacts.evaluation import evaluation_from_json
from dfercli.errors import ArtifactError, DataError
from dfercli.labels import SEVEN
from dfercli.metrics.comparison import compare, mcnemar_exact
from dfercli.metrics.groups import rates_per_group
from dfercli.metrics.intervals import wilson
from dfercli.metrics.rates import Predicted, evaluate, summarise_folds


def predictions(num_clips: int, num_classes: int, *, seed: int = 0, skill: float = 2.0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(num_classes, size=num_clips)
    logits = rng.normal(size=(num_clips, num_classes))
    logits[np.arange(num_clips), targets] += skill
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True), targets


def one_hot(predicted, num_classes):
    return np.eye(num_classes)[np.asarray(predicted)]


def test_war_is_accuracy_and_uar_the_mean_of_recalls():
    targets = np.array([0, 0, 0, 0, 1, 1, 2])
    found = evaluate(one_hot([0, 0, 0, 1, 1, 0, 2], 3), targets, ("a", "b", "c"))
    assert found.war == pytest.approx(5 / 7)
    assert found.recalls == {"a": 0.75, "b": 0.5, "c": 1.0}
    assert found.uar == pytest.approx((0.75 + 0.5 + 1.0) / 3)


def test_rows_of_the_confusion_matrix_are_true_classes():
    found = evaluate(one_hot([1, 1, 1], 2), np.array([0, 0, 1]), ("a", "b"))
    assert found.confusion.tolist() == [[0, 2], [0, 1]]


def test_a_class_without_clips_has_no_recall_and_is_named_and_not_averaged():
    found = evaluate(one_hot([0, 1], 3), np.array([0, 1]), ("a", "b", "c"))
    assert found.recalls["c"] is None
    assert found.classes_without_clips == ("c",)
    assert found.uar == 1.0


def test_bins_give_the_calibration_error():
    probabilities, targets = predictions(2000, 7)
    found = evaluate(probabilities, targets, SEVEN)
    from_bins = sum(b.num_clips * abs(b.accuracy - b.confidence) for b in found.bins) / 2000
    assert found.ece == pytest.approx(from_bins, abs=1e-6)
    assert sum(b.num_clips for b in found.bins) == 2000


def test_certain_predictions_fall_into_the_last_bin():
    found = evaluate(one_hot([0, 0, 0, 1], 2), np.array([0, 0, 1, 1]), ("a", "b"))
    assert found.bins[-1].num_clips == 4
    assert found.ece == pytest.approx(0.25)


def test_intervals_hold_the_value_and_agree_with_drawing_clips():
    probabilities, targets = predictions(600, 7)
    found = evaluate(probabilities, targets, SEVEN)
    right = probabilities.argmax(axis=1) == targets
    rng = np.random.default_rng(1)
    wars = [right[rng.integers(600, size=600)].mean() for _ in range(2000)]
    assert found.war_interval[0] < found.war < found.war_interval[1]
    assert found.uar_interval[0] < found.uar < found.uar_interval[1]
    assert found.war_interval == pytest.approx(np.percentile(wars, [2.5, 97.5]), abs=0.008)


def test_equal_input_gives_equal_intervals():
    probabilities, targets = predictions(300, 7)
    first = evaluate(probabilities, targets, SEVEN).to_json()
    assert evaluate(probabilities, targets, SEVEN).to_json() == first


def test_probabilities_that_are_not_finite_are_refused():
    probabilities, targets = predictions(10, 7)
    probabilities[3] = math.nan
    with pytest.raises(DataError, match="1 of 10 clips"):
        evaluate(probabilities, targets, SEVEN)


def test_no_clips_are_refused():
    with pytest.raises(DataError, match="no clips"):
        evaluate(np.zeros((0, 7)), np.zeros(0, dtype=np.int64), SEVEN)


def test_fold_summary_gives_the_mean_with_deviation_and_the_pooled_value():
    perfect = Predicted(one_hot([0, 1], 2), np.array([0, 1]))
    half = Predicted(one_hot([0] * 6, 2), np.array([0, 0, 0, 1, 1, 1]))
    summary = summarise_folds([perfect, half], ("a", "b"))
    assert summary.mean_war == pytest.approx(0.75)
    assert summary.std_war == pytest.approx(np.std([1.0, 0.5], ddof=1))
    assert summary.pooled.war == pytest.approx(5 / 8)
    assert summary.mean_war_interval[0] < 0.75 < summary.mean_war_interval[1]


def test_a_single_fold_has_no_deviation():
    assert summarise_folds([Predicted(*predictions(50, 7))], SEVEN).std_uar is None


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [(5, 1, 14 / 64), (0, 0, 1.0), (3, 3, 1.0), (0, 10, 2 / 1024), (10, 0, 2 / 1024)],
)
def test_mcnemar_is_the_exact_two_sided_binomial(only_a, only_b, expected):
    assert mcnemar_exact(only_a, only_b) == pytest.approx(expected)


def test_mcnemar_of_many_clips_stays_exact():
    assert mcnemar_exact(4000, 4000) == 1.0
    tail = sum(math.comb(8000, successes) for successes in range(3901))
    assert mcnemar_exact(4100, 3900) == pytest.approx(float(Fraction(2 * tail, 2**8000)), rel=1e-9)
    assert mcnemar_exact(150_000, 50_000) == 0.0  # too small for a float


def test_comparison_pairs_the_clips():
    targets = np.array([0] * 50 + [1] * 50)
    predicted_b = targets.copy()
    predicted_b[:20] = 1
    found = compare(targets, predicted_b, targets, 2)
    assert (found.only_a_right, found.only_b_right) == (20, 0)
    assert found.war_difference == pytest.approx(0.2)
    assert found.uar_difference == pytest.approx(0.2)
    assert found.uar_interval[0] > 0.1


def test_a_run_against_itself_differs_by_nothing():
    _, targets = predictions(100, 7)
    found = compare(targets, targets, targets, 7)
    assert (found.mcnemar_p, found.uar_difference, found.uar_interval) == (1.0, 0.0, (0.0, 0.0))


def test_an_evaluation_survives_a_trip_through_json():
    probabilities, targets = predictions(200, 6)
    found = evaluate(probabilities, targets, SEVEN[:6])
    written = json.loads(json.dumps(found.to_json()))
    assert evaluation_from_json(written).to_json() == found.to_json()


def test_broken_metrics_are_refused():
    probabilities, targets = predictions(20, 7)
    written = evaluate(probabilities, targets, SEVEN).to_json()
    with pytest.raises(ArtifactError, match="metrics: missing war"):
        evaluation_from_json({key: value for key, value in written.items() if key != "war"})
    with pytest.raises(ArtifactError, match=r"expected schema dfer\.evaluation/1"):
        evaluation_from_json({})


def test_each_group_is_measured_by_itself():
    probabilities = np.eye(3)[[0, 0, 1, 2, 0]]
    targets = np.array([0, 1, 1, 2, 2])
    groups = [
        {"sex": "male", "take": "1", "set": "a"},
        {"sex": "male", "take": "2", "set": "a"},
        {"sex": "female", "take": "3", "set": "a"},
        {"sex": "female", "take": "4", "set": "a"},
        {"take": "5", "set": "a"},
    ]
    found = {
        (rates.group, rates.value): rates
        for rates in rates_per_group(probabilities, targets, ("x", "y", "z"), groups)
    }
    assert {value for group, value in found if group == "sex"} == {"male", "female", "unknown"}
    assert ("set", "a") not in found
    male = found["sex", "male"]
    assert (male.num_clips, male.war, male.uar) == (2, 0.5, 0.5)
    assert male.recalls == {"x": 1.0, "y": 0.0, "z": None}
    assert found["sex", "female"].war_interval == wilson(1.0, 2)
    many = [{"take": str(number)} for number in range(30)]
    assert rates_per_group(np.eye(3)[[0] * 30], np.zeros(30, int), ("x", "y", "z"), many) == ()
