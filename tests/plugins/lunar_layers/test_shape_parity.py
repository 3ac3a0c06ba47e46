"""Layers that rearrange, resize and pad, and Bilinear, against PyTorch: values and gradients in float64."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

import lunar_core as lc
from lunar_layers.bilinear import Bilinear
from lunar_layers.padding import Pad1D, Pad2D, Pad3D
from lunar_layers.pixel_shuffle import PixelShuffle, PixelUnshuffle
from lunar_layers.shape import Identity, Unflatten
from lunar_layers.upsample import Upsample

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

LINE, IMAGE, VOLUME = (2, 3, 7), (2, 4, 6, 5), (2, 3, 4, 5, 3)

CASES = {
    "identity": (Identity, nn.Identity, IMAGE),
    "unflatten": (lambda: Unflatten(1, (2, 2)), lambda: nn.Unflatten(1, (2, 2)), IMAGE),
    "unflatten_free": (lambda: Unflatten(-2, (3, -1)), lambda: nn.Unflatten(-2, (3, -1)), IMAGE),
    "pixel_shuffle": (lambda: PixelShuffle(2), lambda: nn.PixelShuffle(2), (2, 8, 3, 5)),
    "pixel_shuffle_3": (lambda: PixelShuffle(3), lambda: nn.PixelShuffle(3), (1, 9, 2, 2)),
    "pixel_unshuffle": (lambda: PixelUnshuffle(2), lambda: nn.PixelUnshuffle(2), (2, 3, 6, 4)),
    "pad1d_zeros": (lambda: Pad1D((2, 1)), lambda: nn.ZeroPad1d((2, 1)), LINE),
    "pad1d_value": (lambda: Pad1D(2, value=-1.5), lambda: nn.ConstantPad1d(2, -1.5), LINE),
    "pad1d_reflect": (lambda: Pad1D((3, 2), "reflect"), lambda: nn.ReflectionPad1d((3, 2)), LINE),
    "pad1d_replicate": (lambda: Pad1D((3, 0), "replicate"), lambda: nn.ReplicationPad1d((3, 0)), LINE),
    "pad1d_circular": (lambda: Pad1D((1, 4), "circular"), lambda: nn.CircularPad1d((1, 4)), LINE),
    "pad2d_zeros": (lambda: Pad2D(((1, 2), (3, 0))), lambda: nn.ZeroPad2d((3, 0, 1, 2)), IMAGE),
    "pad2d_axes": (lambda: Pad2D((1, 2)), lambda: nn.ZeroPad2d((2, 2, 1, 1)), IMAGE),
    "pad2d_reflect": (lambda: Pad2D(((1, 2), (3, 0)), "reflect"), lambda: nn.ReflectionPad2d((3, 0, 1, 2)), IMAGE),
    "pad2d_replicate": (lambda: Pad2D(2, "replicate"), lambda: nn.ReplicationPad2d(2), IMAGE),
    "pad2d_circular": (lambda: Pad2D((2, 1), "circular"), lambda: nn.CircularPad2d((1, 1, 2, 2)), IMAGE),
    "pad3d_zeros": (lambda: Pad3D((1, 2, 0)), lambda: nn.ZeroPad3d((0, 0, 2, 2, 1, 1)), VOLUME),
    "pad3d_reflect": (lambda: Pad3D(1, "reflect"), lambda: nn.ReflectionPad3d(1), VOLUME),
    "pad3d_replicate": (
        lambda: Pad3D(((0, 1), (2, 0), (1, 1)), "replicate"), lambda: nn.ReplicationPad3d((1, 1, 2, 0, 0, 1)), VOLUME,
    ),
    "pad3d_circular": (lambda: Pad3D(2, "circular"), lambda: nn.CircularPad3d(2), VOLUME),
    "upsample_nearest_1d": (lambda: Upsample(2), lambda: nn.Upsample(scale_factor=2), LINE),
    "upsample_nearest": (lambda: Upsample((2, 3)), lambda: nn.Upsample(scale_factor=(2, 3)), IMAGE),
    "upsample_nearest_3d": (lambda: Upsample(2), lambda: nn.Upsample(scale_factor=2), VOLUME),
    "upsample_size": (lambda: Upsample(size=(9, 4)), lambda: nn.Upsample(size=(9, 4)), IMAGE),
    "upsample_exact": (
        lambda: Upsample(1.7, mode="nearest-exact"), lambda: nn.Upsample(scale_factor=1.7, mode="nearest-exact"), IMAGE,
    ),
    "upsample_linear": (lambda: Upsample(3, mode="linear"), lambda: nn.Upsample(scale_factor=3, mode="linear"), LINE),
    "upsample_bilinear": (
        lambda: Upsample(2, mode="bilinear"), lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE,
    ),
    "upsample_bilinear_corners": (
        lambda: Upsample(2, mode="bilinear", align_corners=True),
        lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), IMAGE,
    ),
    "upsample_bicubic": (
        lambda: Upsample(size=(11, 3), mode="bicubic"), lambda: nn.Upsample(size=(11, 3), mode="bicubic"), IMAGE,
    ),
    "upsample_trilinear": (
        lambda: Upsample(2, mode="trilinear"), lambda: nn.Upsample(scale_factor=2, mode="trilinear"), VOLUME,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_agree(name):
    ours, theirs, shape = CASES[name]
    assert_twins(ours(), theirs(), np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(4,), (2, 3), ()])
def test_a_bilinear_form_agrees(lead, bias):
    twin = nn.Bilinear(5, 3, 4, bias=bias, dtype=torch.float64)
    layer = Bilinear(4, in1_features=5, in2_features=3, use_bias=bias).astype("float64")
    layer.load_state_dict({name: p.detach().numpy() for name, p in twin.state_dict().items()})
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(*lead, 5)), rng.normal(size=(*lead, 3))
    a, b = (lc.tensor(v, requires_grad=True) for v in raw)
    s, t = (torch.tensor(v, requires_grad=True) for v in raw)
    y, z = layer(a, b), twin(s, t)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-9)
    g = rng.normal(size=y.shape)
    y.backward(lc.tensor(g))
    z.backward(torch.tensor(g))
    for got, expected in ((a, s), (b, t), *zip(layer.parameters(), twin.parameters())):
        np.testing.assert_allclose(got.grad.numpy(), expected.grad.numpy(), rtol=1e-9, atol=1e-12)
