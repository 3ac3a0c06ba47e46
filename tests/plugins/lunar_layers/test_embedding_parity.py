"""Embedding and EmbeddingBag against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins, torch_state

import lunar_core as lc
from lunar_layers.embedding import Embedding, EmbeddingBag

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("padding_idx", [None, 0, 3])
@pytest.mark.parametrize("shape", [(5,), (2, 400)])
def test_values_and_gradients_agree(shape, padding_idx):
    x = np.random.default_rng(0).integers(0, 10, shape)
    layer = Embedding(10, 4, padding_idx=padding_idx).astype("float64")
    assert_twins(layer, torch.nn.Embedding(10, 4, padding_idx=padding_idx, dtype=torch.float64), x)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5])
def test_rows_are_shortened_to_max_norm(norm_type):
    x = np.random.default_rng(0).integers(0, 10, (6,))
    options = {"max_norm": 0.8, "norm_type": norm_type}
    twin = torch.nn.Embedding(10, 4, dtype=torch.float64, **options)
    layer = Embedding(10, 4, **options).astype("float64")
    before = torch_state(twin)["weight"]
    assert_twins(layer, twin, x)
    assert (torch_state(twin)["weight"] != before).any()


@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("max_norm", [None, 1.2])
@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
@pytest.mark.parametrize("given", ["rows", "offsets", "last-offset", "weights"])
def test_bags_agree(given, mode, max_norm, padding_idx):
    if given == "weights" and mode != "sum":
        pytest.skip("weights go with sums")
    rng = np.random.default_rng(1)
    options = {"mode": mode, "padding_idx": padding_idx, "max_norm": max_norm}
    if given == "last-offset":
        options["include_last_offset"] = True
    twin = torch.nn.EmbeddingBag(10, 4, dtype=torch.float64, **options)
    layer = EmbeddingBag(10, 4, **options).astype("float64")
    layer.load_state_dict(torch_state(twin))
    x = rng.integers(0, 10, (5, 6)) if given in ("rows", "weights") else rng.integers(0, 10, 9)
    if given == "rows":
        y, t = layer(x), twin(torch.tensor(x))
    elif given == "weights":
        weights = rng.normal(size=(5, 6))
        ours, theirs = lc.tensor(weights, requires_grad=True), torch.tensor(weights, requires_grad=True)
        y, t = layer(x, per_sample_weights=ours), twin(torch.tensor(x), per_sample_weights=theirs)
    else:
        offsets = np.array([0, 2, 2, 7] + ([9] if given == "last-offset" else []))
        y, t = layer(x, offsets), twin(torch.tensor(x), torch.tensor(offsets))
    np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), rtol=1e-9, atol=1e-13)
    cotangent = rng.normal(size=y.shape)
    y.backward(lc.tensor(cotangent))
    t.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(layer.weight.grad.numpy(), twin.weight.grad.numpy(), rtol=1e-9, atol=1e-13)
    if given == "weights":
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(layer.weight.detach().numpy(), twin.weight.detach().numpy(), rtol=1e-12)
