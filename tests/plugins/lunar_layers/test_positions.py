"""Position schemes against their formulas, written with plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_layers.multi_head_attention import MultiHeadAttention
from lunar_layers.positions import ALiBi, PositionalEncoding, RotaryEmbedding, T5RelativePositionBias


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("offset", [0, 7])
@pytest.mark.parametrize("width", [6, 5])
def test_sinusoids_alternate_sine_and_cosine(width, offset):
    x = normal(2, 4, width)
    y = PositionalEncoding()(lc.tensor(x), offset).numpy()
    for t in range(4):
        for j in range(width):
            angle = (t + offset) / 10000 ** ((j - j % 2) / width)
            added = math.cos(angle) if j % 2 else math.sin(angle)
            np.testing.assert_allclose(y[:, t, j], x[:, t, j] + added, rtol=1e-12)


def test_learned_places_are_rows_of_a_table():
    layer = PositionalEncoding("learned", max_length=6)
    x = lc.tensor(normal(2, 4, 3), requires_grad=True)
    y = layer(x, 2)
    np.testing.assert_array_equal(y.detach().numpy(), x.detach().numpy() + layer.weight.detach().numpy()[2:6])
    y.sum().backward()
    assert layer.weight.grad.numpy().sum(axis=1).tolist() == [0, 0, 6, 6, 6, 6]
    with pytest.raises(ShapeError, match=r"has learned 6 places, got tokens up to place 7[\s\S]*max_length=7"):
        layer(x, 3)


def rotated(x, base, dim, interleaved, offset, scaling):
    """Every pair turned by the matrix of its angle."""
    y = x.copy()
    for t in range(x.shape[-2]):
        for i in range(dim // 2):
            angle = (t + offset) / scaling * base ** (-2 * i / dim)
            a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + dim // 2)
            c, s = math.cos(angle), math.sin(angle)
            y[..., t, a] = c * x[..., t, a] - s * x[..., t, b]
            y[..., t, b] = s * x[..., t, a] + c * x[..., t, b]
    return y


@pytest.mark.parametrize("interleaved", [True, False], ids=["neighbours", "halves"])
@pytest.mark.parametrize(
    "options", [{}, {"dim": 4}, {"base": 100.0, "scaling": 4.0}], ids=["default", "part", "scaled"]
)
def test_rotary_embedding_turns_pairs(options, interleaved):
    x = normal(2, 3, 5, 8)
    layer = RotaryEmbedding(interleaved=interleaved, **options)
    expected = rotated(
        x, options.get("base", 10000.0), options.get("dim", 8), interleaved, 3, options.get("scaling", 1.0)
    )
    np.testing.assert_allclose(layer(lc.tensor(x), 3).numpy(), expected, rtol=1e-12, atol=1e-14)


def test_rotated_products_depend_on_the_distance_alone():
    layer = RotaryEmbedding()
    q, k = lc.tensor(normal(4, 8)), lc.tensor(normal(4, 8, seed=1))
    near = layer(q, 0) @ layer(k, 0).mT
    far = layer(q, 1000) @ layer(k, 1000).mT
    np.testing.assert_allclose(near.numpy(), far.numpy(), rtol=1e-9, atol=1e-11)


def test_rotation_is_differentiable():
    from lunar_core.testing.gradcheck import gradcheck

    for interleaved in (True, False):
        layer = RotaryEmbedding(4, interleaved=interleaved)
        gradcheck(layer, [lc.tensor(normal(2, 3, 6), requires_grad=True)])


def test_rotation_of_an_odd_width_says_what_to_change():
    with pytest.raises(ShapeError, match=r"pairs of all features[\s\S]*width of a head is even"):
        RotaryEmbedding()(lc.ones((2, 3, 5)))
    with pytest.raises(HyperparameterError, match="an even number > 0"):
        RotaryEmbedding(3)


# The slopes that the paper states for 8 heads; for 12 those of 8, and then every second one of 16.
SLOPES = {
    1: [2**-8],
    4: [2**-2, 2**-4, 2**-6, 2**-8],
    8: [2 ** -(i + 1) for i in range(8)],
    12: [2 ** -(i + 1) for i in range(8)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5],
}


@pytest.mark.parametrize("heads", SLOPES)
def test_alibi_falls_with_the_distance(heads):
    q, k = lc.tensor(normal(1, heads, 2, 4)), lc.tensor(normal(1, heads, 5, 4))
    bias = np.asarray(ALiBi()(q, k, 3))
    for h in range(heads):
        for i in range(2):
            for j in range(5):
                np.testing.assert_allclose(bias[h, i, j], -SLOPES[heads][h] * abs(i + 3 - j), rtol=1e-15)


def t5_bucket(distance, bidirectional, buckets, furthest):
    """The bucket of key place - query place, as the paper's code counts them."""
    first = 0
    if bidirectional:
        buckets //= 2
        first, distance = (buckets if distance > 0 else 0), abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    share = math.log(distance / exact) / math.log(furthest / exact)
    return first + min(exact + int(share * (buckets - exact) + 1e-7), buckets - 1)


@pytest.mark.parametrize("bidirectional", [True, False], ids=["both-sides", "causal"])
def test_t5_looks_the_distance_up_in_buckets(bidirectional):
    layer = T5RelativePositionBias(8, 20, bidirectional=bidirectional, num_heads=2)
    q, k = lc.tensor(normal(1, 2, 30, 4)), lc.tensor(normal(1, 2, 40, 4))
    bias = layer(q, k, 10)
    table = layer.weight.detach().numpy()
    for i in range(30):
        for j in range(40):
            row = table[t5_bucket(j - i - 10, bidirectional, 8, 20)]
            np.testing.assert_array_equal(bias.detach().numpy()[:, i, j], row)
    bias.sum().backward()
    assert layer.weight.grad.numpy().sum() == 2 * 30 * 40


def test_t5_refuses_what_its_table_does_not_fit():
    layer = T5RelativePositionBias(num_heads=2)
    with pytest.raises(ShapeError, match="table for 2 heads"):
        layer(lc.ones((1, 3, 4, 4)), lc.ones((1, 3, 4, 4)))
    with pytest.raises(ShapeError, match=r"queries and keys \(batch, heads, time, width\)"):
        T5RelativePositionBias()(lc.ones((4, 4)), lc.ones((4, 4)))
    with pytest.raises(HyperparameterError, match="max_distance"):
        T5RelativePositionBias(32, 8)


@pytest.mark.parametrize("name", ["rotary_embedding", "alibi", "t5_relative_position_bias"])
def test_a_scheme_in_attention_makes_places_matter(name):
    """Without places, attention gives the same to the same token wherever it stands; with them it does not."""
    layer = MultiHeadAttention(2, position=name, embed_dim=8)
    x = np.repeat(normal(1, 1, 8), 6, axis=1).astype(np.float32)
    x[:, 3:] = -x[:, 3:]
    y = layer(lc.tensor(x)).detach().numpy()[0]
    assert np.abs(y[0] - y[1]).max() > 1e-5
    plain = MultiHeadAttention(2, embed_dim=8)(lc.tensor(x)).detach().numpy()[0]
    np.testing.assert_allclose(plain[0], plain[1], rtol=1e-5)
