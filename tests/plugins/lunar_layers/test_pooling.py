"""Pooling: windows by hand, sizes, errors."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_layers.adaptive_pooling import GlobalAveragePool
from lunar_layers.pooling import AvgPool2D, MaxPool2D

X = np.arange(1.0, 17).reshape(1, 1, 4, 4)


def test_the_window_steps_by_its_own_size_unless_told_otherwise():
    assert MaxPool2D(2)(lc.tensor(X)).tolist() == [[[[6, 8], [14, 16]]]]
    assert AvgPool2D(2)(lc.tensor(X)).tolist() == [[[[3.5, 5.5], [11.5, 13.5]]]]
    assert MaxPool2D(2, 1)(lc.tensor(X)).shape == (1, 1, 3, 3)


def test_a_border_never_wins_the_maximum():
    assert MaxPool2D(3, padding=1)(lc.tensor(-X)).tolist() == [[[[-1, -3], [-9, -11]]]]


def test_a_border_counts_in_the_mean_unless_told_otherwise():
    ones = lc.ones((1, 1, 2, 2))
    assert AvgPool2D(2, padding=1)(ones).tolist() == [[[[0.25, 0.25], [0.25, 0.25]]]]
    assert AvgPool2D(2, padding=1, count_include_pad=False)(ones).tolist() == [[[[1, 1], [1, 1]]]]


def test_a_border_wider_than_half_the_window_is_an_error():
    with pytest.raises(ShapeError, match="padding"):
        MaxPool2D(2, padding=2)(lc.tensor(X))


def test_a_last_window_may_hang_over_the_end():
    x = lc.tensor(np.arange(25.0).reshape(1, 1, 5, 5))
    assert MaxPool2D(2)(x).shape == (1, 1, 2, 2)
    assert MaxPool2D(2, ceil_mode=True)(x).tolist()[0][0] == [[6, 8, 9], [16, 18, 19], [21, 23, 24]]


def test_the_gradient_of_the_maximum_goes_to_the_winner_alone():
    x = lc.tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    MaxPool2D(2)(x).sum().backward()
    assert x.grad.tolist() == [[[[1, 0], [0, 0]]]]


def test_a_global_mean_has_no_image_axes_left():
    assert GlobalAveragePool()(lc.tensor(X)).tolist() == [[8.5]]
    assert GlobalAveragePool(keepdims=True)(lc.tensor(X)).tolist() == [[[[8.5]]]]


@pytest.mark.parametrize(
    "layer", [MaxPool2D(2), AvgPool2D(2), GlobalAveragePool()], ids=lambda v: getattr(v, "__name__", repr(v))
)
def test_shape_dtype_and_emptiness(layer):
    assert layer.built
    for dtype in ("float32", "float64"):
        assert layer(np.ones((2, 3, 4, 4), dtype)).dtype == dtype
    assert layer(lc.ones((0, 3, 4, 4))).shape[:2] == (0, 3)
    with pytest.raises(ShapeError, match=f"{type(layer).__name__} expects (NCHW|inputs)"):
        layer(lc.ones((3, 4)))


def test_a_window_larger_than_the_image_is_an_error():
    for layer in (MaxPool2D(5), AvgPool2D(5)):
        with pytest.raises(ShapeError, match="kernel"):
            layer(lc.tensor(X))


def test_hyperparameters_are_checked():
    for make in (
        lambda: MaxPool2D(0),
        lambda: AvgPool2D(2, 0),
        lambda: MaxPool2D(2, padding=-1),
        lambda: MaxPool2D("2"),
    ):
        with pytest.raises(HyperparameterError):
            make()
    assert repr(MaxPool2D(3, 2)) == "MaxPool2D(kernel_size=3, stride=2)"
