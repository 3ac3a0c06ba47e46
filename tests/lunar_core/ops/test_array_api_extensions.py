"""The linear-algebra and Fourier extensions of the array API standard agree with NumPy's namespaces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.errors import ShapeError
from lunar_core.testing import strategies as lst

xp = lc.tensor(0.0).__array_namespace__()
T = lc.tensor
EXAMPLES = settings(max_examples=20, deadline=None)


def same(got, expected, rtol=1e-9):
    """Equal in shape and dtype, and in value up to rounding."""
    if isinstance(expected, tuple):
        assert getattr(got, "_fields", None) == getattr(expected, "_fields", None)
        for a, b in zip(got, expected, strict=True):
            same(a, b, rtol)
        return
    expected = np.asarray(expected)
    assert isinstance(got, lc.Tensor) and (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got.numpy(), expected, rtol=rtol, atol=rtol)


@st.composite
def matrices(draw, square=True, dtype=None):
    """Stacks of well-conditioned matrices, with leading axes or none; some are empty stacks."""
    head = draw(lst.shapes(max_dims=2, max_side=3))
    m = draw(st.integers(1, 4))
    n = m if square else draw(st.integers(1, 4))
    dtype = dtype or draw(st.sampled_from(["float64", "complex128"]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.uniform(-1, 1, (*head, m, n)) + (1j * rng.uniform(-1, 1, (*head, m, n)) if dtype == "complex128" else 0)
    return (x + 4 * np.eye(m, n)).astype(dtype)


SQUARE = ["det", "inv", "slogdet", "eigvalsh", "trace", "diagonal", "matrix_transpose", "svdvals", "matrix_rank"]


@pytest.mark.parametrize("name", SQUARE)
@EXAMPLES
@given(x=matrices())
def test_functions_of_square_matrices_agree(name, x):
    same(getattr(xp.linalg, name)(T(x)), getattr(np.linalg, name)(x))


@EXAMPLES
@given(x=matrices(square=False))
def test_functions_of_any_matrices_agree(x):
    t = T(x)
    same(xp.linalg.svdvals(t), np.linalg.svdvals(x))
    same(xp.linalg.matrix_rank(t), np.linalg.matrix_rank(x))
    same(xp.linalg.pinv(t), np.linalg.pinv(x), 1e-8)
    same(xp.linalg.diagonal(t, offset=1), np.linalg.diagonal(x, offset=1))
    same(xp.linalg.trace(t, offset=-1), np.linalg.trace(x, offset=-1))
    for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        keep = order in (1, 2)
        same(xp.linalg.matrix_norm(t, ord=order, keepdims=keep), np.linalg.matrix_norm(x, ord=order, keepdims=keep))


@EXAMPLES
@given(x=matrices(square=False), full=st.booleans())
def test_factorizations_give_the_matrix_back(x, full):
    t = T(x)
    u, s, vh = xp.linalg.svd(t, full_matrices=full)
    k = s.shape[-1]
    same((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x)
    assert tuple(a.shape for a in (u, s, vh)) == tuple(a.shape for a in np.linalg.svd(x, full_matrices=full))
    q, r = xp.linalg.qr(t, mode="complete" if full else "reduced")
    same(q @ r, x)
    assert [q.shape, r.shape] == [a.shape for a in np.linalg.qr(x, mode="complete" if full else "reduced")]


@EXAMPLES
@given(x=matrices())
def test_hermitian_factorizations_agree(x):
    h = x @ np.conj(np.swapaxes(x, -1, -2))
    same(xp.linalg.cholesky(T(h)), np.linalg.cholesky(h))
    same(xp.linalg.cholesky(T(h), upper=True), np.linalg.cholesky(h, upper=True))
    w, v = xp.linalg.eigh(T(h))
    same(w, np.linalg.eigvalsh(h))
    same((v * w[..., None, :]) @ xp.conj(v).mT, h)


@EXAMPLES
@given(x=matrices(), n=st.integers(-3, 5))
def test_matrix_powers_agree(x, n):
    same(xp.linalg.matrix_power(T(x), n), np.linalg.matrix_power(x, n))


@EXAMPLES
@given(x=matrices(dtype="float64"), columns=st.integers(1, 3))
def test_solutions_agree(x, columns):
    b = np.arange(float(np.prod((*x.shape[:-1], columns)))).reshape(*x.shape[:-1], columns)
    same(xp.linalg.solve(T(x), T(b)), np.linalg.solve(x, b))
    vector = np.arange(float(x.shape[-1]))
    same(xp.linalg.solve(T(x), T(vector)), np.linalg.solve(x, vector))


@EXAMPLES
@given(data=st.data())
def test_vector_norms_agree(data):
    x = data.draw(lst.arrays(lst.dtypes("real", "complex"), lst.shapes(1, 3, min_side=1)))
    axis, keep = data.draw(lst.axes(x.ndim)), data.draw(st.booleans())
    for order in (0, 1, 2, 3.5, np.inf, -np.inf):
        expected = np.linalg.vector_norm(x, axis=axis, keepdims=keep, ord=order)
        same(xp.linalg.vector_norm(T(x), axis=axis, keepdims=keep, ord=order), expected, 1e-4)


@EXAMPLES
@given(data=st.data())
def test_products_agree(data):
    a, b = data.draw(lst.broadcastable_shapes(2, max_dims=2))
    n, m, k = (data.draw(st.integers(1, 4)) for _ in range(3))
    x, y = data.draw(lst.arrays("float64", (*a, n, m))), data.draw(lst.arrays("float64", (*b, m, k)))
    same(xp.matmul(T(x), T(y)), np.matmul(x, y))
    same(T(x) @ T(y), x @ y)
    same(xp.linalg.tensordot(T(x), T(y), axes=((-1,), (-2,))), np.tensordot(x, y, axes=((-1,), (-2,))))
    same(xp.tensordot(T(x[..., 0]), T(y), axes=0), np.tensordot(x[..., 0], y, axes=0))
    u, v = data.draw(lst.arrays("complex128", (*a, m))), data.draw(lst.arrays("complex128", (*b, m)))
    same(xp.vecdot(T(u), T(v)), np.vecdot(u, v))
    same(xp.linalg.vecdot(T(u), T(v), axis=-1), np.linalg.vecdot(u, v))
    p, q = data.draw(lst.arrays("float64", (*a, 3))), data.draw(lst.arrays("float64", (*a, 3)))
    same(xp.linalg.cross(T(p), T(q)), np.linalg.cross(p, q))
    same(xp.linalg.outer(T(p.reshape(-1)), T(q.reshape(-1))), np.linalg.outer(p.reshape(-1), q.reshape(-1)))
    with pytest.raises(ShapeError, match="two vectors"):
        xp.linalg.outer(T(np.ones((2, 2))), T(np.ones(2)))


def test_tolerances_may_differ_for_each_matrix():
    x = np.stack([np.diag([1.0, 1e-3, 1e-6])] * 3)
    rtol = np.array([1e-2, 1e-4, 1e-8])
    same(xp.linalg.matrix_rank(T(x), rtol=T(rtol)), np.linalg.matrix_rank(x, rtol=rtol))
    same(xp.linalg.pinv(T(x), rtol=T(rtol)), np.linalg.pinv(x, rtol=rtol))


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
@EXAMPLES
@given(data=st.data())
def test_transforms_of_one_axis_agree(name, data):
    kind = "real" if name in ("rfft", "ihfft") else "complex"
    x = data.draw(lst.arrays(lst.dtypes(kind), lst.shapes(1, 3, min_side=2)))
    how = {
        "axis": data.draw(st.integers(-x.ndim, x.ndim - 1)),
        "n": data.draw(st.none() | st.integers(1, 7)),
        "norm": data.draw(st.sampled_from(["backward", "ortho", "forward"])),
    }
    same(getattr(xp.fft, name)(T(x), **how), getattr(np.fft, name)(x, **how), 1e-4 if x.dtype.itemsize <= 8 else 1e-10)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn", "fftshift", "ifftshift"])
@EXAMPLES
@given(data=st.data())
def test_transforms_of_several_axes_agree(name, data):
    x = data.draw(lst.arrays("float64" if name == "rfftn" else "complex128", lst.shapes(1, 3, min_side=2)))
    axes = tuple(data.draw(st.permutations(range(x.ndim))))[: data.draw(st.integers(1, x.ndim))]
    how = {"axes": axes}
    if "shift" not in name:
        how |= {"s": tuple(data.draw(st.integers(2, 6)) for _ in axes), "norm": "ortho"}
    same(getattr(xp.fft, name)(T(x), **how), getattr(np.fft, name)(x, **how))


@given(st.integers(1, 12), st.floats(0.1, 10))
def test_frequencies_agree(n, d):
    same(xp.fft.fftfreq(n, d=d, dtype=xp.float64), np.fft.fftfreq(n, d))
    same(xp.fft.rfftfreq(n, d=d, dtype=xp.float64, device="cpu"), np.fft.rfftfreq(n, d))
