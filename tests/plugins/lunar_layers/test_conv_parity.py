"""Conv2D against torch.nn.Conv2d: values and all gradients."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

from lunar_layers.conv import Conv2D

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity

CASES = [
    (1, 3, 3, {}),
    (3, 4, 3, {"padding": 1}),
    (3, 4, 3, {"padding": "same"}),
    (2, 4, (2, 4), {"padding": "same"}),
    (2, 4, (3, 2), {"stride": (2, 1), "padding": (1, 0)}),
    (4, 6, 3, {"groups": 2, "padding": 1}),
    (4, 8, 3, {"groups": 4, "stride": 2}),
    (2, 3, 3, {"dilation": 2, "padding": "same"}),
    (2, 3, (2, 3), {"dilation": (2, 1), "stride": 2, "padding": (2, 1)}),
    (5, 2, 1, {}),
    (5, 2, 1, {"stride": 2}),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels, out, kernel, options", CASES)
def test_values_and_gradients_agree_in_float64(channels, out, kernel, options, bias):
    twin = torch.nn.Conv2d(channels, out, kernel, bias=bias, dtype=torch.float64, **options)
    x = np.random.default_rng(0).normal(size=(3, channels, 9, 8))
    assert_twins(Conv2D(out, kernel, use_bias=bias, **options), twin, x)


def test_values_and_gradients_agree_for_channels_last_memory():
    x = np.random.default_rng(0).normal(size=(3, 9, 8, 4)).transpose(0, 3, 1, 2)
    assert_twins(Conv2D(6, 3, padding=1), torch.nn.Conv2d(4, 6, 3, padding=1, dtype=torch.float64), x)


def test_values_and_gradients_agree_in_float32():
    x = np.random.default_rng(0).normal(size=(8, 16, 14, 14)).astype(np.float32)
    assert_twins(Conv2D(32, 3, padding="same"), torch.nn.Conv2d(16, 32, 3, padding="same"), x, rtol=1e-3, atol=1e-4)


def test_same_with_a_stride_is_tensorflows_rule():
    """Odd totals go to the bottom and right: for 8 rows, kernel 3, stride 2 that is (0, 1)."""
    layer = Conv2D(2, 3, stride=2, padding="same")
    x = np.random.default_rng(0).normal(size=(1, 1, 8, 7))
    y = layer(x).detach().numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (1, 1)))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(padded), torch.from_numpy(layer.weight.detach().numpy()), stride=2
    )
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-12)
