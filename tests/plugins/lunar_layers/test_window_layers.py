"""Convolutions, pooling, norms and blocks of all dimensions: building, hyperparameters, errors that PyTorch cannot judge."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, IndexingError, ShapeError
from lunar_layers.adaptive_pooling import AdaptiveAvgPool2D, AdaptiveMaxPool3D, GlobalAveragePool, GlobalMaxPool
from lunar_layers.channel_attention import SEBlock
from lunar_layers.conv import Conv1D, Conv2D, Conv3D
from lunar_layers.conv_transpose import ConvTranspose1D, ConvTranspose2D
from lunar_layers.group_norm import GroupNorm, InstanceNorm
from lunar_layers.inception_blocks import InceptionResNetBlock, InceptionV2Block
from lunar_layers.locally_connected import LocallyConnected2D
from lunar_layers.mobile_blocks import InvertedResidual, MBConv, divisible
from lunar_layers.normalization import BatchNorm1D, BatchNorm3D
from lunar_layers.pooling import AvgPool1D, LPPool2D, MaxPool1D, MaxPool2D, MaxPool3D, MaxUnpool2D
from lunar_layers.resnet_blocks import BasicBlock, Bottleneck, ResNeXtBlock
from lunar_layers.scale_norms import RMSNorm, ScaleNorm
from lunar_layers.separable_conv import DepthwiseConv2D, SeparableConv2D

X = np.random.default_rng(0).normal(size=(2, 4, 8, 6)).astype(np.float32)

BAD = {
    "conv1d_kernel": (lambda: Conv1D(3, (3, 3)), "Conv1D: kernel_size must be one int, or 1 of them"),
    "conv2d_stride": (lambda: Conv2D(3, 3, stride=(1, 2, 3)), "Conv2D: stride must be one int, or 2 of them"),
    "conv3d_dilation": (lambda: Conv3D(3, 3, dilation=(1, 2)), "Conv3D: dilation must be one int, or 3 of them"),
    "conv1d_padding": (lambda: Conv1D(3, 3, padding=(1, 2, 3)), "Conv1D: padding must be one int, .before, after."),
    "conv3d_padding": (lambda: Conv3D(3, 3, padding=(1, 2)), "Conv3D: padding must be one int, 3 of them, or 3 pairs"),
    "conv2d_mode": (lambda: Conv2D(3, 3, padding_mode="constant"), "Conv2D: padding_mode must be one of 'zeros'"),
    "transposed_extra": (lambda: ConvTranspose2D(3, 3, stride=2, output_padding=2), "output_padding must be less than"),
    "transposed_groups": (lambda: ConvTranspose2D(3, 3, groups=2), "groups must be a divisor of out_channels, 3"),
    "transposed_mode": (lambda: ConvTranspose1D(3, 3, padding_mode="reflect"), "padding_mode must be one of 'zeros'"),
    "depthwise": (lambda: DepthwiseConv2D(3, 0), "DepthwiseConv2D: depth_multiplier must be > 0"),
    "separable": (lambda: SeparableConv2D(0, 3), "SeparableConv2D: out_channels must be > 0"),
    "max_pool1d": (lambda: MaxPool1D((2, 2)), "MaxPool1D: kernel_size must be one int"),
    "max_pool3d": (lambda: MaxPool3D(2, (1, 2)), "MaxPool3D: stride must be one int, or 3 of them"),
    "avg_pool1d": (lambda: AvgPool1D(2, padding=-1), "AvgPool1D: padding must be >= 0"),
    "lp_pool": (lambda: LPPool2D(0.0, 2), "LPPool2D: norm_type must be > 0"),
    "adaptive": (lambda: AdaptiveAvgPool2D((3, 0)), "AdaptiveAvgPool2D: output_size must be > 0"),
    "adaptive_axes": (lambda: AdaptiveMaxPool3D((3, 2)), "AdaptiveMaxPool3D: output_size must be one int, or 3"),
    "batch_norm": (lambda: BatchNorm3D(momentum=2.0), "BatchNorm3D: momentum"),
    "group_norm": (lambda: GroupNorm(0), "GroupNorm: num_groups must be > 0"),
    "group_norm_eager": (lambda: GroupNorm(3, 4), "GroupNorm: num_groups must be a divisor of the 4 channels"),
    "rms_norm": (lambda: RMSNorm(4, -1.0), "RMSNorm: eps must be >= 0"),
    "resnext": (lambda: ResNeXtBlock(100), "ResNeXtBlock: out_channels"),
    "inception_first": (lambda: InceptionV2Block(0, 1, 1, 1, 1, 1), "out1x1 must be > 0 with stride 1"),
    "inception_last": (lambda: InceptionV2Block(0, 1, 1, 1, 1, 1, stride=2), "pool_proj must be 0 with stride 2"),
    "inception_resnet": (lambda: InceptionResNetBlock("d"), "InceptionResNetBlock: kind must be one of 'a'"),
    "activation": (lambda: BasicBlock(4, activation=3), "expected a activation|expected an? activation"),
    "zero_channels": (lambda: Bottleneck(0), "Bottleneck: out_channels must be > 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_hyperparameter_is_named_with_what_would_do(name):
    make, message = BAD[name]
    with pytest.raises(HyperparameterError, match=message):
        make()


def test_each_layer_takes_its_own_number_of_axes():
    for make, order in ((Conv1D(2, 3), "NCL"), (Conv3D(2, 3), "NCDHW"), (MaxPool1D(2), "NCL"), (MaxPool3D(2), "NCDHW"),
                        (AdaptiveAvgPool2D(2), "NCHW"), (ConvTranspose1D(2, 3), "NCL"), (BatchNorm3D(), "NCDHW")):  # fmt: skip
        with pytest.raises(ShapeError, match=f"{type(make).__name__} expects {order} inputs"):
            make(np.ones((2, 3), np.float32))
    with pytest.raises(ShapeError, match=r"NCL inputs .*got \(5, 7\)\n(.*\n)?.*sequences without a channel axis"):
        Conv1D(2, 3)(np.ones((5, 7), np.float32))
    with pytest.raises(ShapeError, match=r"come last \(NDHWC\): x.transpose\(0, 4, 1, 2, 3\)"):
        Conv3D(2, 1, in_channels=3)(np.ones((1, 5, 5, 5, 3), np.float32))


def test_a_transposed_same_needs_a_kernel_of_at_least_the_stride():
    with pytest.raises(ShapeError, match='padding="same" .* cannot fill at stride'):
        ConvTranspose2D(3, 2, stride=3, padding="same")(X)


def test_eager_sizes_build_at_once():
    for layer in (
        Conv1D(2, 3, in_channels=4), Conv3D(2, 3, in_channels=4), ConvTranspose2D(2, 3, in_channels=4),
        DepthwiseConv2D(3, in_channels=4), SeparableConv2D(2, 3, in_channels=4), BatchNorm1D(4), BatchNorm3D(4),
        LocallyConnected2D(2, 3, in_channels=4, input_size=(8, 6)), GroupNorm(2, 4), InstanceNorm(4, affine=True),
        RMSNorm(4), ScaleNorm((3, 4)), BasicBlock(4, in_channels=4), MBConv(4, in_channels=4), SEBlock(in_channels=4),
    ):  # fmt: skip
        assert layer.built, layer
        assert layer.num_parameters() > 0
        assert layer.training


def test_a_locally_connected_layer_keeps_the_size_of_its_images():
    layer = LocallyConnected2D(3, 3)
    assert layer(X).shape == (2, 3, 6, 4)
    assert {n: p.shape for n, p in layer.named_parameters()} == {"weight": (6, 4, 3, 4, 3, 3), "bias": (3, 6, 4)}
    assert layer.weight.detach().numpy().std() == pytest.approx((2 / 36) ** 0.5, rel=0.1)
    with pytest.raises(ShapeError, match=r"weights for images of 8x6, got \(2, 4, 6, 8\)"):
        layer(X.transpose(0, 1, 3, 2))


def test_unpooling_names_places_that_do_not_fit():
    y, places = MaxPool2D(2, return_indices=True)(lc.tensor(X))
    with pytest.raises(ShapeError, match=r"places of the shape of its input, \(2, 4, 4, 3\), got \(2, 4, 4, 2\)"):
        MaxUnpool2D(2)(y, places[..., :2])
    with pytest.raises(IndexingError):
        MaxUnpool2D(2)(y, places * 0 + 1000)


def test_global_pooling_takes_any_grid_and_refuses_vectors():
    for shape in ((2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6)):
        assert GlobalAveragePool()(np.ones(shape)).shape == GlobalMaxPool()(np.ones(shape)).shape == (2, 3)
    with pytest.raises(ShapeError, match="GlobalMaxPool expects inputs"):
        GlobalMaxPool()(np.ones((2, 3)))


def test_norms_name_what_has_no_variance_or_other_channels():
    with pytest.raises(ShapeError, match="BatchNorm1D needs more than one value per channel in training"):
        BatchNorm1D()(np.ones((1, 4), np.float32))
    with pytest.raises(ShapeError, match="InstanceNorm needs more than one value per channel of a sample"):
        InstanceNorm()(np.ones((3, 4, 1, 1), np.float32))
    with pytest.raises(ShapeError, match=r"BatchNorm1D expects 4 features on axis 1, got \(3, 5\)"):
        BatchNorm1D(4)(np.ones((3, 5), np.float32))
    with pytest.raises(ShapeError, match=r"GroupNorm expects 4 channels on axis 1, got \(3, 6\)"):
        GroupNorm(2, 4)(np.ones((3, 6), np.float32))
    with pytest.raises(ShapeError, match=r"RMSNorm expects inputs whose shapes end with \(4,\)"):
        RMSNorm(4)(np.ones((3, 5), np.float32))


def test_scale_norm_gives_vectors_of_its_length_and_zeros_for_zeros():
    layer = ScaleNorm()
    y = layer(np.array([[3.0, 4.0], [0.0, 0.0]])).detach().numpy()
    np.testing.assert_allclose(y, [[0.6 * 2**0.5, 0.8 * 2**0.5], [0, 0]], rtol=1e-9)
    assert layer.weight.shape == ()


def test_a_block_that_begins_as_its_shortcut_gives_the_input_back():
    x = np.abs(X)
    for layer in (BasicBlock(4, zero_init=True), Bottleneck(4, zero_init=True)):
        np.testing.assert_allclose(layer(x).detach().numpy(), x, rtol=1e-6)


def test_parts_of_a_block_are_swapped_by_name_or_instance():
    layer = BasicBlock(4, norm=GroupNorm(2), activation="gelu", attention=SEBlock(2))
    layer(X)
    assert [type(layer.bn1).__name__, type(layer.act).__name__, type(layer.gate).__name__] == [
        "GroupNorm",
        "GELU",
        "SEBlock",
    ]
    assert layer.bn1 is not layer.bn2
    bare = InvertedResidual(4, norm=None)
    bare(X)
    assert "layers.0.0.bias" in bare.state_dict()
    with pytest.raises(lc.errors.UnknownNameError, match="batchnorm"):
        BasicBlock(4, norm="batchnorm")(X)


def test_mobilenets_rounding_is_to_the_nearest_multiple_and_never_loses_a_tenth():
    assert [divisible(v, 8) for v in (3, 8, 11, 12, 19.9, 67, 90.0)] == [8, 8, 16, 16, 24, 64, 88]


def test_stochastic_depth_in_a_block_drops_whole_branches():
    layer = MBConv(4, drop_path=0.5, expand_ratio=2, in_channels=4)
    x = np.repeat(X[:1], 64, axis=0)
    y = layer(x).detach().numpy()
    kept = np.abs(y - x).reshape(64, -1).max(1) > 0
    assert 10 < kept.sum() < 54


def test_a_locally_connected_layer_with_equal_weights_is_a_convolution_whatever_the_border():
    for mode in ("zeros", "reflect", "replicate", "circular"):
        for padding in (((1, 0), (2, 1)), "same"):
            conv = Conv2D(3, 3, padding=padding, padding_mode=mode, stride=2, use_bias=False)
            expected = conv(X).detach().numpy()
            layer = LocallyConnected2D(3, 3, padding=padding, padding_mode=mode, stride=2, use_bias=False)
            layer(X)
            layer.load_state_dict({"weight": np.broadcast_to(conv.weight.detach().numpy(), layer.weight.shape)})
            np.testing.assert_allclose(layer(X).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
