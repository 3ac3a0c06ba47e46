"""The confusion matrix and what follows from it: forms of input, NaN, growth, merging, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_shards import at_once, sharded

from lunar_core.errors import DataError, HyperparameterError, StateError
from lunar_core.tensor import Tensor
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_metrics.agreement import BalancedAccuracy, CohenKappa, MatthewsCorrCoef
from lunar_metrics.class_scores import F1, Dice, FBeta, IoU, Precision, Recall
from lunar_metrics.confusion import ConfusionMatrix
from lunar_metrics.top_k_accuracy import TopKAccuracy

RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.normal(size=(30, 3)), RNG.integers(0, 3, 30)
ALL = [
    ConfusionMatrix(), ConfusionMatrix("true"), Precision(), Recall("weighted"), F1("micro"), FBeta(beta=2.0), IoU(),
    Dice(per_sample=False), BalancedAccuracy(), MatthewsCorrCoef(), CohenKappa("quadratic"), TopKAccuracy(2),
]  # fmt: skip


def matrix(pred, target, weight=None, **options):
    return at_once(ConfusionMatrix(**options), pred, target, weight)["matrix"]


@pytest.mark.parametrize("metric", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_tensors_arrays_and_one_hot_targets_agree(metric):
    expected = at_once(metric, SCORES, LABELS)
    assert at_once(metric, Tensor(SCORES), Tensor(LABELS)) == expected
    assert at_once(metric, SCORES, np.eye(3)[LABELS]) == expected
    assert at_once(metric, SCORES.astype(np.float32), LABELS.astype(np.uint8)) == expected


@pytest.mark.parametrize("metric", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_a_configuration_round_trips(metric):
    again = type(metric).from_config_fields(**metric.config())
    assert again.config() == metric.config() and at_once(again, SCORES, LABELS) == at_once(metric, SCORES, LABELS)


@pytest.mark.parametrize("metric", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_weights_count_as_copies(metric):
    weight = RNG.integers(0, 4, 30)
    weight[0] = 1
    copies = at_once(metric, SCORES.repeat(weight, axis=0), LABELS.repeat(weight))
    weighted = at_once(metric, SCORES, LABELS, weight)
    assert weighted == copies if isinstance(copies, dict) else weighted == pytest.approx(copies, rel=1e-12)


@pytest.mark.parametrize("metric", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_totals_stay_on_a_device_until_the_value_is_asked_for(metric):
    expected = at_once(metric, SCORES, LABELS)
    with fake_device() as device:
        metric.reset()
        for rows in (slice(0, 13), slice(13, 30)):
            metric.update(Tensor(FakeArray(SCORES[rows])), FakeArray(LABELS[rows]))
        assert device.synchronizations == 0
        value = metric.compute()
        assert value == expected if isinstance(value, dict) else value == pytest.approx(expected, rel=1e-12)
        metric.reset()
        metric.update(FakeArray(SCORES[:2]), FakeArray(np.array([0, 7])))
        with pytest.raises(DataError, match="1 targets .*outside of the classes"):
            metric.compute()


def test_rows_are_true_and_columns_predicted_classes():
    scores = np.eye(3)[[0, 1, 1, 2]]
    assert matrix(scores, np.array([0, 0, 1, 1])) == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert matrix(scores, np.array([0, 0, 1, 1]), np.array([1, 2, 3, 0.5])) == [[1, 2, 0], [0, 3, 0.5], [0, 0, 0]]
    assert matrix(scores, np.array([0, 0, 1, 1]), normalize="true") == [[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 0]]


def test_predictions_may_be_class_indices_and_the_matrix_grows_with_them():
    metric = ConfusionMatrix()
    metric.update(np.array([0, 1]), np.array([0, 0]))
    assert metric.compute() == {"matrix": [[1, 1], [0, 0]]}
    metric.update(np.array([3]), np.array([2]))
    assert metric.compute()["matrix"] == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    small, large = ConfusionMatrix(), ConfusionMatrix()
    small.update(np.array([1]), np.array([1]))
    large.update(np.array([2]), np.array([0]))
    small.merge(large)
    assert small.compute()["matrix"] == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    large.merge(ConfusionMatrix())
    assert large.compute()["matrix"] == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert matrix(np.array([True, False]), np.array([True, True]), num_classes=3) == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert matrix(np.array([0, 9]), np.array([0, -100])) == [[1, 0], [0, 0]]


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_number_per_prediction_tells_two_classes_apart(shape):
    logits = np.array([-1.0, 0.2, 3.0, -0.5]).reshape(shape)
    target = np.array([0, 0, 1, 1])
    assert matrix(logits, target) == matrix(logits, target.reshape(4, 1)) == [[1, 1], [1, 1]]
    assert matrix(1 / (1 + np.exp(-logits)), target.astype(float), from_logits=False) == [[1, 1], [1, 1]]
    assert matrix(logits, np.array([0, -100, 1, 1])) == [[1, 0], [1, 1]]
    maps = RNG.normal(size=(2, 5, 5))
    assert matrix(maps, maps > 0, axis=None) == matrix(maps[:, None], (maps > 0)[:, None])


def test_classes_may_lie_on_any_axis_and_weights_on_positions():
    scores, target = RNG.normal(size=(4, 3, 5)), RNG.integers(0, 3, (4, 5))
    assert matrix(scores, target) == matrix(scores.swapaxes(1, 2), target, axis=-1)
    mask = RNG.integers(0, 2, (4, 5))
    mask[0] = 1
    ignored = np.where(mask, target, -100)
    assert matrix(scores, target, mask) == matrix(scores, ignored)


def test_a_prediction_with_a_nan_is_missed_by_its_class_and_claimed_by_none():
    scores = np.array([[2.0, 1], [np.nan, 1], [0, 1]])
    target = np.array([0, 0, 1])
    assert matrix(scores, target) == [[1, 0], [0, 1]]
    assert at_once(Recall("none"), scores, target) == {"0": 0.5, "1": 1}
    assert at_once(Precision("none"), scores, target) == {"0": 1, "1": 1}
    assert at_once(BalancedAccuracy(), scores, target) == 0.75
    assert at_once(TopKAccuracy(2), scores, target) == pytest.approx(2 / 3)
    perfect = at_once(MatthewsCorrCoef(), scores[[0, 2]], target[[0, 2]])
    assert perfect == 1 and 0 < at_once(MatthewsCorrCoef(), scores, target) < 1
    assert at_once(CohenKappa(), scores, target) == pytest.approx(1 - (1 / 3) / (1 - (2 + 1) / 9))


def test_two_classes_are_binary_by_default_and_more_are_averaged():
    scores, target = np.array([[0.0, 1], [0, 1], [1, 0], [1, 0]]), np.array([1, 0, 1, 0])
    metric = at_once(Precision("none"), scores, target)
    assert at_once(Precision(), scores, target) == metric["1"]
    assert at_once(Precision("macro"), scores, target) == 0.5
    three = at_once(F1("none"), SCORES, LABELS)
    assert at_once(F1(), SCORES, LABELS) == pytest.approx(np.mean(list(three.values())))


def test_the_classic_worked_examples():
    # Cohen 1960: two judges, 50 subjects, observed agreement 0.7, chance 0.5
    judges = np.array([[20, 5], [10, 15]])
    truth, guess = np.nonzero(judges)
    assert at_once(CohenKappa(), guess, truth, judges[truth, guess]) == pytest.approx(0.4)
    # precision 8/12 and recall 8/10 of a search for cats
    hits = np.array([[10, 4], [2, 8]])
    truth, guess = np.nonzero(hits)
    weight = hits[truth, guess]
    assert at_once(Precision(), guess, truth, weight) == pytest.approx(8 / 12)
    assert at_once(Recall(), guess, truth, weight) == pytest.approx(8 / 10)
    assert at_once(F1(), guess, truth, weight) == pytest.approx(8 / 11)
    assert at_once(IoU(), guess, truth, weight) == pytest.approx(8 / 14)
    assert at_once(MatthewsCorrCoef(), guess, truth, weight) == pytest.approx((80 - 8) / math.sqrt(12 * 10 * 14 * 12))


def test_images_without_the_class_have_no_dice_of_their_own():
    truth, guess = np.zeros((3, 2, 2), int), np.zeros((3, 2, 2), int)
    truth[0, 0], guess[0, 0, 0] = 1, 1  # 2 pixels, 1 found: 2/3
    guess[1, 0, 0] = 1  # a false alarm: 0
    assert at_once(Dice(), guess, truth) == pytest.approx((2 / 3 + 0) / 2)
    assert at_once(Dice("macro", include_background=False), guess, truth) == pytest.approx((2 / 3 + 0) / 2)
    with pytest.raises(DataError, match="sum to 0"):
        at_once(Dice(), guess[2:], truth[2:])
    with pytest.raises(DataError, match="per_sample=False"):
        at_once(Dice("none"), guess, truth)
    assert at_once(Dice("none", per_sample=False), guess, truth)["1"] == pytest.approx(2 / 4)


def test_the_first_of_equal_scores_ranks_first():
    scores, target = np.ones((4, 4)), np.arange(4)
    assert [at_once(TopKAccuracy(k), scores, target) for k in (1, 2, 3, 4, 9)] == [0.25, 0.5, 0.75, 1, 1]
    assert at_once(TopKAccuracy(1), scores, np.array([0, -100, -100, 1])) == 0.5


def test_guessing_one_class_has_no_correlation_and_undefined_kappa():
    pred, target = np.zeros(5, int), np.array([0, 0, 1, 1, 0])
    assert at_once(MatthewsCorrCoef(), pred, target) == 0
    assert math.isnan(at_once(CohenKappa(), pred, pred))
    with pytest.raises(DataError, match="two classes"):
        at_once(BalancedAccuracy(adjusted=True), pred, pred)


def test_states_are_whole_and_foreign_ones_refused():
    metric = F1()
    metric.update(SCORES, LABELS)
    other = F1()
    other.load_state_dict(metric.state_dict())
    assert other.compute() == metric.compute()
    assert sharded(F1(), SCORES, LABELS) == pytest.approx(metric.compute(), rel=1e-12)
    with pytest.raises(StateError, match="totals"):
        other.load_state_dict({"hits": 3})
    with pytest.raises(HyperparameterError, match="cannot be merged"):
        metric.merge(F1("micro"))


@pytest.mark.parametrize(
    ("pred", "target", "weight", "options", "words"),
    [
        (SCORES, LABELS[:-1], None, {}, r"got \(29,\)"),
        (SCORES, LABELS * 1.0, None, {}, "integers, got float64"),
        (SCORES, LABELS + 1, None, {}, r"0\.\.2, got 3\.\.3"),
        (SCORES, LABELS, np.ones((30, 3)), {}, "do not fit"),
        (SCORES, LABELS, None, {"num_classes": 4}, "num_classes is 4"),
        (SCORES, LABELS, None, {"axis": 2}, "no axis 2"),
        (SCORES[:, 0], LABELS, None, {}, r"0\.\.1, got 2\.\.2"),
        (SCORES[:, 0], LABELS, None, {"num_classes": 3}, "two classes"),
        (SCORES[:, 0], LABELS * 1.0, None, {}, r"0 and 1, got 0\.\.2"),
        (SCORES[:, 0], LABELS[:, None, None], None, {}, r"\(30, 1, 1\)"),
        (LABELS + 5, LABELS, None, {"num_classes": 3}, "predictions"),
        (SCORES, LABELS, np.zeros(30), {}, "sum to 0"),
    ],
)
def test_what_does_not_fit_is_refused(pred, target, weight, options, words):
    with pytest.raises(DataError, match=words):
        at_once(ConfusionMatrix(**options), pred, target, weight)


def test_bad_hyperparameters_are_named():
    for make, words in [
        (lambda: F1("mean"), "F1: average"),
        (FBeta, "FBeta: missing 'beta'"),
        (lambda: FBeta(beta=0.0), "FBeta: beta"),
        (lambda: ConfusionMatrix("rows"), "ConfusionMatrix: normalize"),
        (lambda: CohenKappa("cubic"), "CohenKappa: weights"),
        (lambda: TopKAccuracy(0), "TopKAccuracy: k"),
        (lambda: Precision(zero_division=2), "Precision: zero_division"),
    ]:
        with pytest.raises(HyperparameterError, match=words):
            make()
    with pytest.raises(DataError, match="needs two classes, got 3"):
        at_once(F1("binary"), SCORES, LABELS)
    with pytest.raises(DataError, match="needs a class axis"):
        at_once(TopKAccuracy(), SCORES[:, 0], LABELS)
