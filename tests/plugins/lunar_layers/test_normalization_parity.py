"""Normalisation layers against PyTorch: values, gradients, running statistics."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

from lunar_layers.normalization import BatchNorm2D, LayerNorm

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity


def randomised(twin):
    """The twin with a scale and shift that are no longer ones and zeros."""
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.normal_()
    return twin


OPTIONS = [{}, {"eps": 1e-2}, {"momentum": 0.3}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda v: getattr(v, "__name__", repr(v)))
@pytest.mark.parametrize("channels_last", [False, True])
def test_three_training_batches_and_an_evaluation_agree(options, channels_last):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    layer, twin = BatchNorm2D(**options), randomised(nn.BatchNorm2d(4, dtype=torch.float64, **options))
    for _ in range(3):
        x = rng.normal(1, 2, (5, 3, 2, 4)).transpose(0, 3, 1, 2) if channels_last else rng.normal(1, 2, (5, 4, 3, 2))
        layer.zero_grad() if layer.built else None
        twin.zero_grad()
        assert_twins(layer, twin, x)
    layer.eval()
    layer.zero_grad()
    twin.eval()
    twin.zero_grad()
    assert_twins(layer, twin, rng.normal(size=(2, 4, 3, 3)))


@pytest.mark.parametrize("shape", [7, (3, 7), (5, 3, 7)], ids=lambda v: getattr(v, "__name__", str(v)))
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 1e-2}],
    ids=lambda v: getattr(v, "__name__", repr(v)),
)
def test_layer_norm_agrees(shape, options):
    torch.manual_seed(0)
    twin = randomised(nn.LayerNorm(shape, dtype=torch.float64, **options))
    names = {"bias": "use_bias", "elementwise_affine": "affine", "eps": "eps"}
    layer = LayerNorm(shape, **{names[k]: v for k, v in options.items()}).astype("float64")
    assert_twins(layer, twin, np.random.default_rng(0).normal(1, 2, (2, 5, 3, 7)))


def test_both_agree_in_float32():
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (16, 8, 6, 6)).astype(np.float32)
    assert_twins(BatchNorm2D(), nn.BatchNorm2d(8), x, rtol=1e-3, atol=1e-5)
    assert_twins(LayerNorm(), nn.LayerNorm(6), x, rtol=1e-3, atol=1e-5)
