"""group_norm, instance_norm and rms_norm agree with PyTorch, forward and gradient, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from same_function import assert_same

from lunar_core import ops

pytestmark = pytest.mark.parity
F = torch.nn.functional


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.sampled_from([(1, 3), (2, 1), (2, 3), (4, 2)]), st.lists(st.integers(1, 4), max_size=3),
       st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99))  # fmt: skip
def test_group_norm(batch, sizes, pixels, weight, bias, last, seed):
    groups, each = sizes
    assume(batch * each * np.prod(pixels) > 1)  # PyTorch refuses one number
    rng = np.random.default_rng(seed)
    x = rng.normal(1, 2, (batch, groups * each, *pixels))
    if last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    params = [rng.normal(size=groups * each) if given else None for given in (weight, bias)]
    eps = 0.1
    ours = ops.group_norm(x, groups, *params, eps)
    if last and pixels:
        assert np.moveaxis(ours, 1, -1).flags.c_contiguous

    def theirs(x, w, b):
        if w is None and b is not None:  # PyTorch's backward fails on a bias without a weight
            w = torch.ones_like(b)
        return F.group_norm(x, groups, w, b, eps)

    assert_same(lambda x, w, b: ops.group_norm(x, groups, w, b, eps), theirs, x, *params)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(2, 4), min_size=1, max_size=3), st.booleans(), st.integers(0, 99))
def test_instance_norm(pixels, affine, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(1, 2, (2, 3, *pixels))
    params = [rng.normal(size=3) if affine else None for _ in range(2)]
    assert_same(
        lambda x, w, b: ops.instance_norm(x, w, b, 0.1),
        lambda x, w, b: F.instance_norm(x, None, None, w, b, eps=0.1),
        x, *params,
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data(), st.booleans(), st.booleans(), st.integers(0, 99))
def test_rms_norm(shape, data, affine, default, seed):
    rng = np.random.default_rng(seed)
    axes = data.draw(st.integers(1, len(shape)))
    x = rng.normal(1, 2, shape)
    weight = rng.normal(size=shape[-axes:]) if affine else None
    eps = None if default else 0.1
    assert_same(
        lambda x, w: ops.rms_norm(x, w, eps, axes), lambda x, w: F.rms_norm(x, tuple(shape[-axes:]), w, eps), x, weight
    )
