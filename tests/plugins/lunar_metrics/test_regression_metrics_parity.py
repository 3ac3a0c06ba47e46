"""Regression metrics against scikit-learn, merged from uneven shards, over inputs made by hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_shards import sharded

from lunar_metrics.regression import MAE, MAPE, MSE, R2, RMSE, ExplainedVariance

sk = pytest.importorskip("sklearn.metrics")

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
RTOL = 1e-12


@st.composite
def problems(draw, least=1):
    """(pred, target, weight or None, seed); targets of a spread scale far from zero or near it."""
    n, d = draw(st.integers(least, 50)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    target = draw(st.sampled_from([0.0, 10.0, 300.0])) + rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-1, 3, d)
    pred = target + rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-2, 3)
    weight = rng.uniform(0.1, 3, n) if draw(st.booleans()) else None
    return (pred[:, 0], target[:, 0], weight, seed) if d == 1 else (pred, target, weight, seed)


PAIRS = [
    (MAE(), sk.mean_absolute_error),
    (MSE(), sk.mean_squared_error),
    (MAPE(), sk.mean_absolute_percentage_error),
]


@pytest.mark.parametrize("metric, reference", PAIRS, ids=lambda v: getattr(v, "__name__", repr(v)))
@settings(deadline=None, max_examples=50)
@given(problems())
def test_means_of_errors(metric, reference, problem):
    pred, target, weight, seed = problem
    expected = reference(target, pred, sample_weight=weight)
    assert sharded(metric, pred, target, weight, seed) == pytest.approx(expected, rel=RTOL)


@settings(deadline=None, max_examples=50)
@given(problems())
def test_root_mean_squared_error(problem):
    pred, target, weight, seed = problem
    value = sharded(RMSE(), pred, target, weight, seed)
    assert value == pytest.approx(sk.mean_squared_error(target, pred, sample_weight=weight) ** 0.5, rel=RTOL)
    if pred.ndim == 1:
        assert value == pytest.approx(sk.root_mean_squared_error(target, pred, sample_weight=weight), rel=RTOL)


@pytest.mark.parametrize("cls, reference", [(R2, sk.r2_score), (ExplainedVariance, sk.explained_variance_score)])
@pytest.mark.parametrize("multioutput", ["uniform_average", "variance_weighted", "raw_values"])
@settings(deadline=None, max_examples=50)
@given(problems(least=2))
def test_shares_of_variance(cls, reference, multioutput, problem):
    pred, target, weight, seed = problem
    value = sharded(cls(multioutput), pred, target, weight, seed)
    expected = reference(target, pred, sample_weight=weight, multioutput=multioutput)
    value = list(value.values()) if multioutput == "raw_values" else [value]
    # one minus a ratio: the ratio is what has the digits, fewer where the targets' spread is far below their size
    np.testing.assert_allclose(1 - np.array(value), 1 - np.ravel(expected), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("cls, reference", [(R2, sk.r2_score), (ExplainedVariance, sk.explained_variance_score)])
def test_constant_targets(cls, reference):
    for pred in ([0.1] * 4, [0.1, 0.2, 0.3, 0.1], [0.3] * 4):
        target = np.full(4, 0.1)
        assert sharded(cls(), np.array(pred), target) == reference(target, pred)
    target = np.stack([np.full(6, 3.0), np.arange(6.0)], axis=1)
    pred = target + np.arange(12).reshape(6, 2) / 10
    for multioutput in ("uniform_average", "variance_weighted"):
        expected = reference(target, pred, multioutput=multioutput)
        assert sharded(cls(multioutput), pred, target) == pytest.approx(expected, rel=1e-12)
