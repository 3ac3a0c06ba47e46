"""Inception score and FID: known values, merging, one-sided batches, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_shards import at_once, sharded

from lunar_core.errors import DataError, HyperparameterError
from lunar_core.tensor import Tensor
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_metrics.generative import FID, InceptionScore

RNG = np.random.default_rng(0)


def test_the_inception_score_lies_between_one_and_the_number_of_classes():
    assert at_once(InceptionScore(False), np.eye(5), None) == pytest.approx(5)
    assert at_once(InceptionScore(False), np.full((4, 5), 0.2), None) == pytest.approx(1)
    assert at_once(InceptionScore(False), np.eye(5)[[0, 0, 1, 1]], None) == pytest.approx(2)
    assert at_once(InceptionScore(), 1000 * np.eye(5), None) == pytest.approx(5)


def test_the_inception_score_is_the_mean_divergence_from_the_marginal():
    logits = RNG.normal(size=(40, 6))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = math.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean())
    assert sharded(InceptionScore(), logits, logits) == pytest.approx(expected, rel=1e-12)
    metric = InceptionScore(False)
    metric.update(Tensor(p[:7]))
    metric.update(p[7:], weight=np.ones(33))
    assert metric.compute() == pytest.approx(expected, rel=1e-12)
    weight = RNG.integers(0, 3, 40)
    copies = at_once(InceptionScore(), logits.repeat(weight, axis=0), None)
    assert at_once(InceptionScore(), logits, None, weight) == pytest.approx(copies, rel=1e-12)


def test_fid_of_normal_distributions_that_share_their_axes():
    # with uncorrelated features it is sum (m1 - m2)^2 + (s1 - s2)^2
    base = RNG.normal(size=(50, 3))
    q, _ = np.linalg.qr(base - base.mean(axis=0))
    unit = q * math.sqrt(49)  # mean 0, covariance the identity
    a, b = unit * [1.0, 2.0, 0.5] + [0, 1, 2], unit * [3.0, 2.0, 1.0] + [1, 1, 0]
    assert at_once(FID(), a, b) == pytest.approx((1 + 0 + 4) + (4 + 0 + 0.25), rel=1e-10)
    assert at_once(FID(), a, a) == pytest.approx(0, abs=1e-10)


def test_fid_of_more_features_than_images():
    a, b = RNG.normal(size=(4, 10)), RNG.normal(size=(5, 10))
    metric = FID()
    metric.update(a, b)
    assert math.isfinite(metric.compute()) and metric.compute() > 0


def test_sides_come_as_they_like():
    a, b = RNG.normal(size=(30, 4)), RNG.normal(1, 2, size=(17, 4))
    whole, parts, other = FID(), FID(), FID()
    whole.update(a, b)
    parts.update(pred=a[:11])
    parts.update(target=b[:1])
    other.update(a[11:], b[1:])
    parts.merge(other)
    parts.update(np.empty((0, 4)), None)
    assert parts.compute() == pytest.approx(whole.compute(), rel=1e-12)
    loaded = FID()
    loaded.load_state_dict(parts.state_dict())
    assert loaded.compute() == parts.compute()
    assert sharded(FID(), a[:17], b) == pytest.approx(at_once(FID(), a[:17], b), rel=1e-12)


def test_features_far_from_zero_keep_their_digits():
    a, b = RNG.normal(size=(200, 3)), RNG.normal(1, 2, size=(200, 3))
    assert sharded(FID(), a + 1e6, b + 1e6) == pytest.approx(at_once(FID(), a, b), rel=1e-6)


def test_states_stay_on_a_device():
    a, b = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 4))
    expected = at_once(FID(), a, b), at_once(InceptionScore(), a, None)
    with fake_device() as device:
        fid, score = FID(), InceptionScore()
        for rows in (slice(0, 9), slice(9, 30)):
            fid.update(FakeArray(a[rows]), FakeArray(b[rows]))
            score.update(FakeArray(a[rows]))
        assert device.synchronizations == 0
        assert (fid.compute(), score.compute()) == pytest.approx(expected, rel=1e-12)


def test_what_does_not_fit_is_refused_and_leaves_the_totals():
    metric = FID()
    metric.update(np.eye(3), np.eye(3) * 2)
    before = metric.compute()
    for pred, target, weight, words in [
        (np.eye(3), np.ones((2, 4)), None, r"features \(N, 3\) of real images, got \(2, 4\)"),
        (np.ones(3), None, None, "features"),
        (np.eye(3), np.eye(3), np.ones(3), "weighted"),
        (np.array([["a", "b", "c"]]), None, None, "real numbers"),
    ]:
        with pytest.raises(DataError, match=words):
            metric.update(pred, target, weight)
    assert metric.compute() == before
    with pytest.raises(DataError, match="two real images at least, got 1"):
        at_once(FID(), np.eye(3), np.eye(3)[:1])
    with pytest.raises(DataError, match="two generated images at least, got 0"):
        at_once(FID(), None, np.eye(3))
    with pytest.raises(DataError, match=r"\(N, C\)"):
        at_once(InceptionScore(), np.ones((2, 3, 4)), None)
    with pytest.raises(DataError, match="sum to 0"):
        at_once(InceptionScore(), np.ones((2, 3)), None, np.zeros(2))
    with pytest.raises(HyperparameterError, match="cannot be merged"):
        FID().merge(InceptionScore())
