"""Perplexity: values, axes, ignored tokens, weights, merging, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_shards import at_once, sharded

from lunar_core.errors import DataError
from lunar_core.tensor import Tensor
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_metrics.perplexity import Perplexity

RNG = np.random.default_rng(0)
LOGITS, TARGET = RNG.normal(size=(6, 5, 9)), RNG.integers(0, 9, (6, 5))


def direct(logits, target, weight=1.0):
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    surprise = -np.log(np.take_along_axis(p, target[..., None], -1)[..., 0])
    return math.exp(np.average(surprise, weights=np.broadcast_to(weight, target.shape)))


def test_guessing_evenly_has_the_perplexity_of_the_vocabulary():
    assert at_once(Perplexity(), np.zeros((4, 50)), np.arange(4)) == pytest.approx(50)
    assert at_once(Perplexity(), 1000 * np.eye(4), np.arange(4)) == pytest.approx(1)


def test_tokens_are_averaged_over_all_batches():
    expected = direct(LOGITS, TARGET)
    assert sharded(Perplexity(-1), LOGITS, TARGET) == pytest.approx(expected, rel=1e-12)
    assert at_once(Perplexity(), LOGITS.swapaxes(1, 2), TARGET) == pytest.approx(expected, rel=1e-12)
    assert at_once(Perplexity(-1), Tensor(LOGITS), Tensor(TARGET)) == pytest.approx(expected, rel=1e-12)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)
    assert at_once(Perplexity(-1, from_logits=False), p, TARGET) == pytest.approx(expected, rel=1e-12)


def test_ignored_tokens_and_weights():
    mask = RNG.integers(0, 2, TARGET.shape)
    mask[0] = 1
    expected = direct(LOGITS, TARGET, mask)
    assert at_once(Perplexity(-1), LOGITS, np.where(mask, TARGET, -100)) == pytest.approx(expected, rel=1e-12)
    assert at_once(Perplexity(-1), LOGITS, TARGET, mask) == pytest.approx(expected, rel=1e-12)
    weight = RNG.uniform(0.1, 2, 6)
    assert sharded(Perplexity(-1), LOGITS, TARGET, weight) == pytest.approx(
        direct(LOGITS, TARGET, weight[:, None]), rel=1e-12
    )


def test_an_impossible_token_is_infinitely_surprising():
    p = np.array([[1.0, 0], [0.5, 0.5]])
    metric = Perplexity(from_logits=False)
    assert at_once(metric, p, np.array([1, 0])) == math.inf
    assert at_once(metric, p, np.array([1, 0]), np.array([0, 1])) == 2
    with np.errstate(invalid="ignore"):
        assert at_once(Perplexity(), np.array([[0.0, -np.inf]]), np.array([1])) == math.inf
    assert math.isnan(at_once(Perplexity(), np.array([[0.0, np.nan]]), np.array([1])))


def test_totals_stay_on_a_device():
    with fake_device() as device:
        metric = Perplexity(-1)
        metric.update(FakeArray(LOGITS), FakeArray(TARGET))
        assert device.synchronizations == 0
        assert metric.compute() == pytest.approx(direct(LOGITS, TARGET), rel=1e-12)


def test_what_does_not_fit_is_refused():
    for pred, target, words in [
        (LOGITS, TARGET, "take class indices"),
        (LOGITS[0, 0], TARGET[0], "expected logits"),
        (LOGITS, LOGITS, "expected logits"),
        (LOGITS.swapaxes(1, 2), TARGET + 9, r"0\.\.8"),
        (LOGITS.swapaxes(1, 2), TARGET * 1.0, "integers"),
        (LOGITS.swapaxes(1, 2), np.full_like(TARGET, -100), "sum to 0"),
    ]:
        with pytest.raises(DataError, match=words):
            at_once(Perplexity(), pred, target)
