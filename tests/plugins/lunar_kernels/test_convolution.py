"""conv2d and its two adjoints by oneDNN, on shapes, strides and layouts that hypothesis makes."""

import numpy as np
from agreement import LAYOUTS, assert_close, lay, reference, single
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lunar_core.op import OPS
from lunar_kernels import convolution

small = st.integers(1, 6)
step = st.integers(1, 3)
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))


@st.composite
def geometries(draw):
    """Shapes of images, weight and output, and the static arguments."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 16]))
    c, o = groups * draw(st.sampled_from([1, 2, 3, 8, 17])), groups * draw(st.sampled_from([1, 2, 3, 8, 16]))
    kernel, stride, dilation = draw(st.tuples(small, small)), draw(st.tuples(step, step)), draw(st.tuples(step, step))
    padding, size = draw(st.tuples(pads, pads)), draw(st.tuples(st.integers(1, 17), st.integers(1, 17)))
    counts = tuple(
        (n + sum(p) - (k - 1) * d - 1) // s + 1 for n, p, k, d, s in zip(size, padding, kernel, dilation, stride)
    )
    assume(min(counts) >= 1)
    n = draw(st.integers(1, 3))
    static = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (n, c, *size), (o, c // groups, *kernel), (n, o, *counts), static


def arrays(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


layouts = st.sampled_from(LAYOUTS)
fixed = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fixed
@given(geometry=geometries(), bias=st.booleans(), x_layout=layouts, w_layout=layouts, seed=st.integers(0, 99))
def test_conv2d_is_that_of_the_reference(onednn, geometry, bias, x_layout, w_layout, seed):
    x_shape, w_shape, _, static = geometry
    x, w, b = arrays(seed, x_shape, w_shape, w_shape[:1])
    b = b if bias else None
    got = OPS["conv2d"](lay(single(x), x_layout), lay(single(w), w_layout), single(b), **static)
    assert_close(got, reference("conv2d")(x, w, b, **static))


@fixed
@given(geometry=geometries(), g_layout=layouts, w_layout=layouts, seed=st.integers(0, 99))
def test_the_input_gradient_is_that_of_the_reference(onednn, geometry, g_layout, w_layout, seed):
    x_shape, w_shape, y_shape, static = geometry
    g, w = arrays(seed, y_shape, w_shape)
    got = OPS["conv2d_input_grad"](lay(single(g), g_layout), lay(single(w), w_layout), size=x_shape[2:], **static)
    assert_close(got, reference("conv2d_input_grad")(g, w, size=x_shape[2:], **static))


@fixed
@given(geometry=geometries(), x_layout=layouts, g_layout=layouts, seed=st.integers(0, 99))
def test_the_weight_gradient_is_that_of_the_reference(onednn, geometry, x_layout, g_layout, seed):
    x_shape, w_shape, y_shape, static = geometry
    x, g = arrays(seed, x_shape, y_shape)
    got = OPS["conv2d_weight_grad"](lay(single(x), x_layout), lay(single(g), g_layout), kernel=w_shape[2:], **static)
    assert_close(got, reference("conv2d_weight_grad")(x, g, kernel=w_shape[2:], **static))


def test_a_gradient_that_is_one_number_everywhere_is_taken_as_it_is(onednn):
    """``sum().backward()`` gives a broadcast number, whose strides are zero."""
    x, w = arrays(0, (2, 3, 8, 8), (4, 3, 3, 3))
    static = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    g = np.broadcast_to(np.float64(0.5), (2, 4, 8, 8))
    for name, args, extra in [
        ("conv2d_input_grad", (g, w), {"size": (8, 8)}),
        ("conv2d_weight_grad", (x, g), {"kernel": (3, 3)}),
    ]:
        given_args = [np.broadcast_to(np.float32(0.5), a.shape) if a is g else single(a) for a in args]
        assert_close(OPS[name](*given_args, **extra, **static), reference(name)(*args, **extra, **static))


def test_a_window_beyond_the_image_sees_padding_only(onednn):
    x, w = arrays(0, (1, 2, 1, 1), (3, 2, 3, 3))
    static = {"stride": (1, 1), "padding": ((4, 4), (4, 4)), "dilation": (1, 1), "groups": 1}
    got = OPS["conv2d"](single(x), single(w), None, **static)
    assert_close(got, reference("conv2d")(x, w, None, **static))
    assert convolution._forward.table
