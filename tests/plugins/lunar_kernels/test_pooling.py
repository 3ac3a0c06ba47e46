"""Pooling by oneDNN, on shapes and layouts that hypothesis makes, with ties among the values."""

import numpy as np
import pytest
from agreement import LAYOUTS, assert_close, lay, reference, single
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar_core.op import OPS
from lunar_core.ops.windows import window_count
from lunar_kernels import pooling

fixed = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
layouts = st.sampled_from(LAYOUTS)


@st.composite
def pools(draw):
    """Images of few different values, so that windows have ties, and the static arguments."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 1)]))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(draw(st.integers((k - 1) * d + 1, 12)) for k, d in zip(kernel, dilation))
    ceil_mode = draw(st.booleans())
    counts = tuple(
        window_count(n, k, s, (p, p), d, ceil_mode) for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    )
    shape = (draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 16, 17])), *size)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(-4, 5, shape).astype(np.float64)
    g = rng.integers(-4, 5, (*shape[:2], *counts)).astype(np.float64)
    static = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "counts": counts}
    return x, g, static


@fixed
@given(pool=pools(), layout=layouts)
def test_maxima_and_their_positions_are_those_of_the_reference(onednn, pool, layout):
    x, _, static = pool
    x32 = lay(single(x), layout)
    assert_close(OPS["max_pool2d"](x32, **static), reference("max_pool2d")(x, **static), tolerance=0)
    assert_close(
        OPS["max_pool2d_with_index"](x32, **static), reference("max_pool2d_with_index")(x, **static), tolerance=0
    )


@fixed
@given(pool=pools(), layout=layouts, index_layout=layouts)
def test_the_gradient_of_maxima_is_that_of_the_reference(onednn, pool, layout, index_layout):
    x, g, static = pool
    _, index = reference("max_pool2d_with_index")(x, **static)
    got = OPS["max_pool2d_grad"](lay(single(g), layout), lay(index, index_layout), size=x.shape[2:], **static)
    assert_close(got, reference("max_pool2d_grad")(g, index, size=x.shape[2:], **static), tolerance=0)


@fixed
@given(pool=pools(), layout=layouts, include=st.booleans())
def test_averages_and_their_gradient_are_those_of_the_reference(onednn, pool, layout, include):
    x, g, static = pool
    if static.pop("dilation") != (1, 1):
        return
    static["count_include_pad"] = include
    assert_close(OPS["avg_pool2d"](lay(single(x), layout), **static), reference("avg_pool2d")(x, **static))
    got = OPS["avg_pool2d_grad"](lay(single(g), layout), size=x.shape[2:], **static)
    assert_close(got, reference("avg_pool2d_grad")(g, size=x.shape[2:], **static))


def test_the_pools_of_real_networks_run_in_onednn(onednn):
    x = single(np.random.default_rng(0).normal(size=(2, 16, 28, 28)))
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "counts": (14, 14)}
    out, index = pooling.max_pool2d_with_index(lay(x, "last"), **static)
    assert out.transpose(0, 2, 3, 1).flags.c_contiguous and index.transpose(0, 2, 3, 1).flags.c_contiguous
    assert pooling.max_pool2d_grad(out, index, size=(28, 28), **static) is not NotImplemented
    # images that come in rows of channels, as from a flattened layer, too
    assert pooling.max_pool2d_grad(lay(out, "plain"), index, size=(28, 28), **static) is not NotImplemented


@pytest.mark.parametrize("name", ["max_pool2d", "max_pool2d_with_index", "avg_pool2d"])
def test_images_that_lie_otherwise_are_left_to_the_reference_which_keeps_their_order(onednn, name):
    for sample in OPS[name].samples()[:3]:
        plain = lay(single(sample.args[0]), "plain")
        assert onednn.kernels[name](plain, **sample.static) is NotImplemented
        out = OPS[name](plain, **sample.static)
        assert (out[0] if isinstance(out, tuple) else out).flags.c_contiguous


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-3.4028235e38"])
def test_images_with_a_value_that_is_no_usual_number_are_left_to_the_reference(onednn, value):
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "counts": (2, 2)}
    for kernel in (pooling.max_pool2d, pooling.max_pool2d_with_index):
        x = lay(np.ones((1, 3, 4, 4), np.float32), "last")
        assert kernel(x, **static) is not NotImplemented
        x[0, 0, 1, 1] = np.float32(value)
        assert kernel(x, **static) is NotImplemented
        x[0, 0, 1, 1] = 1
        assert kernel(x, **static) is not NotImplemented


def test_infinities_win_and_lose_as_in_the_reference(onednn):
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6))
    x[np.abs(x) > 1] = np.inf
    x[np.abs(x) < 0.3] = -np.inf
    static = {"kernel": (3, 3), "stride": (1, 2), "padding": (1, 1), "dilation": (1, 1), "counts": (6, 3)}
    got, expected = OPS["max_pool2d_with_index"](single(x), **static), reference("max_pool2d_with_index")(x, **static)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-6)
    np.testing.assert_array_equal(got[1], expected[1])
