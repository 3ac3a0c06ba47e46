"""Losses on logits agree with PyTorch on the shapes of classification, segmentation and language models."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity
functional = torch.nn.functional


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-5)])
@pytest.mark.parametrize("shape", [(64, 10), (200, 5003), (2, 21, 16, 18)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_agrees(shape, smoothing, weighted, dtype, tolerance):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 4, shape).astype(dtype)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    labels[rng.random(labels.shape) < 0.1] = -100
    weight = rng.uniform(0.5, 2, shape[1]).astype(dtype) if weighted else None
    ours, theirs = lc.Tensor(x, requires_grad=True), torch.from_numpy(x.copy()).requires_grad_()
    out = ops.cross_entropy(ours, labels, weight, label_smoothing=smoothing)
    weights = None if weight is None else torch.from_numpy(weight)
    expected = functional.cross_entropy(
        theirs, torch.from_numpy(labels), weights, reduction="none", label_smoothing=smoothing
    )
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    out.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(ours.grad.data, theirs.grad.numpy(), rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape, axis", [((50, 5003), -1), ((8, 12, 33), 1), ((40, 7), 0)])
def test_softmax_agrees(name, shape, axis):
    x = np.random.default_rng(0).normal(0, 5, shape).astype(np.float32)
    ours, theirs = lc.Tensor(x, requires_grad=True), torch.from_numpy(x.copy()).requires_grad_()
    out, expected = getattr(ops, name)(ours, axis), getattr(torch, name)(theirs, axis)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=2e-5, atol=1e-6)
    seed = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    out.backward(lc.Tensor(seed))
    expected.backward(torch.from_numpy(seed))
    np.testing.assert_allclose(ours.grad.data, theirs.grad.numpy(), rtol=1e-4, atol=1e-5)
