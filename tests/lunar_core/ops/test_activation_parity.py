"""Activations in float32 agree with PyTorch over large arrays, where the vectorised paths run."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity
functional = torch.nn.functional

PAIRS = {
    "relu": (ops.relu, torch.relu),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.2), lambda t: functional.leaky_relu(t, 0.2)),
    "elu": (lambda x: ops.elu(x, 0.7), lambda t: functional.elu(t, 0.7)),
    "gelu": (ops.gelu, functional.gelu),
    "gelu tanh": (lambda x: ops.gelu(x, "tanh"), lambda t: functional.gelu(t, approximate="tanh")),
    "sigmoid": (ops.sigmoid, torch.sigmoid),
    "softplus": (ops.softplus, functional.softplus),
    "silu": (ops.silu, functional.silu),
    "erf": (ops.erf, torch.erf),
}


@pytest.mark.parametrize("name", PAIRS)
def test_activation_agrees(name):
    ours, theirs = PAIRS[name]
    values = np.random.default_rng(0).normal(0, 3, (50, 2001)).astype(np.float32)
    x, t = lc.Tensor(values, requires_grad=True), torch.from_numpy(values.copy()).requires_grad_()
    y, expected = ours(x), theirs(t)
    # PyTorch's gelu loses digits in the left tail, where 1 + erf cancels
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=3e-6, atol=2e-6)
    seed = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    y.backward(lc.Tensor(seed))
    expected.backward(torch.from_numpy(seed))
    np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-5, atol=5e-6)
