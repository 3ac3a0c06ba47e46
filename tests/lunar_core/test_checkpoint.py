"""Checkpointed blocks compute the same gradients and keep no arrays between."""

import gc
import weakref

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import random
from lunar_core.errors import GradientError, InPlaceError
from lunar_core.testing import gradcheck, gradgradcheck


def block(x, w):
    h = (x @ w).tanh()
    return (h * h).exp().sum(axis=0)


def noisy(x):
    mask = lc.tensor(random.stream("dropout").next().random(x.shape) > 0.5, dtype="float64")
    return (x * mask).sin() * x


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    return [lc.tensor(rng.normal(size=s), requires_grad=True) for s in ((3, 4), (4, 2))]


def test_gradients_equal_those_without_a_checkpoint(inputs):
    block(*inputs).sum().backward()
    expected = [x.grad.numpy().copy() for x in inputs]
    for x in inputs:
        x.grad = None
    lc.checkpoint(block, *inputs).sum().backward()
    for x, plain in zip(inputs, expected):
        np.testing.assert_array_equal(x.grad.numpy(), plain)


def test_first_and_second_order_pass_the_gradient_check(inputs):
    f = lambda x, w: lc.checkpoint(block, x, w)  # noqa: E731
    assert gradcheck(f, inputs) and gradgradcheck(f, inputs)


def test_checkpoints_nest_and_draw_the_same_random_masks(inputs):
    def outer(x):
        return lc.checkpoint(noisy, noisy(x) * 2) + noisy(x)

    x = inputs[0]
    lc.seed(3)
    (plain,) = lc.grad(outer(x).sum(), x)
    position = random.stream("dropout").index
    lc.seed(3)
    (nested,) = lc.grad(lc.checkpoint(outer, x).sum(), x)
    np.testing.assert_array_equal(plain.numpy(), nested.numpy())
    assert random.stream("dropout").index == position


def test_parameters_inside_the_block_get_their_gradients(inputs):
    w = inputs[1]
    lc.checkpoint(lambda x: block(x, w), inputs[0].detach()).sum().backward()
    assert w.grad is not None


def test_arrays_between_are_freed_until_backward():
    kept = []

    def f(x):
        h = x.exp()
        kept.append(weakref.ref(h.data))
        return (h * h).sum()

    x = lc.tensor(np.ones(1000), requires_grad=True)
    y = lc.checkpoint(f, x)
    gc.collect()
    assert kept[0]() is None
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(2))


def test_a_block_that_changes_between_runs_is_an_error():
    calls = []

    def f(x):
        calls.append(1)
        return x.exp() if len(calls) == 1 else x.sin()

    y = lc.checkpoint(f, lc.tensor([1.0], requires_grad=True))
    with pytest.raises(GradientError, match="applied other ops"):
        y.backward()


@pytest.mark.parametrize("written", ["argument", "parameter", "constant"])
def test_a_write_to_what_the_block_read_is_noticed(written):
    x = lc.tensor(np.ones(3), requires_grad=True)
    parts = {"argument": x, "parameter": lc.Parameter(np.ones(3)), "constant": lc.tensor(np.ones(3))}
    y = lc.checkpoint(lambda a, b: (a * b + parts["parameter"]).exp(), x, parts["constant"])
    with lc.no_grad():
        parts[written].assign_(0)
    with pytest.raises(InPlaceError, match="checkpoint: a tensor of shape"):
        y.sum().backward()


def test_the_second_run_makes_constants_of_the_same_dtype():
    x = lc.tensor(np.ones(2), requires_grad=True)
    with lc.default_dtype("float64"):
        y = lc.checkpoint(lambda a: (a * lc.tensor([0.1, 0.2])).exp(), x)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([0.1, 0.2]) * [0.1, 0.2], rtol=1e-14)
