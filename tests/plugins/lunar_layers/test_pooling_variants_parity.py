"""Every pooling layer against PyTorch: values, places and gradients in float64."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

import lunar_core as lc
from lunar_layers import adaptive_pooling, pooling

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

SHAPES = {1: (3, 4, 11), 2: (2, 3, 8, 7), 3: (2, 3, 5, 6, 7)}
MAX = {
    "plain": ((2,), {}),
    "stride": ((3, 2), {}),
    "padding": ((3, 2), {"padding": 1}),
    "ceil": ((2, 3), {"ceil_mode": True}),
    "ceil_padding": ((3, 2), {"padding": 1, "ceil_mode": True}),
    "dilation": ((2, 1), {"dilation": 2}),
    "dilation_padding": ((3, 2), {"dilation": 2, "padding": 1}),
}
AVERAGE = {
    "plain": ((2,), {}),
    "stride": ((3, 2), {}),
    "padding": ((3, 2), {"padding": 1}),
    "inside": ((3, 2), {"padding": 1, "count_include_pad": False}),
    "ceil": ((2, 3), {"ceil_mode": True}),
    "ceil_padding": ((3, 2), {"padding": 1, "ceil_mode": True}),
}
POWER = {
    "sum": ((1.0, 2), {}),
    "square": ((2.0, 3, 2), {}),
    "cube": ((3.0, 2), {}),
    "fraction": ((1.5, 2, 1), {}),
    "ceil": ((2.0, 2, 3), {"ceil_mode": True}),
}


def classes(family, dims):
    return getattr(pooling, f"{family}{dims}D"), getattr(nn, f"{family}{dims}d")


def values(dims, seed=0):
    return np.random.default_rng(seed).normal(size=SHAPES[dims])


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", MAX)
def test_the_maximum_and_its_places_agree(dims, name):
    args, options = MAX[name]
    ours, theirs = classes("MaxPool", dims)
    assert_twins(ours(*args, **options), theirs(*args, **options), values(dims))
    y, places = ours(*args, return_indices=True, **options)(lc.tensor(values(dims)))
    t, expected = theirs(*args, return_indices=True, **options)(torch.tensor(values(dims)))
    np.testing.assert_array_equal(np.asarray(getattr(places, "data", places)), expected.numpy())
    np.testing.assert_array_equal(y.numpy(), t.numpy())


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_gradient_reaches_the_winners_when_places_are_asked_for_too(dims):
    ours, theirs = classes("MaxPool", dims)
    x, t = lc.tensor(values(dims), requires_grad=True), torch.tensor(values(dims), requires_grad=True)
    y, _ = ours(3, 2, return_indices=True)(x)
    z, _ = theirs(3, 2, return_indices=True)(t)
    y.square().sum().backward()
    z.square().sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", AVERAGE)
def test_the_mean_agrees(dims, name):
    args, options = AVERAGE[name]
    ours, theirs = classes("AvgPool", dims)
    assert_twins(ours(*args, **options), theirs(*args, **options), values(dims))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", POWER)
def test_the_power_mean_agrees(dims, name):
    args, options = POWER[name]
    ours, theirs = classes("LPPool", dims)
    assert_twins(ours(*args, **options), theirs(*args, **options), np.abs(values(dims)) + 0.1)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 4, "input", "each"])
@pytest.mark.parametrize("family", ["AdaptiveAvgPool", "AdaptiveMaxPool"])
def test_adaptive_pooling_agrees(family, dims, size):
    size = {"input": SHAPES[dims][2:], "each": (None, 9, 2)[-dims:]}.get(size, size)
    ours = getattr(adaptive_pooling, f"{family}{dims}D")(size)
    theirs = getattr(nn, f"{family}{dims}d")(size[0] if dims == 1 and isinstance(size, tuple) else size)
    assert_twins(ours, theirs, values(dims))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_adaptive_places_agree(dims):
    y, places = getattr(adaptive_pooling, f"AdaptiveMaxPool{dims}D")(3, return_indices=True)(lc.tensor(values(dims)))
    t, expected = getattr(nn, f"AdaptiveMaxPool{dims}d")(3, return_indices=True)(torch.tensor(values(dims)))
    np.testing.assert_array_equal(np.asarray(getattr(places, "data", places)), expected.numpy())
    np.testing.assert_array_equal(y.numpy(), t.numpy())


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_global_pooling_agrees(dims):
    axes = tuple(range(2, dims + 2))

    class Twin(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x, axes)

    tied = np.random.default_rng(0).integers(0, 3, SHAPES[dims]).astype(float)
    for x in (values(dims), tied):
        assert_twins(adaptive_pooling.GlobalAveragePool(), Twin(torch.mean), x)
        assert_twins(adaptive_pooling.GlobalMaxPool(), Twin(torch.amax), x)
    assert adaptive_pooling.GlobalMaxPool(keepdims=True)(values(dims)).shape == (*SHAPES[dims][:2], *(1,) * dims)


UNPOOL = {
    "default_size": ((2,), {}, (2, 3, 8, 6), None),
    "size": ((2,), {}, (2, 3, 8, 7), (8, 7)),
    "overlap": ((3, 2), {}, (2, 3, 8, 7), (8, 7)),
    "padding": ((3, 2), {"padding": 1}, (2, 3, 8, 7), (8, 7)),
}


@pytest.mark.parametrize("name", UNPOOL)
def test_unpooling_agrees(name):
    args, options, shape, size = UNPOOL[name]
    raw = np.random.default_rng(0).normal(size=shape)
    x, t = lc.tensor(raw, requires_grad=True), torch.tensor(raw, requires_grad=True)
    y, places = pooling.MaxPool2D(*args, return_indices=True, **options)(x)
    z, expected = nn.MaxPool2d(*args, return_indices=True, **options)(t)
    back = pooling.MaxUnpool2D(*args, **options)(y, places, output_size=size)
    target = nn.MaxUnpool2d(*args, **options)(z, expected, output_size=size)
    np.testing.assert_array_equal(back.detach().numpy(), target.detach().numpy())
    cotangent = np.random.default_rng(1).normal(size=back.shape)
    back.backward(lc.tensor(cotangent))
    target.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-12)
