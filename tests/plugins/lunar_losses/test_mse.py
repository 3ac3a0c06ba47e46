"""MSE: value, weights, dtype, shapes."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import ShapeError
from lunar_losses.mse import MSE


def test_the_mean_of_squared_differences():
    assert MSE()(lc.tensor([1.0, 2.0, 4.0]), [1, 4, 1]).item() == pytest.approx(13 / 3)
    assert MSE(reduction="sum")(lc.tensor([1.0, 2.0]), np.array([0.0, 0.0])).item() == 5
    assert MSE(reduction="none")(lc.tensor([1.0, 2.0]), [0, 0]).tolist() == [1, 4]


def test_the_gradient_is_twice_the_difference_over_the_count():
    x = lc.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    MSE()(x, np.zeros((2, 2))).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0.5, 1], [1.5, 2]])


def test_sum_and_weight_count_elements_and_sample_weights_count_for_each():
    pred, target = np.ones((3, 2)), np.zeros((3, 2))
    total, weight = MSE().terms(pred, target)
    assert (total.item(), weight) == (6, 6)
    total, weight = MSE().terms(pred, target, [1, 0, 2])
    assert (total.item(), weight) == (6, 6)
    total, weight = MSE().terms(pred, target, [0, 0, 1])
    assert (total.item(), weight) == (2, 2)


def test_a_float64_target_does_not_widen_the_loss():
    assert MSE()(lc.ones((2, 2)), np.zeros((2, 2))).dtype == np.float32


def test_a_target_that_is_learned_gets_its_gradient_too():
    pred, target = lc.ones(2), lc.zeros(2, requires_grad=True)
    MSE()(pred, target).backward()
    assert target.grad.tolist() == [-1, -1]


def test_targets_do_not_broadcast():
    with pytest.raises(
        ShapeError, match=r"MSE expects a target of the prediction's shape \(3, 1\), got \(3,\)\n.*\[\.\.\., None\]"
    ):
        MSE()(lc.ones((3, 1)), np.ones(3))
    with pytest.raises(ShapeError, match=r"\(2, 3\), got \(3,\)"):
        MSE()(lc.ones((2, 3)), np.ones(3))
