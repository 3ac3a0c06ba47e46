"""Fourier transforms: NumPy's laws for lengths and axes, dtypes and errors."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, ShapeError

few = settings(max_examples=60, deadline=None)
NORMS = st.sampled_from([None, "backward", "ortho", "forward"])


@few
@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5), NORMS, st.data())
def test_transforms_along_one_axis_are_numpys(shape, norm, data):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    z = x + 1j * rng.normal(size=shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = data.draw(st.none() | st.integers(1, 7))
    for name, values in [("fft", z), ("ifft", z), ("rfft", x), ("irfft", z), ("hfft", z), ("ihfft", x)]:
        if n is None and name in ("irfft", "hfft") and shape[axis] == 1:
            continue  # a result of length 0
        np.testing.assert_allclose(
            getattr(ops, name)(values, n, axis, norm), getattr(np.fft, name)(values, n, axis, norm), atol=1e-12
        )


@few
@given(hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), NORMS, st.data())
def test_transforms_over_several_axes_are_numpys(shape, norm, data):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    z = x + 1j * rng.normal(size=shape)
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    s = data.draw(st.none() | st.lists(st.integers(1, 6), min_size=len(axes), max_size=len(axes)))
    for name, values in [("fftn", z), ("ifftn", z), ("rfftn", x), ("irfftn", z)]:
        if s is None and name == "irfftn" and shape[axes[-1]] == 1:
            continue
        np.testing.assert_allclose(
            getattr(ops, name)(values, s, axes, norm), getattr(np.fft, name)(values, s, axes, norm), atol=1e-12
        )
    np.testing.assert_array_equal(ops.fftshift(x, axes), np.fft.fftshift(x, axes))
    np.testing.assert_array_equal(ops.ifftshift(ops.fftshift(x)), x)


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_the_inverse_undoes_the_transform(norm):
    x = np.random.default_rng(0).normal(size=(3, 5))
    np.testing.assert_allclose(ops.irfft(ops.rfft(x, norm=norm), 5, norm=norm), x, atol=1e-14)
    np.testing.assert_allclose(ops.ifft2(ops.fft2(x, norm=norm), norm=norm), x, atol=1e-14)


def test_single_precision_stays_single():
    x = lc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.data.astype(np.float32)
    assert ops.fft(x).dtype == np.complex64 and ops.irfft(ops.rfft(x)).dtype == np.float32
    ops.abs(ops.fft(x)).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(ops.fft(x).data, np.fft.fft(y), rtol=1e-6)


def test_a_real_signal_gets_a_real_gradient():
    x = lc.tensor(np.array([1.0, -2.0, 0.5, 3.0]), requires_grad=True)
    z = ops.fft(x)
    (z.real**2 + z.imag**2).sum().backward()
    np.testing.assert_allclose(x.grad.data, 2 * 4 * x.data)  # Parseval


def test_frequencies_are_numpys():
    np.testing.assert_allclose(ops.fftfreq(5, 0.1).data, np.fft.fftfreq(5, 0.1), rtol=1e-6)
    np.testing.assert_allclose(ops.rfftfreq(6, dtype="float64").data, np.fft.rfftfreq(6))


def test_numpys_functions_reach_these():
    x = lc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert np.fft.fft(x, 4).shape == (4,) and np.fft.rfft(x).requires_grad
    assert np.fft.fftshift(x).tolist() == [3, 1, 2] and np.fft.fftn(x, axes=(0,)).shape == (3,)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda x: ops.fft(x, norm="best"),
            ShapeError,
            "fft: norm must be 'backward', 'forward' or 'ortho', got 'best'",
        ),
        (lambda x: ops.fft(x, 0), ShapeError, "fft: the length of axis 1 must be at least 1, got 0"),
        (lambda x: ops.fft(x, axis=2), ShapeError, "fft: axis 2 is out of range"),
        (lambda x: ops.fftn(x, (3,), (0, 1)), ShapeError, "fftn: 1 lengths for 2 axes"),
        (lambda x: ops.fft2(x, axes=(0, 0)), ShapeError, "names an axis twice"),
        (lambda x: ops.irfft(x[:, :1]), ShapeError, "irfft: the length of axis 1 must be at least 1, got 0"),
        (lambda x: ops.rfft(x + 1j), DTypeError, "rfft: expected real values, got complex128"),
        (lambda x: ops.rfftn(x, axes=()), ShapeError, "rfftn: no axes given"),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(lc.tensor(np.arange(6.0).reshape(2, 3)))
