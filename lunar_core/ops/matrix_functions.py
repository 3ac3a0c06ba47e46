"""matrix_exp, eigenvalues of general matrices, LU factorization.

Leading axes are batches. Gradients of complex inputs follow the conjugate convention; in the rules G stands for the output's
gradient and H for the conjugate transpose. Integers are computed in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import LinearAlgebraError
from ..op import OUTPUT, Op, Sample, Spec
from .common import array, complex_array
from .decompositions import _gaps
from .matrix import adjoint, check_matrix, check_square, checked, float_dtype, float_spec, square
from .rearrange import diag_embed, diagonal, tril, triu
from .reduction import _like
from .scatter import take
from .shape import expand_dims, reshape
from .triangular import solve_triangular

# -- exponential -------------------------------------------------------------------------------------------------------

_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
    670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip


def _matrix_exp_forward(xp: Any, x: Any) -> Any:
    """Scaling and squaring with the Pade approximant of degree 13 (Higham 2005)."""
    x = x.astype(float_dtype(x.dtype))
    if not x.size:
        return x.copy()
    largest = float(xp.abs(x).sum(axis=-2).max())  # the 1-norm
    if not np.isfinite(largest):
        return x * np.nan
    squarings = max(0, int(np.ceil(np.log2(largest / 5.371920351148152)))) if largest > 5.371920351148152 else 0
    x = x / 2.0**squarings
    b = _PADE
    one = xp.broadcast_to(xp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    odd = x @ (x6 @ (b[13] * x6 + b[11] * x4 + b[9] * x2) + b[7] * x6 + b[5] * x4 + b[3] * x2 + b[1] * one)
    even = x6 @ (b[12] * x6 + b[10] * x4 + b[8] * x2) + b[6] * x6 + b[4] * x4 + b[2] * x2 + b[0] * one
    out = xp.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        out = out @ out
    return out


def _matrix_exp_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    """The upper right block of exp([[X^H, G], [0, X^H]]) (Najfeld and Havel 1995)."""
    n = x.shape[-1]
    xh = adjoint(x)
    block = F.concat([F.concat([xh, g], axis=-1), F.concat([xh * 0, xh], axis=-1)], axis=-2)
    return (F.matrix_exp(block)[..., :n, n:],)


_matrix_exp = Op(
    "matrix_exp",
    checked("matrix_exp", _matrix_exp_forward),
    _matrix_exp_vjp,
    save=0,
    cast="float32",
    abstract=float_spec,
    samples=lambda: [
        Sample((x,), torch=lambda t, x: t.matrix_exp(x))
        for x in (array(0, (3, 3)), array(1, (2, 2, 2), -5, 5), complex_array(2, (2, 2)), array(3, (0, 2, 2)))
    ],
    doc="The exponential of square matrices.",
)


def matrix_exp(x: Any) -> Any:
    """The exponential ``I + x + x^2 / 2 + ...`` of square matrices (..., n, n), by scaling and squaring (Higham 2005).

    All matrices of a batch are scaled by the largest one's norm.
    """
    check_square(x, "matrix_exp")
    return _matrix_exp(x)


# -- eigenvalues -------------------------------------------------------------------------------------------------------


def _complex_dtype(dtype: np.dtype) -> np.dtype:
    return np.result_type(float_dtype(dtype), np.complex64)


def _eig_forward(xp: Any, x: Any) -> Any:
    values, vectors = xp.linalg.eig(x)
    dtype = _complex_dtype(x.dtype)
    return values.astype(dtype), vectors.astype(dtype)


def _eig_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    """``V^-H (diag(G_w) + (V^H G_V - V^H V diag(Re V^H G_V)) / E^H) V^H`` with ``E_ij = w_j - w_i`` (Boeddeker 2017)."""
    w, v = saved
    gw, gv = g
    vh = adjoint(v)
    middle = 0.0 if gw is None else diag_embed(gw)
    if gv is not None:
        inner = vh @ gv
        own = expand_dims(diagonal(inner, 0, inner.ndim - 2, inner.ndim - 1).real, -2)
        middle = middle + (inner - (vh @ v) * own) * F.conjugate(_gaps(F, w))
    return (F.solve(vh, middle @ vh),)


_eig = Op(
    "eig",
    checked("eig", _eig_forward),
    _eig_vjp,
    save=OUTPUT,
    cast="float32",
    abstract=lambda x: (Spec(x.shape[:-1], _complex_dtype(x.dtype)), Spec(x.shape, _complex_dtype(x.dtype))),
    # the vectors have a phase that the library fixes as it likes, which differences would follow: tested by composition
    samples=lambda: [
        Sample((x,), grad=False, torch=lambda t, x: (t.linalg.eigvals(x), None))
        for x in (square(0, 3, 3), array(1, (2, 4, 4)), complex_array(2, (3, 3)))
    ],
    doc="Eigenvalues and right eigenvectors of square matrices.",
)


class EigResult(NamedTuple):
    """What :func:`eig` returns."""

    eigenvalues: Any
    eigenvectors: Any


def eig(x: Any) -> EigResult:
    """Eigenvalues (..., n) and right eigenvectors, in columns of norm 1 (..., n, n), of square matrices; both are complex.

    The order is LAPACK's. The gradient needs distinct eigenvalues, and that of the vectors is right for functions that do
    not depend on their phases. :func:`eigh` is faster and exact for Hermitian matrices.
    """
    check_square(x, "eig")
    return EigResult(*_eig(x))


def eigvals(x: Any) -> Any:
    """The eigenvalues of square matrices (..., n, n), complex, in LAPACK's order: (..., n)."""
    check_square(x, "eigvals")
    return _eig(x)[0]


# -- LU ----------------------------------------------------------------------------------------------------------------


def _lu_forward(xp: Any, x: Any) -> Any:
    """Columns from left to right, over all matrices of the batch at once, with partial pivoting."""
    m, n = x.shape[-2:]
    a = x.astype(float_dtype(x.dtype)).reshape((-1, m, n)).copy()
    count = a.shape[0]
    batch = xp.arange(count)
    order = xp.broadcast_to(xp.arange(m), (count, m)).copy()
    for k in range(min(m, n) if count else 0):
        column = a[:, k:, k]
        size = xp.abs(column.real) + xp.abs(column.imag) if a.dtype.kind == "c" else xp.abs(column)  # as in LAPACK
        pivot = size.argmax(axis=1) + k
        for rows in (a, order):
            upper = rows[:, k].copy()
            rows[:, k] = rows[batch, pivot]
            rows[batch, pivot] = upper
        head = a[:, k, k]
        factor = a[:, k + 1 :, k] / xp.where(head == 0, 1, head)[:, None]  # all are 0 where the pivot is
        a[:, k + 1 :, k] = factor
        a[:, k + 1 :, k + 1 :] -= factor[:, :, None] * a[:, k, None, k + 1 :]
    return a.reshape(x.shape), order.reshape((*x.shape[:-2], m))


def _lu_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    """``P L^-H (tril(L^H G_L, -1) + triu(G_U U^H)) U^-H`` of the leading square; the rest follows from A_2 = L U_2 or
    A_2 = L_2 U.
    """
    lu, order = saved
    g = g[0]
    m, n = lu.shape[-2:]
    k = min(m, n)
    square_ = lu[..., :k, :k]
    lower_h, upper_h = adjoint(_unit_lower(square_)), adjoint(triu(square_))
    gl, gu = tril(g[..., :k, :k], -1), triu(g[..., :k, :k])
    left, right = lower_h @ gl, gu @ upper_h
    if n > m:
        left = left - g[..., m:] @ adjoint(lu[..., m:])
    if m > n:
        right = right - adjoint(lu[..., n:, :]) @ g[..., n:, :]
    inner = F.solve(lower_h, tril(left, -1) + triu(right))  # L^-H M
    ga = _right_solve(F, inner, upper_h)
    if n > m:
        ga = F.concat([ga, F.solve(lower_h, g[..., m:])], axis=-1)
    if m > n:
        ga = F.concat([ga, _right_solve(F, g[..., n:, :], upper_h)], axis=-2)
    back = order.argsort(axis=-1)  # row i of P X is row back[i] of X
    return (F.take_along_axis(ga, expand_dims(back, -1), -2),)


def _right_solve(F: Any, x: Any, a: Any) -> Any:
    """``x a^-1``."""
    return F.solve(a.swapaxes(-1, -2), x.swapaxes(-1, -2)).swapaxes(-1, -2)


def _unit_lower(lu: Any) -> Any:
    m, k = lu.shape[-2:]
    return tril(lu, -1) + _like(np.eye(m, k, dtype=lu.dtype), lu)


def _torch_lu(t: Any, x: Any) -> Any:
    _, lower, upper = t.linalg.lu(x)
    k = min(x.shape[-2:])
    lower = lower.tril(-1)
    full = t.zeros_like(x)
    return full.index_add(-1, t.arange(k), lower).index_add(-2, t.arange(k), upper), None


_lu = Op(
    "lu_factor",
    _lu_forward,
    _lu_vjp,
    save=OUTPUT,
    results=1,
    cast="float32",
    abstract=lambda x: (float_spec(x), Spec(x.shape[:-1], np.dtype(np.int64))),
    samples=lambda: [
        Sample((x,), torch=_torch_lu)
        for x in (square(0, 3, 3), array(1, (2, 4, 2)), array(2, (2, 4)), complex_array(3, (3, 3)), array(4, (0, 2, 2)))
    ],
    doc="The LU factorization with partial pivoting.",
)


class LUFactors(NamedTuple):
    """What :func:`lu_factor` returns."""

    LU: Any
    order: Any


class LUResult(NamedTuple):
    """What :func:`lu` returns."""

    P: Any
    L: Any
    U: Any


def lu_factor(x: Any) -> LUFactors:
    """``LU`` (..., m, n), U on and above the diagonal and L without its ones below it, and ``order`` (..., m): row i of
    ``L @ U`` is row ``order[i]`` of ``x``. Partial pivoting; :func:`lu_solve` takes the result.

    The gradient needs a leading square of full rank.
    """
    check_matrix(x, "lu_factor")
    return LUFactors(*_lu(x))


def lu(x: Any) -> LUResult:
    """``x = P L U`` for matrices (..., m, n), with k = min(m, n): a permutation P (..., m, m), a lower triangular L (..., m, k)
    with ones on its diagonal, an upper triangular U (..., k, n).
    """
    check_matrix(x, "lu")
    factors, order = _lu(x)
    m, n = x.shape[-2:]
    k = min(m, n)
    one = _like(np.eye(m, dtype=factors.dtype), factors)
    p = reshape(take(one, reshape(order, (-1,)), 0), (*x.shape[:-2], m, m)).swapaxes(-1, -2)
    return LUResult(p, _unit_lower(factors[..., :, :k]), triu(factors[..., :k, :]))


def lu_solve(factors: Any, b: Any) -> Any:
    """The X of ``A X = b`` from :func:`lu_factor` of A (..., n, n): b (..., n, k) -> (..., n, k), gradients to both."""
    lu, order = factors
    check_square(lu, "lu_solve")
    from .indexing import take_along_axis
    from .shape import broadcast_to

    if b.ndim < 2 or b.shape[-2] != lu.shape[-1]:
        raise LinearAlgebraError(f"lu_solve: factors {tuple(lu.shape)} and b {tuple(b.shape)} do not fit")
    head = np.broadcast_shapes(lu.shape[:-2], b.shape[:-2])
    b = broadcast_to(b, (*head, *b.shape[-2:]))
    places = broadcast_to(expand_dims(order, -1), tuple(b.shape))
    ordered = take_along_axis(b, places, -2)
    return solve_triangular(lu, solve_triangular(lu, ordered, unitriangular=True), upper=True)


__all__ = ["eig", "eigvals", "lu", "lu_factor", "lu_solve", "matrix_exp"]
