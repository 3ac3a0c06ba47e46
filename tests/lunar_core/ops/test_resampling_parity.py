"""interpolate, grid_sample and affine_grid agree with PyTorch, forward and gradient, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from same_function import assert_same

from lunar_core import ops

pytestmark = pytest.mark.parity
F = torch.nn.functional
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_interpolate(data):
    axes = data.draw(st.integers(1, 3))
    modes = ["nearest", "nearest-exact", "area", LINEAR[axes], *(["bicubic"] if axes == 2 else [])]
    mode = data.draw(st.sampled_from(modes))
    x = np.random.default_rng(data.draw(st.integers(0, 9))).normal(
        size=(2, data.draw(st.integers(1, 3)), *[data.draw(st.integers(1, 6)) for _ in range(axes)])
    )
    if data.draw(st.booleans()):
        options = {"size": tuple(data.draw(st.integers(1, 9)) for _ in range(axes))}
    else:
        factor = st.sampled_from([1.0, 2.0, 3.0, 1.5, 2.3, 1.25])
        options = {"scale_factor": data.draw(st.one_of(factor, st.tuples(*[factor] * axes)))}
        if mode != "area" and data.draw(st.booleans()):
            options["recompute_scale_factor"] = True
    align = mode not in ("nearest", "nearest-exact", "area") and data.draw(st.booleans())
    theirs = dict(options, align_corners=align if mode in (*LINEAR.values(), "bicubic") else None)
    assert_same(
        lambda x: ops.interpolate(x, mode=mode, align_corners=align, **options),
        lambda x: F.interpolate(x, mode=mode, **theirs),
        x,
        rtol=1e-9,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_the_same_neighbours_are_the_nearest(mode, dtype):
    for size in range(1, 40):
        x = np.arange(size, dtype=dtype)[None, None]
        for out in (1, 2, 3, 7, 12, 33, 64, 100):
            expected = F.interpolate(torch.from_numpy(x), out, mode=mode).numpy()
            np.testing.assert_array_equal(ops.interpolate(x, out, mode=mode), expected)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_grid_sample(data):
    axes = data.draw(st.sampled_from([2, 3]))
    mode = data.draw(st.sampled_from(["bilinear", "nearest", *(["bicubic"] if axes == 2 else [])]))
    padding, align = data.draw(st.sampled_from(["zeros", "border", "reflection"])), data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.normal(size=(2, 3, *[data.draw(st.integers(1, 5)) for _ in range(axes)]))
    grid = rng.uniform(-2.5, 2.5, (2, *[data.draw(st.integers(1, 3)) for _ in range(axes)], axes))
    assert_same(
        lambda x, g: ops.grid_sample(x, g, mode, padding, align) + g.sum() * 0,
        lambda x, g: F.grid_sample(x, g, mode, padding, align) + g.sum() * 0,
        x, grid, rtol=1e-8, atol=1e-10,
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=3), st.booleans())
def test_affine_grid(pixels, align):
    axes = len(pixels)
    theta = np.random.default_rng(0).normal(size=(2, axes, axes + 1))
    size = (2, 3, *pixels)
    assert_same(
        lambda t: ops.affine_grid(t, size, align), lambda t: F.affine_grid(t, list(size), align_corners=align), theta
    )
