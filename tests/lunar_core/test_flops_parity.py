"""Arithmetic of products and convolutions against PyTorch's flop counter: equal."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.utils.flop_counter import FlopCounterMode

import lunar_core as lc
from lunar_core import ops

pytestmark = pytest.mark.parity
N = torch.nn.functional

CASES = {
    "matmul": (lambda x, y: x @ y, lambda x, y: x @ y, [(2, 5, 3), (2, 3, 4)]),
    "linear": (ops.linear, N.linear, [(6, 3), (4, 3), (4,)]),
    "conv1d": (lambda x, w: ops.conv1d(x, w, stride=2), lambda x, w: N.conv1d(x, w, stride=2), [(2, 4, 9), (6, 4, 3)]),
    "conv2d": (
        lambda x, w: ops.conv2d(x, w, stride=2, padding=1, groups=2),
        lambda x, w: N.conv2d(x, w, stride=2, padding=1, groups=2),
        [(2, 4, 9, 8), (6, 2, 3, 3)],
    ),
    "conv3d": (ops.conv3d, N.conv3d, [(1, 2, 5, 5, 5), (3, 2, 2, 3, 2)]),
    "conv_transpose2d": (
        lambda x, w: ops.conv_transpose2d(x, w, stride=2),
        lambda x, w: N.conv_transpose2d(x, w, stride=2),
        [(2, 3, 5, 5), (3, 4, 3, 3)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_products_are_counted_as_pytorch_counts_them(name):
    own, theirs, shapes = CASES[name]
    arrays = [np.ones(shape, np.float32) for shape in shapes]

    class Applied(lc.Module):
        def forward(self, *xs):
            return own(*xs)

    counter = FlopCounterMode(display=False)
    with counter:
        theirs(*map(torch.tensor, arrays))
    assert lc.summary(Applied(), *map(lc.tensor, arrays)).total["flops"] == counter.get_total_flops() > 0
