"""BCEWithLogits: value, weights, stability, shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_losses.bce_with_logits import BCEWithLogits


def test_the_mean_of_negative_log_likelihoods():
    s = 1 / (1 + math.exp(-0.5))
    expected = -(math.log(s) + math.log(1 - s)) / 2
    assert BCEWithLogits()(lc.tensor([0.5, 0.5]), [1, 0]).item() == pytest.approx(expected, rel=1e-6)
    assert BCEWithLogits()(lc.zeros((3, 2)), np.full((3, 2), 0.3)).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32, np.float64])
def test_targets_of_any_dtype_keep_the_logits_dtype(dtype):
    loss = BCEWithLogits()(lc.tensor([1.0, -1.0]), np.array([1, 0], dtype))
    assert loss.dtype == np.float32
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)), rel=1e-6)


def test_pos_weight_counts_the_positive_class_more_but_not_in_the_weight():
    pred, target = lc.zeros((2, 2)), np.array([[1, 0], [1, 1]])
    total, weight = BCEWithLogits(pos_weight=3).terms(pred, target)
    assert total.item() == pytest.approx(10 * math.log(2))
    assert weight == 4
    total, _ = BCEWithLogits(pos_weight=(3, 1)).terms(pred, target)
    assert total.item() == pytest.approx(8 * math.log(2))


def test_huge_logits_do_not_overflow():
    x = lc.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    with np.errstate(over="raise", invalid="raise"):
        loss = BCEWithLogits(reduction="none")(x, [1, 0, 0, 1])
        loss.sum().backward()
    assert loss.tolist() == pytest.approx([0, 0, 1e4, 1e4])
    assert x.grad.tolist() == [0, 0, 1, -1]


def test_shapes_must_be_equal():
    with pytest.raises(
        ShapeError, match=r"BCEWithLogits expects a target of the prediction's shape \(3, 1\), got \(3,\)"
    ):
        BCEWithLogits()(lc.ones((3, 1)), np.ones(3))
    with pytest.raises(ShapeError, match="pos_weight"):
        BCEWithLogits(pos_weight=(1, 2, 3))(lc.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(HyperparameterError, match="pos_weight"):
        BCEWithLogits(pos_weight=0)
