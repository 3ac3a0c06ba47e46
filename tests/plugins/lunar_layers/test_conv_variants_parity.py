"""Every convolution layer against PyTorch: values and all gradients in float64."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

import lunar_core as lc
from lunar_layers.conv import Conv1D, Conv2D, Conv3D
from lunar_layers.conv_transpose import ConvTranspose1D, ConvTranspose2D, ConvTranspose3D
from lunar_layers.locally_connected import LocallyConnected2D
from lunar_layers.separable_conv import DepthwiseConv2D, SeparableConv2D

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning"),
]

SHAPES = {1: (3, 4, 11), 2: (2, 4, 7, 6), 3: (2, 4, 5, 4, 6)}
OURS = {1: Conv1D, 2: Conv2D, 3: Conv3D}
THEIRS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
OPTIONS = {
    "plain": (3, {}),
    "no_bias": (2, {"bias": False}),
    "stride": (3, {"stride": 2}),
    "padding": (3, {"padding": 1}),
    "same": (3, {"padding": "same"}),
    "same_even_dilated": (2, {"padding": "same", "dilation": 2}),
    "valid": (2, {"padding": "valid"}),
    "dilation": (2, {"dilation": 2, "padding": 1}),
    "groups": (3, {"groups": 2, "padding": 1}),
    "depthwise": (3, {"groups": 4, "stride": 2, "padding": 1}),
    "pointwise": (1, {}),
    "reflect": (3, {"padding": 1, "padding_mode": "reflect"}),
    "replicate": (3, {"padding": 1, "padding_mode": "replicate", "stride": 2}),
    "circular": (3, {"padding": 1, "padding_mode": "circular", "groups": 2}),
    "circular_same": (2, {"padding": "same", "padding_mode": "circular"}),
    "reflect_same": (3, {"padding": "same", "padding_mode": "reflect"}),
}


def renamed(options):
    return {"use_bias" if key == "bias" else key: value for key, value in options.items()}


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_convolution_agrees(dims, name):
    kernel, options = OPTIONS[name]
    twin = THEIRS[dims](4, 8, kernel, dtype=torch.float64, **options)
    x = np.random.default_rng(0).normal(size=SHAPES[dims])
    assert_twins(OURS[dims](8, kernel, **renamed(options)), twin, x)


def test_each_axis_may_have_its_own_numbers():
    rng = np.random.default_rng(0)
    options = {"stride": (1, 2, 1), "padding": (0, 1, 2), "dilation": (1, 1, 2)}
    twin = nn.Conv3d(4, 3, (2, 3, 1), dtype=torch.float64, **options)
    assert_twins(Conv3D(3, (2, 3, 1), **options), twin, rng.normal(size=SHAPES[3]))
    options = {"padding": (2, 1), "padding_mode": "circular"}
    twin = nn.Conv2d(4, 3, (2, 3), dtype=torch.float64, **options)
    assert_twins(Conv2D(3, (2, 3), **options), twin, rng.normal(size=SHAPES[2]))


def test_a_causal_convolution_pads_before():
    x = np.random.default_rng(0).normal(size=(2, 4, 9))
    twin = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(4, 3, 3, dilation=2, dtype=torch.float64))
    layer = Conv1D(3, 3, dilation=2, padding=(4, 0))
    holder = lc.layers.Sequential(lc.layers.Identity(), layer)
    assert_twins(holder, twin, x)


TRANSPOSED = {
    "plain": (3, {}),
    "no_bias": (2, {"bias": False}),
    "stride": (3, {"stride": 2}),
    "padding": (3, {"stride": 2, "padding": 1}),
    "output_padding": (3, {"stride": 2, "padding": 1, "output_padding": 1}),
    "dilation": (2, {"dilation": 2, "stride": 3, "output_padding": 2}),
    "groups": (3, {"groups": 2, "stride": 2}),
    "depthwise": (3, {"groups": 4, "padding": 1}),
}


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_agrees(dims, name):
    kernel, options = TRANSPOSED[name]
    layer = {1: ConvTranspose1D, 2: ConvTranspose2D, 3: ConvTranspose3D}[dims](8, kernel, **renamed(options))
    theirs = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
    shape = {1: (3, 4, 5), 2: (2, 4, 4, 3), 3: (2, 4, 3, 2, 3)}[dims]
    assert_twins(
        layer, theirs(4, 8, kernel, dtype=torch.float64, **options), np.random.default_rng(0).normal(size=shape)
    )


@pytest.mark.parametrize("kernel, stride", [(3, 2), (4, 2), (5, 3), (2, 2)])
def test_a_transposed_same_multiplies_the_size_and_undoes_a_same_convolution(kernel, stride):
    layer = ConvTranspose2D(3, kernel, stride=stride, padding="same", use_bias=False)
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3))
    y = layer(lc.tensor(x)).detach().numpy()
    assert y.shape == (2, 3, 5 * stride, 3 * stride)
    full = torch.nn.functional.conv_transpose2d(
        torch.tensor(x), torch.tensor(layer.weight.detach().numpy()), stride=stride
    ).numpy()
    cut = (kernel - stride) // 2
    np.testing.assert_allclose(y, full[:, :, cut : cut + 5 * stride, cut : cut + 3 * stride], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": "same", "dilation": 2}], ids=str)
def test_a_depthwise_convolution_agrees(multiplier, options):
    twin = nn.Conv2d(4, 4 * multiplier, 3, groups=4, dtype=torch.float64, **options)
    layer = DepthwiseConv2D(3, multiplier, **options)
    assert_twins(layer, twin, np.random.default_rng(0).normal(size=SHAPES[2]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_separable_convolution_agrees(multiplier, bias):
    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            inner = 4 * multiplier
            self.depthwise = nn.Conv2d(4, inner, 3, stride=2, padding=1, groups=4, bias=False, dtype=torch.float64)
            self.pointwise = nn.Conv2d(inner, 5, 1, bias=bias, dtype=torch.float64)

        def forward(self, x):
            return self.pointwise(self.depthwise(x))

    layer = SeparableConv2D(5, 3, depth_multiplier=multiplier, stride=2, padding=1, use_bias=bias)
    assert_twins(layer, Twin(), np.random.default_rng(0).normal(size=SHAPES[2]))


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"padding": 1, "stride": (2, 1)}, {"dilation": 2, "padding": 2}, {"padding": "same"}],
    ids=str,
)
def test_a_locally_connected_layer_agrees_with_unfolded_windows(options):
    numbers = {**options, "padding": 1} if options.get("padding") == "same" else options

    class Twin(nn.Module):
        def __init__(self, weight, bias):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(bias))

        def forward(self, x):
            windows = nn.functional.unfold(x, 3, **numbers)  # (N, C * 9, L)
            h, w, o = self.weight.shape[:3]
            y = torch.einsum("nkl,lok->nol", windows, self.weight.reshape(h * w, o, -1))
            return y.reshape(len(x), o, h, w) + self.bias

    x = np.random.default_rng(0).normal(size=SHAPES[2])
    layer = LocallyConnected2D(3, 3, **options)
    layer(x)
    state = {name: np.random.default_rng(1).normal(size=v.shape) for name, v in layer.state_dict().items()}
    assert_twins(layer, Twin(state["weight"], state["bias"]), x)
