"""Factorizations of matrices over leading batch axes: cholesky, qr, svd, eigh.

Each is NumPy's function of that name. Gradients of complex inputs follow the conjugate convention; in the rules G stands for
the output's gradient and H for the conjugate transpose. Integers are computed in float64; float16 is refused, as in NumPy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import GradientError, ShapeError
from ..op import OUTPUT, Op, Sample, Spec
from .common import array, complex_array, speaks_as
from .complexes import _part_dtype
from .matrix import adjoint, check_matrix, check_square, checked, float_dtype, float_spec, square
from .rearrange import diag_embed, diagonal
from .reduction import _like

# -- Cholesky ----------------------------------------------------------------------------------------------------------


def _halves(x: Any) -> Any:
    """A constant of the matrices' size: 1 below the diagonal, 1/2 on it, 0 above."""
    n = x.shape[-1]
    return _like((np.tri(n) - 0.5 * np.eye(n)).astype(_part_dtype(x.dtype)), x)


def _cholesky_vjp(F: Any, g: Any, y: Any, need: Any) -> Any:
    """(S + S^H) / 2 with S = L^-H phi(L^H G) L^-1; phi keeps the lower triangle and halves the diagonal (Murray 2016)."""
    yh = adjoint(y)
    inner = F.solve(yh, (yh @ g) * _halves(y))  # L^-H phi
    s = adjoint(F.solve(yh, adjoint(inner)))  # ... L^-1
    return ((s + adjoint(s)) * 0.5,)


def _positive(i: int, *shape: int, complex: bool = False) -> np.ndarray:
    root = square(i, *shape, complex=complex)
    return root @ np.conj(root).swapaxes(-1, -2)


_cholesky = Op(
    "cholesky",
    checked("cholesky", lambda xp, x: xp.linalg.cholesky(x)),
    _cholesky_vjp,
    save=OUTPUT,
    cast="float32",
    abstract=float_spec,
    # the gradient is that of a Hermitian matrix, which differences of single elements leave: tested by composition
    samples=lambda: [
        Sample((_positive(i, *s, complex=c),), {}, False, lambda t, x: t.linalg.cholesky(x))
        for i, (s, c) in enumerate([((3, 3), False), ((2, 4, 4), False), ((2, 2), True)])
    ],
    doc="The lower triangular L of A = L L^H.",
)


def cholesky(x: Any, upper: bool = False) -> Any:
    """The lower triangular L of ``x = L L^H`` for positive definite Hermitian ``x`` (..., n, n); L^H when ``upper``.

    Only the lower triangle is read; the gradient is the Hermitian one. A matrix that is not positive definite raises
    :class:`LinearAlgebraError`.
    """
    check_square(x, "cholesky")
    lower = _cholesky(x)
    return adjoint(lower) if upper else lower


# -- QR ----------------------------------------------------------------------------------------------------------------


def _qr_vjp(F: Any, g: Any, saved: Any, need: Any, mode: str) -> Any:
    """``(G_Q + Q sym(triu(G_R R^H - Q^H G_Q))) R^-H`` of the leading square or tall part (Walter and Lehmann 2018); a
    wide matrix is that part and ``A_2 = Q R_2`` beside it.
    """
    a, (q, r) = saved
    gq, gr = g
    m, n = a.shape[-2:]
    if mode == "complete" and m > n:
        raise GradientError("qr: mode 'complete' has no gradient for tall matrices", hint="mode='reduced' has one")
    gq = q * 0 if gq is None else gq
    gr = r * 0 if gr is None else gr
    if m < n:
        gr, gr2 = gr[..., :m], gr[..., m:]
        gq, ga2 = gq + a[..., m:] @ adjoint(gr2), q @ gr2
        r = r[..., :m]
    inner = adjoint((gr @ adjoint(r) - adjoint(q) @ gq) * adjoint(_halves(r)))  # upper triangle, half its diagonal
    left = gq + q @ (inner + adjoint(inner))
    ga = adjoint(F.solve(r, adjoint(left)))
    return (F.concat([ga, ga2], axis=-1) if m < n else ga,)


def _qr_spec(x: Spec, mode: str) -> tuple[Spec, Spec]:
    m, n = x.shape[-2:]
    k = m if mode == "complete" else min(m, n)
    dtype = float_dtype(x.dtype)
    return Spec((*x.shape[:-2], m, k), dtype), Spec((*x.shape[:-2], k, n), dtype)


_qr = Op(
    "qr",
    checked("qr", lambda xp, x, mode: tuple(xp.linalg.qr(x, mode))),
    _qr_vjp,
    save=(0, OUTPUT),
    cast="float32",
    abstract=_qr_spec,
    samples=lambda: [
        *[
            Sample((x,), {"mode": "reduced"}, True, lambda t, x: t.linalg.qr(x))
            for x in (square(0, 3, 3), array(1, (2, 4, 2)), array(2, (2, 4)), complex_array(3, (3, 2)))
        ],
        Sample((array(4, (4, 2)),), {"mode": "complete"}, False, lambda t, x: t.linalg.qr(x, mode="complete")),
        Sample((array(5, (2, 3)),), {"mode": "complete"}, True, lambda t, x: t.linalg.qr(x, mode="complete")),
    ],
    doc="Q with orthonormal columns and upper triangular R, with A = Q R.",
)


class QRResult(NamedTuple):
    """What :func:`qr` returns."""

    Q: Any
    R: Any


def qr(x: Any, mode: str = "reduced") -> QRResult:
    """``x = Q R`` for matrices (..., m, n), with k = min(m, n): Q (..., m, k) orthonormal, R (..., k, n) upper triangular.

    ``mode="complete"`` gives Q (..., m, m) and R (..., m, n) instead, without a gradient when m > n. The gradient
    needs independent leading columns.
    """
    check_matrix(x, "qr")
    if mode not in ("reduced", "complete"):
        raise ShapeError(f"qr: mode must be 'reduced' or 'complete', got {mode!r}")
    return QRResult(*_qr(x, mode=mode))


# -- SVD ---------------------------------------------------------------------------------------------------------------


def _gaps(F: Any, w: Any) -> Any:
    """``1 / (w_j - w_i)`` at (i, j), 0 on the diagonal; equal values give infinities."""
    difference = F.expand_dims(w, -2) - F.expand_dims(w, -1)
    own = _like(np.eye(w.shape[-1], dtype=bool), w)
    return F.where(own, 0.0, 1.0 / F.where(own, 1.0, difference))


def _svd_vjp(F: Any, g: Any, saved: Any, need: Any, full_matrices: bool) -> Any:
    """``U [sk(U^H G_U) S / E + S sk(V^H G_V) / E + diag(G_S)] V^H`` with ``E_ij = s_j^2 - s_i^2`` and ``sk(X) = X - X^H``,
    and the parts of G_U and G_V outside of the spans of U and V (Wan and Zhang 2019).
    """
    u, s, vh = saved
    gu, gs, gvh = g
    k = s.shape[-1]
    tall, wide = u.shape[-2] > k, vh.shape[-1] > k
    if full_matrices:  # the further columns span a space of which no basis is better than another
        u, vh = u[..., :, :k], vh[..., :k, :]
        gu = None if gu is None else gu[..., :, :k]
        gvh = None if gvh is None else gvh[..., :k, :]
    if gu is None and gvh is None:
        return ((u * F.expand_dims(gs, -2)) @ vh,)
    row, column = F.expand_dims(s, -2), F.expand_dims(s, -1)
    gaps = _gaps(F, s * s)
    middle = 0.0 if gs is None else diag_embed(gs)
    ga = 0.0
    if gu is not None:
        inner = adjoint(u) @ gu
        turn = inner - adjoint(inner)
        middle = middle + turn * gaps * row
        if u.dtype.kind == "c":  # the phases of u and v turn together
            middle = middle + diag_embed(diagonal(turn, 0, turn.ndim - 2, turn.ndim - 1) / (2 * s))
        if tall:
            ga = ga + ((gu - u @ inner) / row) @ vh
    if gvh is not None:
        inner = adjoint(gvh @ adjoint(vh))  # V^H G_V
        middle = middle + (inner - adjoint(inner)) * gaps * column
        if wide:
            ga = ga + (u / row) @ (gvh - (gvh @ adjoint(vh)) @ vh)
    return (ga + u @ middle @ vh,)


def _svd_spec(x: Spec, full_matrices: bool) -> tuple[Spec, Spec, Spec]:
    m, n = x.shape[-2:]
    k, dtype, head = min(m, n), float_dtype(x.dtype), x.shape[:-2]
    left, right = ((m, m), (n, n)) if full_matrices else ((m, k), (k, n))
    return Spec((*head, *left), dtype), Spec((*head, k), _part_dtype(dtype)), Spec((*head, *right), dtype)


_svd = Op(
    "svd",
    checked("svd", lambda xp, x, full_matrices: tuple(xp.linalg.svd(x, full_matrices=full_matrices))),
    _svd_vjp,
    save=OUTPUT,
    cast="float32",
    abstract=_svd_spec,
    # each pair of singular vectors has a free sign (phase) that every library chooses as it likes: tested by composition
    samples=lambda: [
        *[
            Sample((x,), {"full_matrices": full}, grad, lambda t, x: (None, t.linalg.svdvals(x), None))
            for x, full, grad in [
                (square(0, 3, 3), False, True),
                (array(1, (2, 4, 2)), False, True),
                (array(2, (2, 4)), False, True),
                (array(4, (2, 3)), True, False),
                (complex_array(5, (3, 2)), False, False),
            ]
        ],
    ],
    doc="Singular values and vectors.",
)


class SVDResult(NamedTuple):
    """What :func:`svd` returns."""

    U: Any
    S: Any
    Vh: Any


def svd(x: Any, full_matrices: bool = True) -> SVDResult:
    """``x = U diag(S) Vh`` for matrices (..., m, n): singular values in descending order, orthonormal columns of U and V.

    With k = min(m, n), U is (..., m, m) and Vh (..., n, n), or (..., m, k) and (..., k, n) without ``full_matrices``.
    The gradient of U and Vh is infinite where singular values are equal, and for complex ``x`` it is right only for
    functions that do not depend on the free phase of each pair of vectors; that of S is always finite. The columns
    beyond k carry no gradient.
    """
    check_matrix(x, "svd")
    return SVDResult(*_svd(x, full_matrices=full_matrices))


def svdvals(x: Any) -> Any:
    """The singular values of matrices (..., m, n) in descending order: (..., min(m, n))."""
    check_matrix(x, "svdvals")
    return _svd(x, full_matrices=False)[1]


# -- symmetric eigenvalues ---------------------------------------------------------------------------------------------


def _eigh_vjp(F: Any, g: Any, saved: Any, need: Any, UPLO: str) -> Any:
    """``V (diag(G_w) + V^H G_V / E) V^H`` with ``E_ij = w_j - w_i``, made Hermitian."""
    w, v = saved
    gw, gv = g
    vh = adjoint(v)
    if gv is None:
        return ((v * F.expand_dims(gw, -2)) @ vh,)
    middle = (vh @ gv) * _gaps(F, w)
    if gw is not None:
        middle = middle + diag_embed(gw)
    ga = v @ middle @ vh
    return ((ga + adjoint(ga)) * 0.5,)


def _hermitian(i: int, *shape: int, complex: bool = False) -> np.ndarray:
    x = square(i, *shape, complex=complex)
    return (x + np.conj(x).swapaxes(-1, -2)) / 2


_eigh = Op(
    "eigh",
    checked("eigh", lambda xp, x, UPLO: tuple(xp.linalg.eigh(x, UPLO))),
    _eigh_vjp,
    save=OUTPUT,
    cast="float32",
    abstract=lambda x, UPLO: (Spec(x.shape[:-1], _part_dtype(float_dtype(x.dtype))), float_spec(x)),
    # the gradient is that of a Hermitian matrix, which differences of single elements leave: tested by composition
    samples=lambda: [
        Sample((_hermitian(i, *s, complex=c),), {"UPLO": uplo}, False, lambda t, x: t.linalg.eigvalsh(x))
        for i, (s, c, uplo) in enumerate([((3, 3), False, "L"), ((2, 4, 4), False, "U"), ((2, 2), True, "L")])
    ],
    doc="Eigenvalues and eigenvectors of Hermitian matrices.",
)


class EighResult(NamedTuple):
    """What :func:`eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


def eigh(x: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues (..., n), ascending, and orthonormal eigenvectors, in columns (..., n, n), of Hermitian ``x``.

    Only the lower (``UPLO="L"``) or the upper triangle is read; the gradient is the Hermitian one. That of the
    eigenvectors is infinite where eigenvalues are equal.
    """
    check_square(x, "eigh")
    if UPLO not in ("L", "U"):
        raise ShapeError(f"eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    return EighResult(*_eigh(x, UPLO=UPLO))


@speaks_as("eigvalsh")
def eigvalsh(x: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of Hermitian matrices (..., n, n), ascending: (..., n)."""
    return eigh(x, UPLO)[0]


__all__ = ["cholesky", "eigh", "eigvalsh", "qr", "svd", "svdvals"]
