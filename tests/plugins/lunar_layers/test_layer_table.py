"""What every layer of images, sequences and volumes does alike: one row each.

Configuration and state go round, copies compute the same, the dtype stays, evaluation repeats itself, an unbuilt layer
learns its sizes from the first call, and all of it runs on a device that refuses NumPy arrays.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, NotBuiltError, ShapeError
from lunar_core.testing.fake_device import FakeArray, fake_device

L = lc.layers
LINE, IMAGE, VOLUME, VECTOR = (3, 4, 9), (2, 4, 8, 6), (2, 4, 4, 5, 6), (5, 4)

# name: (constructor of a variant that shows in the configuration, shape of the input)
ROWS = {
    "identity": (L.Identity, IMAGE),
    "unflatten": (lambda: L.Unflatten(1, (2, 2)), IMAGE),
    "reshape": (lambda: L.Reshape((8, -1)), IMAGE),
    "permute": (lambda: L.Permute((0, 2, 3, 1)), IMAGE),
    "concat": (lambda: L.Concat(2), IMAGE),
    "add": (L.Add, IMAGE),
    "crop2d": (lambda: L.Crop2D(((1, 0), (2, 1))), IMAGE),
    "pad1d": (lambda: L.Pad1D((1, 2), "reflect"), LINE),
    "pad2d": (lambda: L.Pad2D((1, 2), "circular"), IMAGE),
    "pad3d": (lambda: L.Pad3D(1, value=2.0), VOLUME),
    "upsample": (lambda: L.Upsample(2, mode="bilinear"), IMAGE),
    "pixel_shuffle": (lambda: L.PixelShuffle(2), IMAGE),
    "pixel_unshuffle": (lambda: L.PixelUnshuffle(2), IMAGE),
    "conv1d": (lambda: L.Conv1D(3, 3, padding=(2, 0)), LINE),
    "conv2d": (lambda: L.Conv2D(3, 3, padding="same", padding_mode="reflect"), IMAGE),
    "conv3d": (lambda: L.Conv3D(2, 3, padding=1, groups=2), VOLUME),
    "conv_transpose1d": (lambda: L.ConvTranspose1D(3, 3, stride=2, output_padding=1), LINE),
    "conv_transpose2d": (lambda: L.ConvTranspose2D(3, 4, stride=2, padding="same"), IMAGE),
    "conv_transpose3d": (lambda: L.ConvTranspose3D(2, 2, stride=2), VOLUME),
    "depthwise_conv2d": (lambda: L.DepthwiseConv2D(3, 2, padding=1), IMAGE),
    "separable_conv2d": (lambda: L.SeparableConv2D(3, 3, depth_multiplier=2), IMAGE),
    "locally_connected2d": (lambda: L.LocallyConnected2D(3, 3, stride=2), IMAGE),
    "max_pool1d": (lambda: L.MaxPool1D(2), LINE),
    "max_pool2d": (lambda: L.MaxPool2D(3, 2, padding=1), IMAGE),
    "max_pool3d": (lambda: L.MaxPool3D(2, ceil_mode=True), VOLUME),
    "avg_pool1d": (lambda: L.AvgPool1D(3, 2, padding=1), LINE),
    "avg_pool2d": (lambda: L.AvgPool2D(2), IMAGE),
    "avg_pool3d": (lambda: L.AvgPool3D((1, 2, 3)), VOLUME),
    "lp_pool1d": (lambda: L.LPPool1D(2.0, 3), LINE),
    "lp_pool2d": (lambda: L.LPPool2D(2.0, (2, 3), 2), IMAGE),
    "lp_pool3d": (lambda: L.LPPool3D(4.0, 2), VOLUME),
    "adaptive_avg_pool1d": (lambda: L.AdaptiveAvgPool1D(4), LINE),
    "adaptive_avg_pool2d": (lambda: L.AdaptiveAvgPool2D((3, None)), IMAGE),
    "adaptive_avg_pool3d": (lambda: L.AdaptiveAvgPool3D(2), VOLUME),
    "adaptive_max_pool1d": (lambda: L.AdaptiveMaxPool1D(4), LINE),
    "adaptive_max_pool2d": (lambda: L.AdaptiveMaxPool2D((3, None)), IMAGE),
    "adaptive_max_pool3d": (lambda: L.AdaptiveMaxPool3D(2), VOLUME),
    "global_average_pool": (L.GlobalAveragePool, VOLUME),
    "global_max_pool": (lambda: L.GlobalMaxPool(True), IMAGE),
    "batch_norm1d": (L.BatchNorm1D, VECTOR),
    "batch_norm2d": (lambda: L.BatchNorm2D(momentum=None), IMAGE),
    "batch_norm3d": (lambda: L.BatchNorm3D(affine=False), VOLUME),
    "layer_norm": (L.LayerNorm, IMAGE),
    "group_norm": (lambda: L.GroupNorm(2), IMAGE),
    "instance_norm": (lambda: L.InstanceNorm(affine=True, track_running_stats=True), IMAGE),
    "rms_norm": (L.RMSNorm, VECTOR),
    "scale_norm": (L.ScaleNorm, VECTOR),
    "local_response_norm": (lambda: L.LocalResponseNorm(3, 0.1), IMAGE),
    "global_response_norm": (lambda: L.GlobalResponseNorm(weight_init="ones"), IMAGE),
    "spatial_dropout1d": (lambda: L.SpatialDropout1D(0.3), LINE),
    "spatial_dropout2d": (lambda: L.SpatialDropout2D(0.3), IMAGE),
    "spatial_dropout3d": (lambda: L.SpatialDropout3D(0.3), VOLUME),
    "alpha_dropout": (lambda: L.AlphaDropout(0.3), VECTOR),
    "drop_connect": (lambda: L.DropConnect(3, p=0.3, per_example=True), VECTOR),
    "drop_block": (lambda: L.DropBlock(0.3, 3), IMAGE),
    "drop_path": (lambda: L.DropPath(0.3, "batch"), IMAGE),
    "shake_drop": (lambda: L.ShakeDrop(0.3, (-0.5, 1.0), level="channel"), IMAGE),
    "gaussian_noise": (lambda: L.GaussianNoise(0.3), VECTOR),
    "gaussian_dropout": (lambda: L.GaussianDropout(0.3), VECTOR),
    "basic_block": (lambda: L.BasicBlock(6, 2, norm=L.GroupNorm(2), attention="se_block"), IMAGE),
    "bottleneck": (lambda: L.Bottleneck(8, activation="gelu", drop_path=0.2), IMAGE),
    "pre_act_block": (lambda: L.PreActBlock(6), IMAGE),
    "wide_block": (lambda: L.WideBlock(3, widen=2, dropout=0.3), IMAGE),
    "resnext_block": (lambda: L.ResNeXtBlock(64, groups=2, zero_init=True), IMAGE),
    "se_block": (lambda: L.SEBlock(2, gate="hardsigmoid"), IMAGE),
    "cbam": (lambda: L.CBAM(2, kernel_size=3), IMAGE),
    "mb_conv": (lambda: L.MBConv(4, expand_ratio=2), IMAGE),
    "fused_mb_conv": (lambda: L.FusedMBConv(6, 2, activation="hardswish"), IMAGE),
    "inverted_residual": (lambda: L.InvertedResidual(4, norm=None), IMAGE),
    "convnext_block": (lambda: L.ConvNeXtBlock(3, layer_scale_init=0.1, drop_path=0.1), IMAGE),
    "inception_v1_block": (lambda: L.InceptionV1Block(2, 3, 4, 1, 2, 3, norm=L.BatchNorm2D(eps=1e-3)), IMAGE),
    "inception_v2_block": (lambda: L.InceptionV2Block(0, 3, 4, 1, 2, 0, stride=2), IMAGE),
    "inception_resnet_block": (lambda: L.InceptionResNetBlock("b", width=0.05), IMAGE),
}  # fmt: skip
SEVERAL = {"concat", "add"}
STATISTICS = {"batch_norm1d", "batch_norm2d", "batch_norm3d", "instance_norm"}
RANDOM = {
    "spatial_dropout1d", "spatial_dropout2d", "spatial_dropout3d", "alpha_dropout", "drop_connect", "drop_block",
    "drop_path", "shake_drop", "gaussian_noise", "gaussian_dropout",
}  # fmt: skip


def values(name, dtype="float32"):
    return np.random.default_rng(1).normal(size=ROWS[name][1]).astype(dtype)


def call(layer, name, x):
    return layer(x, x) if name in SEVERAL else layer(x)


def of(y):
    return y.detach().numpy()


@pytest.mark.parametrize("name", ROWS)
def test_the_configuration_goes_round_before_and_after_building(name):
    layer = ROWS[name][0]()
    for _ in range(2):
        config = lc.to_config(layer)
        assert config["@layer"] == name
        again = lc.from_config(config)
        assert lc.to_config(again) == config
        assert again.fields_repr() == layer.fields_repr()
        call(layer.eval(), name, lc.tensor(values(name)))


@pytest.mark.parametrize("name", ROWS)
def test_state_and_copies_go_round_and_evaluation_repeats_itself(name):
    layer, x = ROWS[name][0](), lc.tensor(values(name))
    call(layer, name, x)  # statistics move
    layer.eval()
    expected = of(call(layer, name, x))
    np.testing.assert_array_equal(of(call(layer, name, x)), expected)
    np.testing.assert_array_equal(of(call(copy.deepcopy(layer), name, x)), expected)
    again = lc.from_config(lc.to_config(layer)).eval()
    call(again, name, x)
    again.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(of(call(again, name, x)), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_parameters_and_results_have_the_dtype_of_the_first_input(name, dtype):
    layer = ROWS[name][0]()
    y = call(layer, name, lc.tensor(values(name, dtype)))
    assert y.dtype == dtype
    assert {p.dtype for p in layer.parameters()} <= {np.dtype(dtype)}
    call(layer.eval(), name, lc.tensor(values(name, dtype)))
    raw = call(layer, name, values(name, dtype))
    assert getattr(raw, "dtype", None) == dtype


@pytest.mark.parametrize("name", ROWS)
def test_half_precision_stays_near_the_double_one_forward_and_backward(name):
    layer = ROWS[name][0]().eval()
    expected = of(call(layer, name, lc.tensor(values(name, "float64"))))
    half = copy.deepcopy(layer).astype("float16")
    y = call(half, name, lc.tensor(values(name, "float16")))
    assert y.dtype == np.float16
    np.testing.assert_allclose(of(y).astype(float), expected, atol=2e-2 * np.abs(expected).max())
    x = lc.tensor(values(name, "float16"), requires_grad=True)
    call(half.train(), name, x).sum().backward()
    assert x.grad.dtype == np.float16
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("name", ROWS)
def test_a_layer_built_on_a_device_computes_there_what_it_computes_on_the_host(name):
    if name in RANDOM or "drop_path" in lc.to_config(ROWS[name][0]()) or name == "wide_block":
        make = lambda: ROWS[name][0]().eval()  # noqa: E731 - the device has numbers of its own
    else:
        make = ROWS[name][0]
    lc.seed(0)
    host = make()
    expected = call(host, name, lc.tensor(values(name), requires_grad=True))
    expected.square().sum().backward()
    lc.seed(0)
    with fake_device() as device:
        layer = make()
        x = lc.Tensor(FakeArray(values(name)), requires_grad=True)
        if name in STATISTICS:
            call(layer, name, x)  # counts its batches on the host
            layer, x = make(), lc.Tensor(FakeArray(values(name)), requires_grad=True)
            lc.seed(0)
        before = device.synchronizations
        y = call(layer, name, x)
        y.square().sum().backward()
        assert device.synchronizations == before or name in STATISTICS
        assert isinstance(y.data, FakeArray)
        np.testing.assert_allclose(y.data._a, expected.data, rtol=1e-4, atol=1e-5)
        for (key, p), (_, q) in zip(layer.named_parameters(), host.named_parameters()):
            np.testing.assert_allclose(p.grad.data._a, q.grad.data, rtol=2e-3, atol=2e-3, err_msg=key)


LEARNED = [n for n in ROWS if n.startswith(("conv", "depthwise", "separable", "locally", "batch", "group", "instance",
           "rms", "scale", "global_resp", "basic", "bottle", "pre", "wide", "resn", "se_", "cbam", "mb", "fused",
           "inverted", "inception", "drop_connect"))]  # fmt: skip


@pytest.mark.parametrize("name", LEARNED)
def test_sizes_are_learned_from_the_first_call_and_integers_build_nothing(name):
    layer = ROWS[name][0]()
    assert not layer.built
    with pytest.raises(NotBuiltError):
        layer.state_dict()
    with pytest.raises(DTypeError, match=f"{type(layer).__name__} expects floating-point inputs, got int64"):
        layer(np.ones(ROWS[name][1], np.int64))
    assert not layer.built
    call(layer, name, lc.tensor(values(name)))
    assert layer.built
    layer.state_dict()


@pytest.mark.parametrize("name", [n for n in LEARNED if n not in ("rms_norm", "scale_norm", "drop_connect")])
def test_other_channels_than_those_that_were_learned_are_named(name):
    layer = ROWS[name][0]()
    call(layer, name, lc.tensor(values(name)))
    wrong = np.ones((2, 5, *ROWS[name][1][2:]), np.float32)
    with pytest.raises(ShapeError, match=f"{type(layer).__name__} expects .*4.*got \\(2, 5"):
        layer(wrong)


@pytest.mark.parametrize("name", [n for n in LEARNED if len(ROWS[n][1]) > 2 and n not in ("group_norm", "layer_norm")])
def test_inputs_without_the_axes_of_a_grid_are_named(name):
    layer = ROWS[name][0]()
    with pytest.raises(ShapeError, match=f"{type(layer).__name__} expects"):
        layer(np.ones((3, 4), np.float32))
    assert not layer.built
