"""Embedding against torch.nn.Embedding."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

from lunar_layers.embedding import Embedding

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("padding_idx", [None, 0, 3])
@pytest.mark.parametrize("shape", [(5,), (2, 400)])
def test_values_and_gradients_agree(shape, padding_idx):
    x = np.random.default_rng(0).integers(0, 10, shape)
    layer = Embedding(10, 4, padding_idx=padding_idx).astype("float64")
    assert_twins(layer, torch.nn.Embedding(10, 4, padding_idx=padding_idx, dtype=torch.float64), x)
