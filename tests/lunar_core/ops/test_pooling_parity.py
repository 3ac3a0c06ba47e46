"""Pooling agrees with PyTorch, forward and gradient."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity
functional = torch.nn.functional

MAX = [
    (2,),
    (3, 2, 1),
    ((2, 3), (1, 2), (1, 1)),
    (3, 2, 1, 2),
    (2, 2, 0, 1, True),
    (3, 3, 1, 1, True),
    (3, 2, 0, 2, True),
]
AVERAGE = [(2,), (3, 2, 1), (3, 2, 1, True), (3, 2, 1, False, False), (3, 2, 1, True, False), ((2, 5), (2, 1), (0, 2))]


def compare(ours, theirs, dtype, values):
    x = lc.Tensor(np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), requires_grad=True)
    t = torch.from_numpy(values.copy()).requires_grad_()
    out, expected = ours(x), theirs(t)
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    seed = np.random.default_rng(1).normal(size=out.shape).astype(dtype)
    out.backward(lc.Tensor(seed))
    expected.backward(torch.from_numpy(seed))
    np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("arguments", MAX)
def test_max_pool2d_agrees(arguments, ties, dtype):
    rng = np.random.default_rng(0)
    shape = (3, 10, 14, 13)
    values = (np.maximum(rng.integers(-2, 3, shape), 0) if ties else rng.normal(size=shape)).astype(dtype)
    padded = (*arguments, *(None, 0, 1, False)[len(arguments) - 1 :])
    kernel, stride, padding, dilation, ceil_mode = padded

    def theirs(t):
        return functional.max_pool2d(t, kernel, stride, padding, dilation, ceil_mode=ceil_mode)

    compare(lambda x: ops.max_pool2d(x, *arguments), theirs, dtype, values)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("arguments", AVERAGE)
def test_avg_pool2d_agrees(arguments, dtype):
    values = np.random.default_rng(0).normal(size=(3, 4, 14, 13)).astype(dtype)
    compare(lambda x: ops.avg_pool2d(x, *arguments), lambda t: functional.avg_pool2d(t, *arguments), dtype, values)
