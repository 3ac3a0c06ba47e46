"""Fused ops under create_graph, vmap and forward mode: their composition stands in for the kernels."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.testing import gradcheck

RNG = np.random.default_rng(0)
WEIGHTS = [lc.Tensor(RNG.normal(scale=0.5, size=s)) for s in ((12, 2), (12, 3), (12,), (12,))]
GRU = [w[:9] for w in WEIGHTS]
PLACES = lc.Tensor(RNG.uniform(-1, 1, (2, 1, 3, 2)))
TARGETS = np.array([[1, 2], [1, 1]])

FUNCTIONS = {
    "attention": (lambda x: ops.scaled_dot_product_attention(x, x, x, is_causal=True), (2, 3, 4)),
    "lstm": (lambda x: ops.lstm(x, None, None, WEIGHTS, lengths=[3, 1])[0], (2, 3, 2)),
    "gru": (lambda x: ops.gru(x, None, GRU, reverse=True)[1], (2, 3, 2)),
    "group_norm": (lambda x: ops.group_norm(x, 2), (2, 4, 3)),
    "rms_norm": (ops.rms_norm, (2, 3, 4)),
    "interpolate": (lambda x: ops.interpolate(x, (3, 5), mode="bicubic"), (1, 2, 2, 3)),
    "grid_sample": (lambda x: ops.grid_sample(x, PLACES), (2, 2, 3, 4)),
    "ctc_loss": (lambda x: ops.ctc_loss(ops.log_softmax(x), TARGETS, [4, 4], [2, 2], reduction="none"), (4, 2, 3)),
}
NAMES = list(FUNCTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_each_sample_has_its_own_gradient_under_vmap(name):
    function, shape = FUNCTIONS[name]
    xs = np.random.default_rng(1).normal(size=(3, *shape))

    slope = lc.grad(lambda x: (function(x) ** 2).sum())
    together = lc.vmap(slope)(lc.Tensor(xs))
    for x, found in zip(xs, together.numpy()):
        np.testing.assert_allclose(found, slope(lc.Tensor(x)).numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_forward_mode_agrees_with_differences(name):
    function, shape = FUNCTIONS[name]
    rng = np.random.default_rng(2)
    x, v = rng.normal(size=shape), rng.normal(size=shape)
    value, tangent = lc.jvp(function, [lc.Tensor(x)], [lc.Tensor(v)])
    np.testing.assert_allclose(value.detach().numpy(), function(x), rtol=1e-12)
    h = 1e-5
    expected = (function(x + h * v) - function(x - h * v)) / (2 * h)
    np.testing.assert_allclose(tangent.detach().numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["attention", "gru", "group_norm", "rms_norm"])
def test_the_third_order_exists(name):
    function, shape = FUNCTIONS[name]
    x = lc.Tensor(np.random.default_rng(3).normal(size=shape), requires_grad=True)

    def second(x):
        (g,) = lc.grad((function(x) ** 3).sum(), x, create_graph=True)
        (g,) = lc.grad((g**2).sum(), x, create_graph=True)
        return g

    assert gradcheck(second, [x], rtol=1e-5)


def test_only_needed_inputs_are_differentiated():
    q, k, v = (lc.Tensor(np.random.default_rng(i).normal(size=(2, 3, 4))) for i in range(3))
    k.requires_grad_()
    (g,) = lc.grad((ops.scaled_dot_product_attention(q, k, v) ** 2).sum(), k, create_graph=True)
    (h,) = lc.grad((g**2).sum(), k)
    assert np.isfinite(h.numpy()).all() and np.abs(h.numpy()).max() > 0
