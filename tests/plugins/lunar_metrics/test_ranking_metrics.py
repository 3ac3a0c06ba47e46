"""AUROC, average precision, calibration: forms of input, undefined classes, NaN, merging, errors."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from metric_shards import at_once, sharded

from lunar_core.errors import DataError, HyperparameterError, StateError
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_metrics.calibration import CalibrationError
from lunar_metrics.ranking import AUROC, AveragePrecision

RNG = np.random.default_rng(0)


def test_the_area_is_the_chance_that_a_positive_scores_higher():
    score, truth = RNG.integers(0, 6, 40) / 2, RNG.integers(0, 2, 40)
    pairs = [(p > n) + 0.5 * (p == n) for p in score[truth == 1] for n in score[truth == 0]]
    assert at_once(AUROC(), score, truth) == pytest.approx(np.mean(pairs), rel=1e-12)
    assert at_once(AUROC(), np.array([1.0, 1, 1]), np.array([0, 1, 1])) == 0.5
    assert at_once(AUROC(), score, truth) == pytest.approx(1 - at_once(AUROC(), -score, truth))


def test_average_precision_of_a_small_ranking():
    # ranked: +, -, +, -, +: precisions 1, 2/3, 3/5 at the three positives
    score, truth = np.array([5.0, 4, 3, 2, 1]), np.array([1, 0, 1, 0, 1])
    assert at_once(AveragePrecision(), score, truth) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert at_once(AveragePrecision(), score, 0 * truth + 1) == 1


def test_positions_ignored_targets_and_masks():
    scores, target = RNG.normal(size=(6, 3, 4)), RNG.integers(0, 3, (6, 4))
    mask = RNG.integers(0, 2, (6, 4))
    mask[:3] = 1
    expected = at_once(AUROC(), scores.swapaxes(1, 2)[mask == 1], target[mask == 1])
    assert at_once(AUROC(), scores, np.where(mask, target, -100)) == pytest.approx(expected, rel=1e-12)
    assert at_once(AUROC(), scores, target, mask) == pytest.approx(expected, rel=1e-12)
    assert at_once(AUROC(axis=-1), scores.swapaxes(1, 2), target, mask) == pytest.approx(expected, rel=1e-12)


def test_a_softmax_makes_logits_of_several_classes_comparable():
    logits, target = RNG.normal(size=(50, 3)), RNG.integers(0, 3, 50)
    shifted = logits + RNG.normal(size=(50, 1)) * 10
    assert at_once(AUROC(), shifted, target) == pytest.approx(at_once(AUROC(), logits, target), rel=1e-9)
    assert at_once(AUROC(from_logits=False), shifted, target) != at_once(AUROC(from_logits=False), logits, target)


def test_classes_that_never_occur_are_left_out():
    logits, target = RNG.normal(size=(50, 4)), RNG.integers(0, 3, 50)
    each = at_once(AUROC("none"), logits, target)
    assert math.isnan(each["3"])
    assert at_once(AUROC(), logits, target) == pytest.approx(np.mean([each[c] for c in "012"]))
    with pytest.raises(DataError, match="AUROC is defined for no class: none has both"):
        at_once(AUROC(), logits[:, 0], np.zeros(50, int))
    with pytest.raises(DataError, match="AveragePrecision is defined for no class: none has positive"):
        at_once(AveragePrecision(), logits[:, 0], np.zeros(50, int))


def test_a_nan_score_makes_the_value_nan_unless_it_has_no_weight():
    score, truth = np.array([np.nan, 1, 0.0]), np.array([1, 1, 0])
    assert math.isnan(at_once(AUROC(), score, truth))
    assert at_once(AUROC(), score, truth, np.array([0, 1, 1])) == 1


def test_scores_stay_on_their_device_and_merge_from_there():
    logits, target = RNG.normal(size=(40, 3)), RNG.integers(0, 3, 40)
    expected = at_once(AUROC(), logits, target)
    with fake_device() as device:
        team = [AUROC(), AUROC()]
        for k, rows in enumerate((slice(0, 9), slice(9, 40))):
            team[k].update(FakeArray(logits[rows]), FakeArray(target[rows]))
        team[0].merge(team[1])
        assert device.synchronizations == 0
        assert team[0].compute() == pytest.approx(expected, rel=1e-12)


def test_states_are_whole_and_batches_of_another_kind_refused():
    metric = AUROC()
    metric.update(RNG.normal(size=(10, 3)), np.arange(10) % 3)
    twin = copy.deepcopy(metric)
    twin.update(np.eye(3), np.arange(3))
    assert len(metric.column("score")) == 10 and len(twin.column("score")) == 13
    fresh = AUROC()
    fresh.load_state_dict(metric.state_dict())
    assert fresh.compute() == metric.compute()
    empty = AUROC()
    empty.load_state_dict(AUROC().state_dict())
    empty.merge(metric)
    assert empty.compute() == metric.compute()
    before = metric.compute()
    for pred, target, words in [
        (np.eye(4), np.arange(4), "does not continue one of shape"),
        (np.eye(3), np.eye(3), "in one run"),
        (np.eye(3), np.ones((3, 2)), "take class indices"),
        (np.eye(3), np.array([0, 1, 3]), r"0\.\.2, got 3\.\.3"),
    ]:
        with pytest.raises(DataError, match=words):
            metric.update(pred, target)
    assert metric.compute() == before
    with pytest.raises(DataError, match="are 0 and 1, got 0..3"):
        at_once(AUROC(), np.eye(3), np.eye(3) * 3)
    with pytest.raises(StateError, match="columns"):
        fresh.load_state_dict({"seen": 3})
    with pytest.raises(DataError, match="does not continue"):
        binary = AUROC()
        binary.update(np.ones(2), np.array([0, 1]))
        metric.merge(binary)
    with pytest.raises(HyperparameterError, match="cannot be merged"):
        metric.merge(AveragePrecision())


# -- calibration -------------------------------------------------------------------------------------------------------


def test_the_calibration_error_of_a_small_example():
    # two bins of confidence: 0.6, 0.7 with one right of two; 0.9 (three times) with all right
    p = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    target = np.array([0, 0, 0, 1, 0])
    for norm, expected in [
        ("l1", 2 / 5 * 0.15 + 3 / 5 * 0.1),
        ("max", 0.15),
        ("l2", math.sqrt(0.4 * 0.15**2 + 0.6 * 0.01)),
    ]:
        metric = CalibrationError(4, norm, from_logits=False)
        assert sharded(metric, p, target) == pytest.approx(expected)
        assert at_once(CalibrationError(4, norm), np.log(p), target) == pytest.approx(expected)
        assert at_once(metric, p, np.eye(2)[target]) == pytest.approx(expected)
        assert at_once(metric, p.repeat(2, axis=0), target.repeat(2)) == pytest.approx(expected)


def test_calibration_takes_weights_as_copies_and_ignores_what_is_ignored():
    logits, target = RNG.normal(size=(30, 4)), RNG.integers(0, 4, 30)
    weight = RNG.integers(0, 3, 30)
    expected = at_once(CalibrationError(), logits.repeat(weight, axis=0), target.repeat(weight))
    assert at_once(CalibrationError(), logits, target, weight) == pytest.approx(expected, rel=1e-12)
    kept = weight > 0
    assert at_once(CalibrationError(), logits, np.where(kept, target, -100)) == pytest.approx(
        at_once(CalibrationError(), logits[kept], target[kept]), rel=1e-12
    )


def test_a_perfectly_calibrated_coin_has_no_error_in_the_long_run():
    p = RNG.uniform(size=200_000)
    truth = (RNG.uniform(size=p.size) < p).astype(int)
    assert at_once(CalibrationError(from_logits=False), p, truth) < 0.01
    assert at_once(CalibrationError(), 3 * np.log(p / (1 - p)), truth) > 0.1


def test_calibration_on_a_device_does_not_wait_for_it():
    logits, target = RNG.normal(size=(30, 4)), RNG.integers(0, 4, 30)
    expected = at_once(CalibrationError(), logits, target)
    with fake_device() as device:
        metric = CalibrationError()
        metric.update(FakeArray(logits), FakeArray(target))
        metric.update(FakeArray(logits), FakeArray(target))
        assert device.synchronizations == 0
        assert metric.compute() == pytest.approx(expected, rel=1e-12)


def test_what_is_no_probability_is_an_error():
    with pytest.raises(DataError, match=r"lie in \[0, 1\]"):
        at_once(CalibrationError(from_logits=False), np.array([0.2, 3.0]), np.array([0, 1]))
    with pytest.raises(DataError, match="take targets"):
        at_once(CalibrationError(), np.ones(3), np.ones((3, 2)))
    assert math.isnan(at_once(CalibrationError(), np.array([[np.nan, 1.0]]), np.array([0])))
    with pytest.raises(HyperparameterError, match="CalibrationError: bins"):
        CalibrationError(0)
    with pytest.raises(DataError, match="sum to 0"):
        at_once(CalibrationError(), np.ones((2, 3)), np.array([-100, -100]))
