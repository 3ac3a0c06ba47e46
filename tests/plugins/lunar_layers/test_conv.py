"""Conv2D: shapes, building, dtypes, errors. The numbers are held against PyTorch in the parity file."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError, NotBuiltError, ShapeError
from lunar_layers.conv import Conv2D
from lunar_layers.initializers import Constant, Ones


def test_the_channels_are_learned_from_the_first_call():
    layer = Conv2D(5, 3)
    with pytest.raises(NotBuiltError):
        list(layer.parameters())
    assert layer(lc.ones((2, 3, 6, 7))).shape == (2, 5, 4, 5)
    assert {n: p.shape for n, p in layer.named_parameters()} == {"weight": (5, 3, 3, 3), "bias": (5,)}
    assert layer.in_channels == 3


def test_in_channels_builds_at_once():
    layer = Conv2D(6, (3, 1), in_channels=4, groups=2, use_bias=False)
    assert {n: p.shape for n, p in layer.named_parameters()} == {"weight": (6, 2, 3, 1)}


@pytest.mark.parametrize(
    "options, size",
    [
        ({}, (6, 5)), ({"padding": 1}, (8, 7)), ({"padding": (0, 2)}, (6, 9)), ({"padding": ((0, 1), (2, 0))}, (7, 7)),
        ({"padding": "same"}, (8, 7)), ({"padding": "valid"}, (6, 5)), ({"padding": "same", "stride": 2}, (4, 4)),
        ({"stride": 2}, (3, 3)), ({"stride": (3, 1)}, (2, 5)), ({"dilation": 2}, (4, 3)),
        ({"dilation": (3, 1), "padding": "same"}, (8, 7)),
    ],
)  # fmt: skip
def test_the_output_size_follows_the_formula(options, size):
    assert Conv2D(2, 3, **options)(lc.ones((1, 1, 8, 7))).shape == (1, 2, *size)


def test_an_identity_kernel_gives_the_input_back():
    layer = Conv2D(1, 3, padding="same", weight_init=Constant(0), in_channels=1)
    with lc.no_grad():
        layer.weight[0, 0, 1, 1] = 1
    x = np.random.default_rng(0).normal(size=(2, 1, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(layer(x).detach().numpy(), x, rtol=1e-6)


def test_groups_see_their_own_channels_only():
    layer = Conv2D(2, 1, groups=2, weight_init=Ones())
    x = np.zeros((1, 4, 2, 2), np.float32)
    x[:, :2] = 3
    y = layer(x).detach().numpy()
    np.testing.assert_array_equal(y[:, 0], 6)
    np.testing.assert_array_equal(y[:, 1], 0)


def test_the_fan_of_the_start_counts_the_kernel_and_the_group():
    layer = Conv2D(512, 5, in_channels=16, groups=2)
    assert layer.weight.detach().numpy().std() == pytest.approx((2 / (8 * 25)) ** 0.5, rel=0.02)
    assert not layer.bias.detach().numpy().any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_take_the_dtype_of_the_first_input(dtype):
    layer = Conv2D(2, 3)
    assert layer(np.ones((1, 1, 4, 4), dtype)).dtype == dtype
    assert {p.dtype for p in layer.parameters()} == {np.dtype(dtype)}


def test_a_built_layer_promotes_another_dtype():
    assert Conv2D(2, 3, in_channels=1)(np.ones((1, 1, 4, 4))).dtype == np.float64


def test_images_without_a_channel_axis_are_told_about_nchw():
    message = (
        r"Conv2D expects NCHW inputs \(batch, channels, height, width\), got \(32, 28, 28\)\n(.*\n)?.*x\[:, None\]"
    )
    with pytest.raises(ShapeError, match=message):
        Conv2D(2, 3)(lc.ones((32, 28, 28)))
    with pytest.raises(ShapeError, match="NCHW"):
        Conv2D(2, 3, in_channels=1)(lc.ones((32, 784)))


def test_channels_that_come_last_are_recognised():
    layer = Conv2D(2, 3, in_channels=3)
    with pytest.raises(
        ShapeError, match=r"3 channels on axis 1 \(weight is \(2, 3, 3, 3\)\), got \(1, 8, 8, 3\)\n(.*\n)?.*NHWC"
    ):
        layer(lc.ones((1, 8, 8, 3)))
    with pytest.raises(ShapeError, match="3 channels") as caught:
        layer(lc.ones((1, 4, 8, 8)))
    assert "NHWC" not in str(caught.value)


def test_uint8_images_are_one_clear_error_and_build_nothing():
    layer = Conv2D(2, 3)
    with pytest.raises(DTypeError, match="Conv2D expects floating-point inputs, got uint8"):
        layer(np.zeros((1, 1, 8, 8), np.uint8))
    assert not layer.built


def test_a_kernel_larger_than_the_image_is_an_error():
    with pytest.raises(ShapeError, match="kernel"):
        Conv2D(2, 5)(lc.ones((1, 1, 4, 8)))


def test_bad_hyperparameters_are_named():
    for options, message in [
        ({"padding": "full"}, "padding must be .*'same', 'valid'"),
        ({"padding": -1}, "padding"),
        ({"stride": 0}, "stride must be .*> 0"),
        ({"stride": (1, 2, 3)}, "stride"),
        ({"dilation": 1.5}, "dilation"),
        ({"groups": 3}, "groups must be a divisor of out_channels, 4, got 3"),
        ({"groups": 2, "in_channels": 3}, "groups must be a divisor of in_channels, 3"),
        ({"bias": False}, "use_bias"),
    ]:
        with pytest.raises(HyperparameterError, match=message):
            Conv2D(4, 3, **options)
    with pytest.raises(HyperparameterError, match="kernel_size"):
        Conv2D(4, (3, 0))
    with pytest.raises(HyperparameterError):  # PyTorch's order, Conv2d(in, out, kernel)
        Conv2D(1, 16, 3)
    with pytest.raises(HyperparameterError, match="divisor of the 3 channels"):
        Conv2D(4, 3, groups=2)(lc.ones((1, 3, 8, 8)))


def test_lists_as_from_a_configuration_become_tuples():
    layer = Conv2D(2, [3, 1], padding=[[1, 0], [0, 0]], stride=[1, 2])
    assert (layer.kernel_size, layer.padding, layer.stride) == ((3, 1), ((1, 0), (0, 0)), (1, 2))


def test_an_empty_batch_gives_an_empty_result():
    assert Conv2D(2, 3)(lc.ones((0, 1, 5, 5))).shape == (0, 2, 3, 3)


def test_a_deep_copy_and_the_configuration_give_the_same_layer():
    layer = Conv2D(2, 3, padding="same")
    x = lc.ones((1, 2, 4, 4))
    y = layer(x).detach().numpy()
    np.testing.assert_array_equal(copy.deepcopy(layer)(x).detach().numpy(), y)
    again = Conv2D.from_config_fields(**layer.config())
    again.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(again(x).detach().numpy(), y)
    assert repr(again) == "Conv2D(out_channels=2, kernel_size=3, padding='same', in_channels=2)"
