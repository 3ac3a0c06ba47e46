"""Pooling against PyTorch: values and gradients, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

from lunar_layers.adaptive_pooling import GlobalAveragePool
from lunar_layers.pooling import AvgPool2D, MaxPool2D

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

PAIRS = [
    (MaxPool2D(2), nn.MaxPool2d(2)),
    (MaxPool2D(3, 2), nn.MaxPool2d(3, 2)),
    (MaxPool2D((2, 3), (1, 2), padding=(1, 1)), nn.MaxPool2d((2, 3), (1, 2), (1, 1))),
    (MaxPool2D(3, 2, padding=1, ceil_mode=True), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    (MaxPool2D(2, 2, dilation=2), nn.MaxPool2d(2, 2, dilation=2)),
    (AvgPool2D(2), nn.AvgPool2d(2)),
    (AvgPool2D(3, 2, padding=1), nn.AvgPool2d(3, 2, 1)),
    (AvgPool2D(3, 2, padding=1, count_include_pad=False), nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    (AvgPool2D(2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)),
    (AvgPool2D(3, 2, padding=1, ceil_mode=True), nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
    (GlobalAveragePool(keepdims=True), nn.AdaptiveAvgPool2d(1)),
]


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=lambda v: getattr(v, "__name__", repr(v)))
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 1, 7, 9), (2, 5, 6, 5)])
def test_values_and_gradients_agree(ours, theirs, shape):
    assert_twins(ours, theirs, np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("ours, theirs", PAIRS[:5], ids=lambda v: getattr(v, "__name__", repr(v)))
def test_equal_values_share_the_gradient_as_in_pytorch(ours, theirs):
    assert_twins(ours, theirs, np.random.default_rng(0).integers(0, 2, (2, 3, 8, 8)).astype(float))
