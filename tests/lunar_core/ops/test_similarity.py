"""Distances, bilinear forms and channel rearrangements: points without a slope, orders of differentiation, errors."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


FUNCTIONS = {
    "cosine_similarity": (ops.cosine_similarity, (3, 4), (3, 4)),
    "pairwise_distance": (ops.pairwise_distance, (3, 4), (3, 4)),
    "cdist": (ops.cdist, (3, 4), (2, 4)),
    "cdist of many": (ops.cdist, (26, 2), (2, 2)),
    "bilinear": (ops.bilinear, (2, 3), (2, 4), (2, 3, 4), (2,)),
    "local_response_norm": (lambda x: ops.local_response_norm(x, 3), (2, 4, 3)),
    "pixel_shuffle": (lambda x: ops.tanh(ops.pixel_shuffle(x, 2)), (1, 4, 2, 2)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_both_orders(name):
    function, *shapes = FUNCTIONS[name]
    tensors = [lc.Tensor(normal(*shape, seed=i), requires_grad=True) for i, shape in enumerate(shapes)]
    assert gradcheck(function, tensors)
    assert gradgradcheck(function, tensors)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, np.inf], ids=str)
@pytest.mark.parametrize("count", [3, 30])
def test_the_gradient_at_distance_0_is_finite(p, count):
    x = lc.Tensor(normal(count, 2), requires_grad=True)
    ops.cdist(x, x, p).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_unshuffle_undoes_shuffle():
    x = normal(2, 12, 3, 2)
    np.testing.assert_array_equal(ops.pixel_unshuffle(ops.pixel_shuffle(x, 2), 2), x)
    np.testing.assert_array_equal(ops.channel_shuffle(ops.channel_shuffle(x, 3), 4), x)


def test_what_does_not_fit_is_named():
    x = normal(2, 6, 3, 4)
    with pytest.raises(ShapeError, match=r"pixel_shuffle: 2\^2 must divide the 6 channels of \(2, 6, 3, 4\)"):
        ops.pixel_shuffle(x, 2)
    with pytest.raises(ShapeError, match="pixel_unshuffle: 2 must divide height and width"):
        ops.pixel_unshuffle(x, 2)
    with pytest.raises(HyperparameterError, match="factor must be a positive int, got 0"):
        ops.pixel_shuffle(x, 0)
    with pytest.raises(ShapeError, match=r"pixel_shuffle expects inputs of shape \(..., C, H, W\)"):
        ops.pixel_shuffle(x[0, 0], 1)
    with pytest.raises(ShapeError, match="channel_shuffle: groups=4 must divide the 6 channels"):
        ops.channel_shuffle(x, 4)
    with pytest.raises(ShapeError, match=r"cdist expects \(..., M, D\) and \(..., N, D\), got \(3, 4\) and \(2, 3\)"):
        ops.cdist(x[0, 0], normal(2, 3))
    with pytest.raises(HyperparameterError, match="the order p of the norm must not be negative, got -1"):
        ops.cdist(x, x, -1)
    with pytest.raises(HyperparameterError, match="pairwise_distance: the order p"):
        ops.pairwise_distance(x, x, -2)
    with pytest.raises(ShapeError, match=r"bilinear: expected x \(..., I\), y \(..., J\) and weight \(K, I, J\)"):
        ops.bilinear(x, x, normal(2, 4, 3))
    with pytest.raises(ShapeError, match="axis 9 is out of range"):
        ops.cosine_similarity(x, x, 9)
    with pytest.raises(HyperparameterError, match="size must be at least 1, got 0"):
        ops.local_response_norm(x, 0)
    with pytest.raises(ShapeError, match=r"local_response_norm expects inputs of shape \(N, C, ...\)"):
        ops.local_response_norm(x[0, 0], 2)
