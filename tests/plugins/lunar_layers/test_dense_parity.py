"""Dense against torch.nn.Linear."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

from lunar_layers.dense import Dense, Linear

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4)])
def test_values_and_gradients_agree_in_float64(shape, bias):
    x = np.random.default_rng(0).normal(size=shape)
    for layer in (Dense(5, use_bias=bias), Linear(4, 5, use_bias=bias).astype("float64")):
        assert_twins(layer, torch.nn.Linear(4, 5, bias=bias, dtype=torch.float64), x)


def test_values_and_gradients_agree_in_float32():
    x = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    assert_twins(Dense(16), torch.nn.Linear(64, 16), x, rtol=1e-4, atol=1e-5)
