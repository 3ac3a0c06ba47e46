"""BatchNorm2D and LayerNorm: statistics, modes, building, errors."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError, ShapeError
from lunar_layers.initializers import Constant, Zeros
from lunar_layers.normalization import BatchNorm2D, LayerNorm

X = np.random.default_rng(0).normal(3, 2, (8, 3, 4, 5))


def test_each_channel_of_a_training_batch_has_mean_0_and_variance_1():
    y = BatchNorm2D()(X).detach().numpy()
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var((0, 2, 3)), 1, atol=1e-4)


def test_running_statistics_move_by_the_momentum_with_the_unbiased_variance():
    layer = BatchNorm2D(momentum=0.2)
    layer(X)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.2 * X.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.8 + 0.2 * X.var((0, 2, 3), ddof=1), rtol=1e-12)
    assert layer.num_batches_tracked.item() == 1


def test_without_a_momentum_all_batches_count_the_same():
    layer = BatchNorm2D(momentum=None)
    for part in np.split(X, 4):
        layer(part)
    np.testing.assert_allclose(layer.running_mean.numpy(), X.mean((0, 2, 3)), rtol=1e-12)


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    layer = BatchNorm2D()
    layer(X)
    before = {name: value.copy() for name, value in layer.state_dict().items()}
    layer.eval()
    whole = layer(X).detach().numpy()
    np.testing.assert_allclose(layer(X[2:3]).detach().numpy(), whole[2:3], rtol=1e-12)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_first_call_in_evaluation_builds_and_tracks_nothing():
    layer = BatchNorm2D().eval()
    np.testing.assert_allclose(layer(X).detach().numpy(), X / np.sqrt(1 + 1e-5), rtol=1e-12)
    assert layer.num_batches_tracked.item() == 0


def test_without_tracking_the_batch_counts_in_evaluation_too():
    layer = BatchNorm2D(track_running_stats=False)
    first = layer(X).detach().numpy()
    np.testing.assert_array_equal(layer.eval()(X).detach().numpy(), first)
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_buffers_are_no_parameters_and_change_in_place():
    layer = BatchNorm2D(3)
    assert list(dict(layer.named_parameters())) == ["weight", "bias"]
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    array = layer.running_mean.data
    layer(X)
    assert layer.running_mean.data is array
    assert layer.running_mean.version > 0
    assert not layer.running_mean.requires_grad


def test_without_affine_there_are_no_parameters():
    assert list(BatchNorm2D(3, affine=False).parameters()) == []
    assert list(LayerNorm(3, affine=False).parameters()) == []
    assert list(dict(LayerNorm(3, use_bias=False).named_parameters())) == ["weight"]


def test_a_scale_can_start_at_zero():
    assert not BatchNorm2D(weight_init=Zeros(), bias_init=Constant(0))(X).detach().numpy().any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [BatchNorm2D, LayerNorm])
def test_parameters_take_the_dtype_of_the_first_input(make, dtype):
    layer = make()
    assert layer(X.astype(dtype)).dtype == dtype
    assert layer.eval()(X.astype(dtype)).dtype == dtype
    assert {p.dtype for p in layer.parameters()} == {np.dtype(dtype)}
    assert {b.dtype.kind for b in layer.buffers()} <= {"f", "i"}


def test_conversion_leaves_the_counter_an_integer():
    layer = BatchNorm2D(3).astype("float64")
    assert layer.running_var.dtype == np.float64
    assert layer.num_batches_tracked.dtype == np.int64


def test_one_value_per_channel_cannot_be_trained_on_but_evaluated():
    layer = BatchNorm2D(3)
    one = lc.ones((1, 3, 1, 1))
    with pytest.raises(ShapeError, match=r"more than one value per channel in training, got \(1, 3, 1, 1\)"):
        layer(one)
    assert layer.eval()(one).shape == (1, 3, 1, 1)
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_names_what_does_not_fit():
    layer = BatchNorm2D(3)
    with pytest.raises(ShapeError, match=r"BatchNorm2D expects NCHW inputs .* got \(8, 3\)"):
        layer(lc.ones((8, 3)))
    with pytest.raises(ShapeError, match=r"3 channels on axis 1, got \(8, 4, 5, 3\)\n(.*\n)?.*NHWC"):
        layer(lc.ones((8, 4, 5, 3)))
    with pytest.raises(DTypeError, match="BatchNorm2D expects floating-point"):
        layer(np.ones((8, 3, 4, 5), int))
    with pytest.raises(HyperparameterError, match="momentum"):
        BatchNorm2D(momentum=1.5)
    with pytest.raises(HyperparameterError, match="eps"):
        BatchNorm2D(eps=0)


def test_copies_have_statistics_of_their_own():
    layer = BatchNorm2D(3)
    other = copy.deepcopy(layer)
    other(X)
    assert not layer.running_mean.numpy().any()
    assert BatchNorm2D.from_config_fields(**other.config()).num_features == 3


def test_each_sample_has_mean_0_and_variance_1_over_its_last_axes():
    for shape, axes in [(None, (3,)), (5, (3,)), ((4, 5), (2, 3)), ((3, 4, 5), (1, 2, 3))]:
        y = LayerNorm(shape, eps=1e-9)(X).detach().numpy()
        np.testing.assert_allclose(y.mean(axes), 0, atol=1e-12)
        np.testing.assert_allclose(y.var(axes), 1, atol=1e-3)


def test_layer_norm_learns_the_last_axis_and_keeps_to_it():
    layer = LayerNorm()
    layer(lc.ones((2, 7)))
    assert layer.weight.shape == (7,)
    assert repr(layer) == "LayerNorm(normalized_shape=7)"
    with pytest.raises(ShapeError, match=r"LayerNorm expects inputs whose shapes end with \(7,\), got \(2, 6\)"):
        layer(lc.ones((2, 6)))


def test_layer_norm_names_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"end with \(4, 5\), got \(5,\)"):
        LayerNorm((4, 5))(lc.ones(5))
    with pytest.raises(ShapeError, match="last axis"):
        LayerNorm()(lc.ones(()))
    with pytest.raises(DTypeError, match="LayerNorm expects floating-point"):
        LayerNorm()(np.ones((2, 3), int))
    with pytest.raises(HyperparameterError, match="normalized_shape"):
        LayerNorm((4, 0))


def test_layer_norm_treats_each_sample_alone():
    layer = LayerNorm()
    whole = layer(X).detach().numpy()
    np.testing.assert_allclose(layer(X[3]).detach().numpy(), whole[3], rtol=1e-12)
