"""Flatten."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import ShapeError
from lunar_layers.flatten import Flatten


@pytest.mark.parametrize(
    "options, shape",
    [
        ({}, (2, 60)),
        ({"start_axis": 0}, (120,)),
        ({"start_axis": 2}, (2, 3, 20)),
        ({"end_axis": 2}, (2, 12, 5)),
        ({"start_axis": -2}, (2, 3, 20)),
    ],
)
def test_the_axes_from_start_to_end_are_merged(options, shape):
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    y = Flatten(**options)(lc.tensor(x))
    assert y.shape == shape
    np.testing.assert_array_equal(y.numpy().ravel(), x.ravel())


def test_the_order_does_not_depend_on_the_layout_in_memory():
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(Flatten()(lc.tensor(last)).numpy(), x.reshape(1, -1))


def test_the_gradient_has_the_inputs_shape():
    x = lc.ones((2, 3, 4), requires_grad=True)
    Flatten()(x).sum().backward()
    assert x.grad.shape == (2, 3, 4)


def test_a_batch_of_numbers_stays_and_axes_that_are_not_there_are_an_error():
    with pytest.raises(ShapeError):
        Flatten()(lc.ones(3))
    with pytest.raises(ShapeError):
        Flatten(2, 1)(lc.ones((2, 3, 4)))
