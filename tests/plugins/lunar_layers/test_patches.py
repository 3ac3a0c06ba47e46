"""Patches and class tokens: what they compute, against convolutions and plain loops."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import ShapeError
from lunar_layers.patches import ClassToken, PatchEmbedding, PatchMerging


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("patch", [2, (3, 2)], ids=str)
def test_patch_embedding_is_the_strided_convolution(patch):
    x = lc.tensor(normal(2, 3, 6, 4), requires_grad=True)
    layer = PatchEmbedding(5, patch)
    layer(x)
    layer.bias.data[:] = normal(5)
    expected = ops.conv2d(x, layer.weight, layer.bias, stride=patch)
    n, c, h, w = expected.shape
    flat = expected.detach().numpy().reshape(n, c, h * w).swapaxes(1, 2)
    y = layer(x)
    np.testing.assert_allclose(y.detach().numpy(), flat, rtol=1e-12, atol=1e-13)
    layer.flatten = False
    np.testing.assert_array_equal(layer(x).detach().numpy(), y.detach().numpy().reshape(n, h, w, c))
    (a,) = lc.grad((y * y).sum(), [x])
    (b,) = lc.grad((expected * expected).sum(), [x])
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)


def test_patches_may_be_normalised():
    y = PatchEmbedding(8, 2, norm="layer_norm")(lc.tensor(normal(2, 3, 4, 4)))
    np.testing.assert_allclose(y.detach().numpy().mean(-1), 0, atol=1e-12)


@pytest.mark.parametrize("norm", [None, "layer_norm"])
@pytest.mark.parametrize("grid", [(4, 6), (3, 5)], ids=str)
def test_patch_merging_joins_two_by_two_neighbours(grid, norm):
    x = normal(2, *grid, 3)
    layer = PatchMerging(norm=norm)
    y = layer(lc.tensor(x)).detach().numpy()
    weight = layer.reduction.weight.detach().numpy()
    assert weight.shape == (6, 12)
    assert y.shape == (2, (grid[0] + 1) // 2, (grid[1] + 1) // 2, 6)
    for n, i, j in np.ndindex(*y.shape[:3]):
        joined = []
        for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
            a, b = 2 * i + row, 2 * j + column
            joined.append(x[n, a, b] if a < grid[0] and b < grid[1] else np.zeros(3))
        joined = np.concatenate(joined)
        if norm:
            joined = (joined - joined.mean()) / np.sqrt(joined.var() + 1e-5)
        np.testing.assert_allclose(y[n, i, j], weight @ joined, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [1, 3])
def test_class_tokens_stand_in_front_of_each_sequence(count):
    layer, x = ClassToken(count), normal(2, 4, 5)
    y = layer(lc.tensor(x))
    for row in y.detach().numpy():
        np.testing.assert_array_equal(row[:count], layer.weight.detach().numpy())
    np.testing.assert_array_equal(y.detach().numpy()[:, count:], x)
    y.sum().backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy(), np.full((count, 5), 2.0))


def test_mistakes_are_told_in_words():
    with pytest.raises(ShapeError, match=r"patches of 4 x 4, which do not divide \(6, 8\)[\s\S]*resize or pad"):
        PatchEmbedding(8, 4)(lc.ones((1, 3, 6, 8)))
    with pytest.raises(ShapeError, match=r"\(N, H, W, C\), got \(1, 4, 8\)[\s\S]*flatten=False"):
        PatchMerging()(lc.ones((1, 4, 8)))
    with pytest.raises(ShapeError, match="with 4 features"):
        ClassToken(embed_dim=4)(lc.ones((1, 3, 5)))
