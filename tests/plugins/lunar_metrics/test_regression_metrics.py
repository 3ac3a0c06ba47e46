"""Regression metrics: shapes, weights, digits, merging, devices, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_shards import at_once, sharded

from lunar_core.errors import DataError, HyperparameterError
from lunar_core.tensor import Tensor
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_metrics.moments import combined, moments
from lunar_metrics.regression import MAE, MAPE, MSE, R2, RMSE, ExplainedVariance

RNG = np.random.default_rng(0)
PRED, TARGET = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 3))
ALL = [MAE(), MSE(), RMSE(), MAPE(), R2(), R2("variance_weighted"), ExplainedVariance()]


def test_values_that_anyone_can_check():
    pred, target = np.array([2.5, 0.0, 2.0, 8.0]), np.array([3.0, -0.5, 2.0, 7.0])
    assert at_once(MAE(), pred, target) == 0.5
    assert at_once(MSE(), pred, target) == 0.375
    assert at_once(RMSE(), pred, target) == math.sqrt(0.375)
    assert at_once(MAPE(), pred, target) == pytest.approx((0.5 / 3 + 1 + 0 + 1 / 7) / 4)
    assert at_once(R2(), pred, target) == pytest.approx(0.9486081370449679)
    assert at_once(ExplainedVariance(), pred, target) == pytest.approx(0.9571734475374732)
    assert at_once(R2(), target + 1, target) < 1 == at_once(ExplainedVariance(), target + 1, target)


@pytest.mark.parametrize("metric", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_a_single_column_may_have_its_axis_or_not(metric):
    expected = at_once(metric, PRED[:, 0], TARGET[:, 0])
    assert at_once(metric, PRED[:, :1], TARGET[:, 0]) == expected
    assert at_once(metric, PRED[:, 0], TARGET[:, :1]) == expected
    assert at_once(metric, Tensor(PRED[:, :1]), Tensor(TARGET[:, :1])) == expected


@pytest.mark.parametrize("metric", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_weights_count_as_copies(metric):
    weight = RNG.integers(1, 4, 20)
    expected = at_once(metric, PRED.repeat(weight, axis=0), TARGET.repeat(weight, axis=0))
    assert sharded(metric, PRED, TARGET, weight) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", ALL, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_totals_stay_on_a_device(metric):
    expected = at_once(metric, PRED, TARGET)
    with fake_device() as device:
        metric.reset()
        for rows in (slice(0, 7), slice(7, 20)):
            metric.update(Tensor(FakeArray(PRED[rows])), FakeArray(TARGET[rows]))
        assert device.synchronizations == 0
        assert metric.compute() == pytest.approx(expected, rel=1e-12)


def test_elements_may_have_weights_of_their_own():
    weight = RNG.uniform(0.1, 1, PRED.shape)
    assert at_once(MAE(), PRED, TARGET, weight) == pytest.approx(np.average(abs(PRED - TARGET), weights=weight))


def test_a_spread_far_from_zero_keeps_its_digits():
    target = 1e9 + RNG.normal(size=1000)
    pred = target + RNG.normal(size=1000) / 10
    exact = 1 - ((target - pred) ** 2).sum() / ((target - target.mean()) ** 2).sum()
    assert sharded(R2(), pred, target) == pytest.approx(exact, rel=1e-9)
    many = R2()
    for i in range(0, 1000, 2):
        many.update(pred[i : i + 2], target[i : i + 2])
    assert many.compute() == pytest.approx(exact, rel=1e-9)


def test_moments_of_parts_make_the_moments_of_the_whole():
    x, w = RNG.normal(5, 2, (50, 3)), RNG.uniform(0, 1, 50)
    w[10:20] = 0  # a batch without weight
    for weight in (None, w):
        for products in (False, True):
            total = combined(
                combined(_part(x, weight, 0, 10, products), _part(x, weight, 10, 20, products)),
                _part(x, weight, 20, 50, products),
            )
            whole = moments(x, weight, products)
            for a, b in zip(total, whole):
                np.testing.assert_allclose(a, b, rtol=1e-12)
            used = np.ones(50) if weight is None else weight
            np.testing.assert_allclose(whole.mean, np.average(x, axis=0, weights=used), rtol=1e-12)
            covariance = np.cov(x.T, aweights=used, ddof=0) * used.sum()
            np.testing.assert_allclose(whole.spread, covariance if products else np.diag(covariance), rtol=1e-12)


def _part(x, weight, a, b, products):
    return moments(x[a:b], None if weight is None else weight[a:b], products)


def test_what_does_not_fit_is_refused_and_leaves_the_totals():
    for metric in ALL:
        at_once(metric, PRED, TARGET)
        before = metric.compute()
        for pred, target, weight, words in [
            (PRED, TARGET[:, :2], None, r"\(20, 2\)"),
            (PRED[:5], TARGET[:4], None, r"\(4, 3\)"),
            (PRED, TARGET, np.ones(19), "one weight for each"),
            (np.array(["a"] * 20), np.array(["a"] * 20), None, "real numbers"),
        ]:
            with pytest.raises(DataError, match=words):
                metric.update(pred, target, weight)
        assert metric.compute() == before
    metric = R2()
    metric.update(PRED, TARGET)
    with pytest.raises(DataError, match="cannot be merged"):
        metric.update(PRED[:, :2], TARGET[:, :2])


def test_one_example_has_no_variance_and_zero_weights_no_mean():
    for cls in (R2, ExplainedVariance):
        with pytest.raises(DataError, match="one example"):
            at_once(cls(), np.ones(1), np.ones(1))
    for metric in ALL:
        with pytest.raises(DataError, match="sum to 0"):
            at_once(metric, PRED, TARGET, np.zeros(20))
    with pytest.raises(HyperparameterError, match="R2: multioutput"):
        R2("mean")
    with pytest.raises(HyperparameterError, match="cannot be merged"):
        R2().merge(ExplainedVariance())
    with pytest.raises(HyperparameterError, match="cannot be merged"):
        R2().merge(R2("raw_values"))
