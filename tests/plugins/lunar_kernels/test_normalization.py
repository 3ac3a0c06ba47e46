"""batch_norm and layer_norm by oneDNN, on shapes and layouts that hypothesis makes."""

import numpy as np
import pytest
from agreement import LAYOUTS, assert_close, lay, reference, single
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_core.op import OPS
from lunar_kernels import normalization

fixed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
layouts = st.sampled_from(LAYOUTS)


@st.composite
def batches(draw):
    """x (N, C, ...), a gradient, weight and bias or None."""
    c = draw(st.sampled_from([1, 3, 16, 16, 32, 48]))
    rest = draw(st.lists(st.integers(1, 6), max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (draw(st.integers(1, 5)), c, *rest)
    vectors = [rng.uniform(0.5, 2, c) if draw(st.booleans()) else None for _ in range(2)]
    return rng.normal(size=shape) * 2 + 1, rng.normal(size=shape), *vectors


def moments(x):
    axes = (0, *range(2, x.ndim))
    return x.mean(axes), x.var(axes)


@fixed
@given(batch=batches(), layout=layouts)
def test_batch_norm_is_that_of_the_reference(onednn, batch, layout):
    x, _, weight, bias = batch
    x32 = lay(single(x), layout)
    got = OPS["batch_norm"](x32, single(weight), single(bias), eps=0.01)
    assert_close(got, reference("batch_norm")(x, weight, bias, eps=0.01), tolerance=3e-5)
    assert_close(OPS["batch_moments"](x32), reference("batch_moments")(x))


@fixed
@given(batch=batches(), layout=layouts, g_layout=layouts)
def test_the_gradients_of_batch_norm_are_those_of_the_reference(onednn, batch, layout, g_layout):
    x, g, weight, _ = batch
    mean, var = moments(x)
    args = (lay(single(g), g_layout), lay(single(x), layout), *map(single, (weight, mean, var)))
    got = OPS["batch_norm_grad"](*args, eps=0.01)
    assert_close(got, reference("batch_norm_grad")(g, x, weight, mean, var, eps=0.01), tolerance=5e-5)


@st.composite
def rows(draw):
    """x (..., *D), a gradient, weight and bias of shape D or None, how many axes D has."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    axes = draw(st.integers(1, len(shape)))
    tail = shape[len(shape) - axes :]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    vectors = [rng.uniform(0.5, 2, tail) if draw(st.booleans()) else None for _ in range(2)]
    return rng.normal(size=shape) * 2 + 1, rng.normal(size=shape), *vectors, axes


@fixed
@given(row=rows(), layout=layouts)
def test_layer_norm_is_that_of_the_reference(onednn, row, layout):
    x, _, weight, bias, axes = row
    x32 = lay(single(x), layout if x.ndim > 1 else "plain")
    got = OPS["layer_norm"](x32, single(weight), single(bias), axes=axes, eps=0.01)
    assert_close(got, reference("layer_norm")(x, weight, bias, axes=axes, eps=0.01), tolerance=3e-5)


@fixed
@given(row=rows(), affine=st.booleans())
def test_the_gradients_of_layer_norm_are_those_of_the_reference(onednn, row, affine):
    x, g, weight, _, axes = row
    static = {"axes": axes, "eps": 0.01, "affine": affine}
    got = OPS["layer_norm_grad"](single(g), single(x), single(weight), **static)
    assert_close(got, reference("layer_norm_grad")(g, x, weight, **static), tolerance=1e-4)


@pytest.mark.parametrize("shape", [(4, 16, 8, 8), (8, 64), (2, 32, 10)])
def test_the_batch_norms_of_real_networks_run_in_onednn(onednn, shape):
    x = lay(single(np.random.default_rng(0).normal(size=shape)), "last")
    y, mean, var = normalization.batch_norm(x, None, None, 1e-5)
    assert np.moveaxis(y, 1, -1).flags.c_contiguous
    # a gradient may also come in rows of pixels for each channel
    for g in (x, lay(x, "plain")):
        gradients = normalization.batch_norm_grad(g, x, None, mean, var, 1e-5)
        assert len(gradients) == 3


def test_weights_may_be_left_out_one_by_one(onednn):
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(3, 16, 4, 4)), rng.normal(size=16), rng.normal(size=16)
    for w in (weight, None):
        for b in (bias, None):
            got = normalization.batch_norm(lay(single(x), "last"), single(w), single(b), 0.01)
            assert_close(got, reference("batch_norm")(x, w, b, eps=0.01))
            row = x.reshape(-1, 16)
            got = normalization.layer_norm(single(row), single(w), single(b), 1, 0.01)
            assert_close(got, reference("layer_norm")(row, w, b, axes=1, eps=0.01))


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("shape", [(4, 16, 5, 7), (3, 32), (2, 48, 6)])
def test_a_number_and_an_offset_for_each_channel(onednn, shape, shift):
    rng = np.random.default_rng(0)
    x, scale = rng.normal(size=shape), rng.normal(size=shape[1])
    offset = rng.normal(size=shape[1]) if shift else None
    x32 = lay(single(x), "last")
    got = normalization.channel_affine(x32, single(scale), None if offset is None else single(offset))
    assert got is not NotImplemented and got.strides == x32.strides
    assert_close(got, reference("channel_affine")(x, scale, offset))
    x32.flat[0] = np.nan
    assert np.isnan(normalization.channel_affine(x32, single(scale), None)).sum() == 1
