"""Activations against PyTorch, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

from lunar_activations.elu import ELU
from lunar_activations.gelu import GELU
from lunar_activations.relu import LeakyReLU, ReLU
from lunar_activations.sigmoid import Sigmoid, Tanh
from lunar_activations.softmax import Softmax

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

PAIRS = [
    (ReLU(), nn.ReLU()),
    (LeakyReLU(), nn.LeakyReLU()),
    (LeakyReLU(0.2), nn.LeakyReLU(0.2)),
    (LeakyReLU(-0.5), nn.LeakyReLU(-0.5)),
    (ELU(), nn.ELU()),
    (ELU(0.7), nn.ELU(0.7)),
    (GELU(), nn.GELU()),
    (GELU(approximate="tanh"), nn.GELU(approximate="tanh")),
    (Tanh(), nn.Tanh()),
    (Sigmoid(), nn.Sigmoid()),
    (Softmax(), nn.Softmax(-1)),
    (Softmax(1), nn.Softmax(1)),
]


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_values_and_gradients_agree_in_float64(ours, theirs):
    rng = np.random.default_rng(0)
    for shape in [(5,), (4, 7), (2, 3, 4, 5)]:
        if not (isinstance(ours, Softmax) and ours.axis >= len(shape)):
            assert_twins(ours, theirs, rng.normal(0, 3, shape))


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_values_and_gradients_agree_in_float32(ours, theirs):
    x = np.random.default_rng(1).normal(0, 3, (6, 9)).astype(np.float32)
    assert_twins(ours, theirs, x, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=lambda v: getattr(v, "__name__", repr(v)))
def test_the_slope_at_zero_is_pytorchs(ours, theirs):
    assert_twins(ours, theirs, np.zeros((2, 3)))
