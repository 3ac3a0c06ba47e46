"""ctc_loss: against all alignments, orders of differentiation, labellings that cannot be, errors."""

import itertools

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, IndexingError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck


def log_probs(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def collapsed(path, blank):
    return [k for k, _ in itertools.groupby(path) if k != blank]


@pytest.mark.parametrize("label", [[], [1], [1, 1], [2, 1], [1, 2, 1]], ids=str)
def test_it_is_the_sum_over_all_alignments(label):
    x = log_probs((4, 3))
    paths = [p for p in itertools.product(range(3), repeat=4) if collapsed(p, 0) == label]
    expected = -np.log(sum(np.exp(sum(x[t, k] for t, k in enumerate(p))) for p in paths))
    got = ops.ctc_loss(x[:, None], np.array([label], int).reshape(1, -1), [4], [len(label)], reduction="none")
    np.testing.assert_allclose(got, [expected], rtol=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients_of_both_orders(reduction):
    x = lc.Tensor(log_probs((5, 3, 4)), requires_grad=True)
    targets = np.array([[1, 2, 1], [3, 3, 0], [2, 0, 0]])

    def function(x):
        return ops.ctc_loss(x, targets, [5, 4, 3], [3, 2, 1], reduction=reduction)

    assert gradcheck(function, [x])
    assert gradgradcheck(function, [x])


def test_a_labelling_that_does_not_fit_is_infinite_or_zero():
    x = lc.Tensor(log_probs((2, 2, 3)), requires_grad=True)
    arguments = (np.array([[1, 1], [1, 2]]), [2, 2], [2, 2])
    losses = ops.ctc_loss(x, *arguments, reduction="none").detach()
    assert np.isinf(losses.numpy()[0]) and np.isfinite(losses.numpy()[1])
    ops.ctc_loss(x, *arguments, reduction="sum", zero_infinity=True).backward()
    grad = x.grad.numpy()
    np.testing.assert_array_equal(grad[:, 0], 0)
    np.testing.assert_allclose(grad[:, 1].sum(), -2)


def test_time_after_the_end_has_no_gradient():
    x = lc.Tensor(log_probs((5, 1, 3)), requires_grad=True)
    ops.ctc_loss(x, np.array([[1]]), [3], [1]).backward()
    np.testing.assert_array_equal(x.grad.numpy()[3:], 0)
    np.testing.assert_allclose(x.grad.numpy()[:3].sum(axis=2), -1)


def test_long_sequences_do_not_underflow():
    x = log_probs((600, 1, 5)).astype(np.float32)
    t = lc.Tensor(x, requires_grad=True)
    loss = ops.ctc_loss(t, np.arange(100).reshape(1, -1) % 4 + 1, [600], [100])
    loss.backward()
    exact = ops.ctc_loss(x.astype(float), np.arange(100).reshape(1, -1) % 4 + 1, [600], [100])
    np.testing.assert_allclose(loss.item(), exact, rtol=1e-5)
    np.testing.assert_allclose(t.grad.numpy().sum(), -6, rtol=1e-2)


def test_what_does_not_fit_is_named():
    x, targets = log_probs((4, 2, 3)), np.array([[1, 2], [1, 1]])
    with pytest.raises(HyperparameterError, match="reduction must be one of none, mean, sum, got 'avg'"):
        ops.ctc_loss(x, targets, [4, 4], [2, 2], reduction="avg")
    with pytest.raises(ShapeError, match=r"input_lengths must be 2 numbers from 0 up to 4, got \[4, 5\]"):
        ops.ctc_loss(x, targets, [4, 5], [2, 2])
    with pytest.raises(ShapeError, match=r"target_lengths must be 2 numbers from 0, got \[2\]"):
        ops.ctc_loss(x, targets, [4, 4], [2])
    with pytest.raises(ShapeError, match="do not hold 2 labellings of up to 3 labels"):
        ops.ctc_loss(x, targets, [4, 4], [3, 2])
    with pytest.raises(ShapeError, match="or hold all 3 labels one after another"):
        ops.ctc_loss(x, np.array([1, 2]), [4, 4], [2, 1])
    with pytest.raises(IndexingError, match=r"labels must be classes of 0..2 other than the blank 0, got 2..3"):
        ops.ctc_loss(x, targets + 1, [4, 4], [2, 2])
    with pytest.raises(IndexingError, match="the blank among them"):
        ops.ctc_loss(x, targets, [4, 4], [2, 2], blank=1)
    with pytest.raises(HyperparameterError, match=r"blank must be a class of 0..2, got 3"):
        ops.ctc_loss(x, targets, [4, 4], [2, 2], blank=3)
    with pytest.raises(DTypeError, match="targets must hold integers, got float64"):
        ops.ctc_loss(x, targets * 1.0, [4, 4], [2, 2])
    with pytest.raises(DTypeError, match="real floating log-probabilities"):
        ops.ctc_loss(x.astype(int), targets, [4, 4], [2, 2])
    with pytest.raises(ShapeError, match=r"log_probs of shape \(T, N, C\) with T > 0"):
        ops.ctc_loss(x[:0], targets, [0, 0], [2, 2])
