"""Compares the kernels of a provider with the NumPy reference: memory layouts, tolerances."""

import numpy as np

from lunar_core.op import OPS


def reference(name):
    """The NumPy implementation of an op."""
    forward = OPS[name].forward
    return lambda *arrays, **static: forward(np, *arrays, **static)


def lay(x, layout):
    """A copy of ``x`` with the same values in another memory layout."""
    if layout == "plain":
        return np.ascontiguousarray(x)
    if layout == "last":  # channels-last
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "reversed":  # the first axis densest
        return np.ascontiguousarray(x.T).T
    if layout == "gaps":  # every other element of a larger array
        wide = np.full([2 * n for n in x.shape], 7, x.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
        view[...] = x
        return view
    if layout == "window":  # a part of a larger array
        wide = np.full([n + 2 for n in x.shape], 7, x.dtype)
        view = wide[tuple(slice(1, -1) for _ in x.shape)]
        view[...] = x
        return view
    if layout == "backwards":  # a negative stride
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    raise ValueError(layout)


LAYOUTS = ["plain", "last", "reversed", "gaps", "window", "backwards"]


def assert_close(got, expected, *, tolerance=1e-5, about=""):
    """Results of a float32 kernel against those of the float64 reference, relative to the largest of them."""
    gots, expecteds = (value if isinstance(value, tuple) else (value,) for value in (got, expected))
    assert len(gots) == len(expecteds), about
    for a, b in zip(gots, expecteds):
        assert a.shape == b.shape, about
        if a.dtype.kind != "f":
            np.testing.assert_array_equal(a, b, err_msg=about)
            continue
        assert a.dtype == np.float32, about
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=about)


def single(value):
    """Float64 arrays as float32 in the same layout; everything else as it is."""
    is_double = isinstance(value, np.ndarray) and value.dtype == np.float64
    return value.astype(np.float32, order="K") if is_double else value
