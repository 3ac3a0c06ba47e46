"""Functions composed of several ops agree with PyTorch's, forward and gradient, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from composed_ops_more import ROWS

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity

WITH_TORCH = [row for row in ROWS if row.torch is not None]


def as_tuple(out):
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


def weighed(parts, module):
    """One number from several results, each weighed by fixed numbers."""
    total = 0.0
    for i, part in enumerate(parts):
        seed = module(np.random.default_rng(i).uniform(0.5, 1.5, tuple(part.shape)))
        total = (
            total + (part.real * seed + part.imag * (2 - seed) if "complex" in str(part.dtype) else part * seed).sum()
        )
    return total


@pytest.mark.parametrize("row", WITH_TORCH, ids=[row.name for row in WITH_TORCH])
def test_agrees_with_pytorch(row):
    ours = [lc.tensor(a, requires_grad=a.dtype.kind in "fc") for a in row.arrays]
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind in "fc") for a in row.arrays]
    got, expected = as_tuple(row.ours(ops, *ours)), as_tuple(row.torch(torch, *theirs))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().resolve_conj().numpy(), rtol=1e-10, atol=1e-12)
    weighed(got, lc.tensor).backward()
    weighed(expected, torch.tensor).backward()
    for x, t in zip(ours, theirs):
        if x.requires_grad:
            np.testing.assert_allclose(x.grad.numpy(), t.grad.resolve_conj().numpy(), rtol=1e-9, atol=1e-11)
