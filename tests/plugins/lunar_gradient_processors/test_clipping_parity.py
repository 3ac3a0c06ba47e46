"""Clipping against PyTorch's and timm's formula of adaptive clipping."""

from __future__ import annotations

import numpy as np
import pytest

from lunar_gradient_processors.clipping import AdaptiveClip, ClipByGlobalNorm, ClipByValue

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity


def twins():
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(4, 3)), "c": rng.normal(size=(2, 3, 2, 2)), "b": rng.normal(size=5)}
    params = {n: torch.nn.Parameter(torch.zeros(a.shape, dtype=torch.float64)) for n, a in arrays.items()}
    for name, p in params.items():
        p.grad = torch.from_numpy(arrays[name].copy())
    return arrays, params


@pytest.mark.parametrize("limit", [0.1, 3.0, 100.0])
def test_the_global_norm_is_clipped_as_pytorch_does(limit):
    arrays, params = twins()
    torch.nn.utils.clip_grad_norm_(params.values(), limit)
    ClipByGlobalNorm(limit, eps=1e-6).process(arrays)
    for name, p in params.items():
        np.testing.assert_allclose(arrays[name], p.grad.numpy(), rtol=1e-12)


def test_values_are_clipped_as_pytorch_does():
    arrays, params = twins()
    torch.nn.utils.clip_grad_value_(params.values(), 0.4)
    ClipByValue(0.4).process(arrays)
    for name, p in params.items():
        np.testing.assert_array_equal(arrays[name], p.grad.numpy())


def test_adaptive_clipping_is_timms_formula():
    arrays, params = twins()
    weights = {n: np.random.default_rng(1).normal(size=a.shape) * 0.1 for n, a in arrays.items()}

    def unitwise(x):  # timm.utils.agc.unitwise_norm
        if x.ndim <= 1:
            return x.norm(2.0)
        return x.norm(2.0, dim=tuple(range(1, x.ndim)), keepdim=True)

    expected = {}
    for name, p in params.items():
        g, w = p.grad, torch.from_numpy(weights[name])
        largest = unitwise(w).clamp_(min=1e-3).mul_(0.01)
        norm = unitwise(g)
        clipped = g * (largest / norm.clamp(min=1e-6))
        expected[name] = torch.where(norm < largest, g, clipped).numpy()
    AdaptiveClip().process(arrays, weights)
    for name in arrays:
        np.testing.assert_allclose(arrays[name], expected[name], rtol=1e-12)
