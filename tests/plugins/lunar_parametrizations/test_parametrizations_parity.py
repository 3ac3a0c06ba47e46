"""Parametrizations against PyTorch's: values, gradients, power iteration."""

from __future__ import annotations

import numpy as np
import pytest

from lunar_core.contracts.parametrization import parametrize
from lunar_layers.dense import Dense
from lunar_parametrizations.matrices import Orthogonal, Symmetric
from lunar_parametrizations.norms import SpectralNorm, WeightNorm

torch = pytest.importorskip("torch")
from torch.nn.utils import parametrizations as reference

pytestmark = pytest.mark.parity


def twins(shape=(5, 3)):
    theirs = torch.nn.Linear(shape[1], shape[0], dtype=torch.float64)
    ours = Dense(shape[0], in_features=shape[1]).astype(np.float64)
    ours.load_state_dict({k: v.numpy().copy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def loss(weight, direction):
    return (weight * direction).sum() + (weight * weight * direction).sum()


@pytest.mark.parametrize("axis", [0, 1, None])
def test_weight_norm(axis):
    ours, theirs = twins()
    direction = np.random.default_rng(0).normal(size=(5, 3))
    parametrize(ours, "weight", WeightNorm(axis))
    reference.weight_norm(theirs, dim=axis)
    p, q = ours.parametrizations["weight"], theirs.parametrizations.weight
    with torch.no_grad():
        q.original0 *= 1.7
    p.g.data[...] *= 1.7
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-12)
    loss(ours.weight, direction).backward()
    loss(theirs.weight, torch.from_numpy(direction)).backward()
    np.testing.assert_allclose(p.g.grad.numpy(), q.original0.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(p.v.grad.numpy(), q.original1.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("axis", [0, 1])
def test_spectral_norm(axis):
    ours, theirs = twins()
    direction = np.random.default_rng(0).normal(size=(5, 3))
    parametrize(ours, "weight", SpectralNorm(2, axis))
    reference.spectral_norm(theirs, n_power_iterations=2, dim=axis)
    p, q = ours.parametrizations["weight"], theirs.parametrizations.weight
    p.u.data, p.v.data = q[0]._u.numpy().copy(), q[0]._v.numpy().copy()
    for _ in range(3):
        mine, other = ours.weight, theirs.weight
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(p.u.data, q[0]._u.numpy(), rtol=1e-12)
    loss(mine, direction).backward()
    loss(other, torch.from_numpy(direction)).backward()
    np.testing.assert_allclose(p.original.grad.numpy(), q.original.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", ["cayley", "matrix_exp"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_orthogonal(kind, shape):
    ours, theirs = twins(shape)
    rng = np.random.default_rng(0)
    direction, x = rng.normal(size=shape), rng.normal(size=shape)
    parametrize(ours, "weight", Orthogonal(kind))
    start = ours.weight.detach().numpy().copy()
    reference.orthogonal(theirs, orthogonal_map=kind)
    np.testing.assert_allclose(start, theirs.weight.detach().numpy(), atol=1e-12)
    p, q = ours.parametrizations["weight"], theirs.parametrizations.weight
    p.base.data = q[0].base.numpy().copy()
    p.original.data[...] = x
    with torch.no_grad():
        q.original.copy_(torch.from_numpy(x))
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), atol=1e-12)
    loss(ours.weight, direction).backward()
    loss(theirs.weight, torch.from_numpy(direction)).backward()
    np.testing.assert_allclose(p.original.grad.numpy(), q.original.grad.numpy(), rtol=1e-10, atol=1e-11)


def test_symmetric():
    class Mirror(torch.nn.Module):  # the example of PyTorch's tutorial
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(-1, -2)

    ours, theirs = twins((4, 4))
    direction = np.random.default_rng(0).normal(size=(4, 4))
    parametrize(ours, "weight", Symmetric())
    torch.nn.utils.parametrize.register_parametrization(theirs, "weight", Mirror())
    np.testing.assert_array_equal(ours.weight.detach().numpy(), theirs.weight.detach().numpy())
    loss(ours.weight, direction).backward()
    loss(theirs.weight, torch.from_numpy(direction)).backward()
    np.testing.assert_allclose(
        ours.parametrizations["weight"].original.grad.numpy(),
        theirs.parametrizations.weight.original.grad.numpy(),
        rtol=1e-12,
    )
