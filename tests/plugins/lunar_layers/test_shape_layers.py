"""Layers that rearrange, join, pad, crop and resize: results by hand, errors, configurations."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import ConfigError, DTypeError, HyperparameterError, ShapeError
from lunar_layers.bilinear import Bilinear
from lunar_layers.padding import Crop2D, Pad1D, Pad2D, Pad3D
from lunar_layers.pixel_shuffle import PixelShuffle, PixelUnshuffle
from lunar_layers.sequential import Sequential
from lunar_layers.shape import Add, Concat, Identity, Lambda, Permute, Reshape, Unflatten
from lunar_layers.upsample import Upsample

X = np.arange(24.0).reshape(2, 3, 4)


def test_identity_gives_back_what_it_gets():
    x = lc.ones(3)
    assert Identity()(x) is x


def test_lambda_calls_its_function_and_names_the_place_where_there_is_no_configuration():
    assert Lambda(lambda a, b: a + b)(lc.ones(2), lc.ones(2)).tolist() == [2, 2]
    with pytest.raises(ConfigError, match=r"layers\[1\]\.function: .* cannot be written as plain data"):
        lc.to_config(Sequential(Identity(), Lambda(np.tanh)))


@pytest.mark.parametrize(
    "shape, expected", [((12,), (2, 12)), ((4, -1), (2, 4, 3)), ((2, 2, 3), (2, 2, 2, 3)), ((-1,), (2, 12))]
)
def test_reshape_leaves_the_batch(shape, expected):
    y = Reshape(shape)(lc.tensor(X)).numpy()
    assert y.shape == expected
    np.testing.assert_array_equal(y.ravel(), X.ravel())
    assert Reshape(shape)(np.empty((0, 3, 4))).shape == (0, *expected[1:])


def test_reshape_and_unflatten_name_sizes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"Reshape makes examples of shape \(5, -1\), which \(2, 3, 4\)"):
        Reshape((5, -1))(X)
    with pytest.raises(ShapeError, match=r"Unflatten splits axis 2 into \(3, 2\), whose product is not its size"):
        Unflatten(2, (3, 2))(X)
    with pytest.raises(ShapeError, match="axis 3, which inputs of shape"):
        Unflatten(3, (2, 2))(X)
    for make in (lambda: Reshape((-1, -1)), lambda: Reshape((0,)), lambda: Unflatten(1, (2, -2))):
        with pytest.raises(HyperparameterError, match="one may be -1"):
            make()


def test_permute_orders_all_axes():
    np.testing.assert_array_equal(Permute((0, 2, 1))(lc.tensor(X)).numpy(), X.transpose(0, 2, 1))
    np.testing.assert_array_equal(Permute((-1, 0, 1))(X), X.transpose(2, 0, 1))
    with pytest.raises(ShapeError, match=r"Permute orders 2 axes \(1, 0\)"):
        Permute((1, 0))(X)
    with pytest.raises(HyperparameterError, match="a permutation of 0..2"):
        Permute((0, 1, 1))


def test_concat_and_add_take_arguments_or_one_list():
    a, b = lc.tensor(X), lc.tensor(X[:, :1])
    for y in (Concat()(a, b), Concat()([a, b])):
        np.testing.assert_array_equal(y.numpy(), np.concatenate([X, X[:, :1]], 1))
    assert Concat(-1)(a, a).shape == (2, 3, 8)
    assert Concat()(a) is a
    for y in (Add()(a, a, a), Add()([a, a, a])):
        np.testing.assert_array_equal(y.numpy(), 3 * X)


def test_what_cannot_be_joined_is_named():
    with pytest.raises(ShapeError, match=r"Concat: shapes may differ on axis 2 alone, got \(2, 3, 4\), \(2, 1, 4\)"):
        Concat(2)(X, X[:, :1])
    with pytest.raises(ShapeError, match="Concat joins along axis 3"):
        Concat(3)(X, X)
    with pytest.raises(ShapeError, match=r"Add adds what is of one shape, got \(2, 3, 4\), \(2, 1, 4\)"):
        Add()(X, X[:, :1])
    for layer in (Concat(), Add()):
        with pytest.raises(ShapeError, match="at least one input"):
            layer([])


def test_crop_takes_rows_and_columns_away_and_undoes_a_border():
    image = np.random.default_rng(0).normal(size=(2, 3, 6, 5))
    np.testing.assert_array_equal(Crop2D(1)(image), image[:, :, 1:-1, 1:-1])
    np.testing.assert_array_equal(Crop2D((0, 2))(image), image[:, :, :, 2:3])
    np.testing.assert_array_equal(Crop2D(((1, 2), (0, 3)))(image), image[:, :, 1:4, :2])
    sides = ((1, 2), (0, 3))
    np.testing.assert_array_equal(Crop2D(sides)(Pad2D(sides, "reflect")(image)), image)
    with pytest.raises(ShapeError, match="leaves nothing"):
        Crop2D(3)(image)


def test_a_border_wider_than_the_input_repeats():
    x = np.arange(3.0).reshape(1, 1, 3)
    assert Pad1D((0, 5), "circular")(x).tolist() == [[[0, 1, 2, 0, 1, 2, 0, 1]]]
    assert Pad1D((5, 0), "reflect")(x).tolist() == [[[1, 0, 1, 2, 1, 0, 1, 2]]]


def test_integers_pass_through_what_does_not_compute():
    x = np.arange(2 * 4 * 2 * 2).reshape(2, 4, 2, 2)
    layers = [Pad2D(1), Pad2D(1, "replicate"), Crop2D(((0, 1), (0, 0))), PixelShuffle(2), PixelUnshuffle(2)]
    for layer in [*layers, Permute((1, 0, 2, 3)), Reshape((-1,)), Unflatten(1, (2, 2)), Concat(), Upsample(2)]:
        assert layer(x).dtype == x.dtype


def test_borders_name_what_does_not_fit():
    for layer, order in ((Pad1D(1), "NCL"), (Pad2D(1), "NCHW"), (Pad3D(1), "NCDHW"), (Crop2D(0), "NCHW")):
        with pytest.raises(ShapeError, match=f"{type(layer).__name__} expects {order} inputs"):
            layer(np.ones((3, 4)))
    for make, message in (
        (lambda: Pad1D((1, 2, 3)), "one int, .before, after."), (lambda: Pad2D((1, 2, 3)), "one int, 2 of them, or 2 pairs"),
        (lambda: Pad3D((1, 2)), "3 of them"), (lambda: Pad2D(-1), ">= 0"), (lambda: Pad2D(1, "zero"), "mode"),
        (lambda: Crop2D(((1, 2), (-3, 4))), "cropping"),
    ):  # fmt: skip
        with pytest.raises(HyperparameterError, match=message):
            make()


def test_pixels_and_channels_undo_each_other_and_name_what_does_not_divide():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 4))
    np.testing.assert_array_equal(PixelUnshuffle(2)(PixelShuffle(2)(x)), x)
    with pytest.raises(ShapeError, match="pixel_shuffle"):
        PixelShuffle(3)(x)
    with pytest.raises(ShapeError, match="pixel_unshuffle"):
        PixelUnshuffle(4)(x)


def test_upsample_takes_a_factor_or_a_size():
    x = lc.tensor(np.arange(4.0).reshape(1, 1, 2, 2))
    assert Upsample(2)(x).tolist() == [[[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]]]
    assert Upsample(size=5, mode="bilinear")(x).shape == (1, 1, 5, 5)
    for options, given in (({}, "neither"), ({"scale_factor": 2, "size": 3}, "both")):
        with pytest.raises(HyperparameterError, match=f"Upsample takes scale_factor or size, {given} given"):
            Upsample(**options)
    with pytest.raises(HyperparameterError, match="Upsample: mode"):
        Upsample(2, mode="cubic")
    with pytest.raises(ShapeError, match="mode 'linear' does not fit"):
        Upsample(2, mode="linear")(x)


def test_bilinear_learns_its_sizes_and_names_what_does_not_fit():
    layer = Bilinear(3)
    assert not layer.built
    assert layer(lc.ones((2, 4)), lc.ones((2, 5))).shape == (2, 3)
    assert {n: p.shape for n, p in layer.named_parameters()} == {"weight": (3, 4, 5), "bias": (3,)}
    assert abs(layer.weight.detach().numpy()).max() <= 0.5
    with pytest.raises(
        ShapeError, match=r"last axes are 4 and 5 and whose other axes agree, got \(2, 5\) and \(2, 5\)"
    ):
        layer(lc.ones((2, 5)), lc.ones((2, 5)))
    with pytest.raises(ShapeError, match="other axes agree"):
        layer(lc.ones((3, 4)), lc.ones((2, 5)))
    with pytest.raises(DTypeError, match="Bilinear expects floating"):
        Bilinear(3)(np.ones((2, 4), int), np.ones((2, 4), int))
    assert Bilinear(3, in1_features=2, in2_features=4).built
    assert lc.from_config(lc.to_config(layer)).weight.shape == (3, 4, 5)
