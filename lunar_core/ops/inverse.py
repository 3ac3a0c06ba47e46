"""Inverses, solvers and determinants of matrices: inv, pinv, solve, lstsq, det, slogdet, over leading batch axes.

Each is NumPy's function of that name. Gradients of complex inputs follow the conjugate convention; in the rules G stands for
the output's gradient and H for the conjugate transpose. Integers are computed in float64; float16 is refused, as in NumPy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError
from ..op import OUTPUT, Op, Sample, Spec
from ..tensor import _raw
from .common import array, complex_array
from .complexes import _part_dtype
from .matrix import adjoint, check_matrix, check_square, checked, float_dtype, float_spec, square, squares

# -- inverse, solve ----------------------------------------------------------------------------------------------------


def _inv_vjp(F: Any, g: Any, y: Any, need: Any) -> Any:
    yh = adjoint(y)
    return (-(yh @ g @ yh),)  # -Y^H G Y^H


_inv = Op(
    "inv",
    checked("inv", lambda xp, x: xp.linalg.inv(x)),
    _inv_vjp,
    save=OUTPUT,
    cast="float32",
    abstract=float_spec,
    samples=squares("inv"),
    doc="Inverse of square matrices.",
)


def inv(x: Any) -> Any:
    """The inverse of square matrices (..., n, n). A singular one raises :class:`LinearAlgebraError`."""
    check_square(x, "inv")
    return _inv(x)


def _solve_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    a, x = saved
    gb = _solve(adjoint(a), g)  # A^-H G
    return (-(gb @ adjoint(x)) if need[0] else None, gb if need[1] else None)


def _solve_spec(a: Spec, b: Spec) -> Spec:
    head = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return Spec((*head, *b.shape[-2:]), np.result_type(float_dtype(a.dtype), float_dtype(b.dtype)))


_solve = Op(
    "solve",
    checked("solve", lambda xp, a, b: xp.linalg.solve(a, b)),
    _solve_vjp,
    save=(0, OUTPUT),
    broadcasts=True,
    cast="float32",
    abstract=_solve_spec,
    samples=lambda: [
        Sample((square(i, *a, complex=c), array(i + 9, b)), torch=lambda t, a, b: t.linalg.solve(a, b.to(a.dtype)))
        for i, (a, b, c) in enumerate([
            ((3, 3), (3, 2), False), ((2, 3, 3), (2, 3, 1), False), ((3, 3), (2, 3, 4), False), ((2, 1, 3, 3), (2, 3, 2), False),
            ((2, 2), (2, 2), True),
        ])
    ],
    doc="Solutions X of A X = B.",
)  # fmt: skip


def solve(a: Any, b: Any) -> Any:
    """The solution of ``a x = b``: a (..., n, n); b (n,) or (..., n, k) -> x of the shape of b, batches broadcast.

    As in NumPy 2, ``b`` is a vector only when it has one axis.
    """
    check_square(a, "solve")
    vector = b.ndim == 1
    if not b.ndim or b.shape[0 if vector else -2] != a.shape[-1]:
        raise ShapeError(f"solve: a {tuple(a.shape)} and b {tuple(b.shape)} differ in the number of rows")
    return _solve(a, b.reshape((-1, 1)))[..., 0] if vector else _solve(a, b)


# -- determinants ------------------------------------------------------------------------------------------------------


def _others(xp: Any, s: Any) -> Any:
    """The product of all other elements of the last axis, without a division."""
    ones = xp.ones_like(s[..., :1])
    before = xp.cumprod(xp.concatenate([ones, s[..., :-1]], axis=-1), axis=-1)
    after = xp.cumprod(xp.concatenate([ones, xp.flip(s, -1)[..., :-1]], axis=-1), axis=-1)
    return before * xp.flip(after, -1)


def _cofactors_forward(xp: Any, x: Any) -> Any:
    if xp is not np or not x.size:
        return _cofactors_by_svd(xp, x)
    det = np.asarray(np.linalg.det(x))[..., None, None]
    usable = (det != 0) & np.isfinite(det)
    inverse = np.linalg.inv(np.where(usable, x, np.eye(x.shape[-1], dtype=x.dtype)))
    condition = np.linalg.norm(x, axis=(-2, -1), keepdims=True) * np.linalg.norm(inverse, axis=(-2, -1), keepdims=True)
    good = usable & (condition < 1e5)
    out = np.conj(det * inverse).swapaxes(-1, -2)
    if not good.all():
        out = np.where(good, out, _cofactors_by_svd(np, np.where(good, np.eye(x.shape[-1], dtype=x.dtype), x)))
    return out


def _cofactors_by_svd(xp: Any, x: Any) -> Any:
    """``det(U V^H) U diag(products of the other singular values) V^H``, which needs no inverse."""
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    sign = xp.conj(xp.linalg.det(u) * xp.linalg.det(vh))[..., None, None]
    return xp.matmul(u * _others(xp, s)[..., None, :], vh) * sign


def _cofactors_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, k = saved
    yh = adjoint(F.inv(x))
    weight = (F.conjugate(g) * yh if g.dtype.kind == "c" else g * yh).sum(axis=(-2, -1), keepdims=True)
    return (k * weight - k @ adjoint(g) @ yh,)


cofactors = Op(
    "det_grad",
    _cofactors_forward,
    _cofactors_vjp,
    save=(0, OUTPUT),
    abstract=float_spec,
    samples=squares("det"),
    doc="Conjugate cofactors, the gradient of the determinant, right for singular matrices too; its own gradient is not.",
)

_det = Op(
    "det",
    lambda xp, x: xp.linalg.det(x),
    lambda F, g, x, need: (F.expand_dims(g, (-2, -1)) * cofactors(x),),
    save=0,
    cast="float32",
    abstract=lambda x: Spec(x.shape[:-2], float_dtype(x.dtype)),
    samples=lambda: [
        *squares("det")(),
        Sample((np.array([[[1.0, 2.0, 3.0], [2.0, 4.0, 6.5], [1.0, 2.0, 0.0]]]),), grad=False),  # singular
    ],
    doc="Determinant of square matrices.",
)


def det(x: Any) -> Any:
    """Determinants of square matrices (..., n, n) -> (...). The first gradient is exact for singular matrices too."""
    check_square(x, "det")
    return _det(x)


def _slogdet_forward(xp: Any, x: Any) -> tuple[Any, Any]:
    sign, size = xp.linalg.slogdet(x)
    return xp.asarray(sign), xp.asarray(size)


def _slogdet_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, (sign, _) = saved
    g_sign, g_size = g
    weight = g_size
    if g_sign is not None and sign.dtype.kind == "c":  # the phase turns with the imaginary part of tr(A^-1 dA)
        turn = -1j * F.imag(F.conjugate(g_sign) * sign)
        weight = turn if weight is None else weight + turn
    if weight is None:
        return (x * 0,)
    return (F.expand_dims(weight, (-2, -1)) * adjoint(F.inv(x)),)


_slogdet = Op(
    "slogdet",
    _slogdet_forward,
    _slogdet_vjp,
    save=(0, OUTPUT),
    cast="float32",
    abstract=lambda x: (
        Spec(x.shape[:-2], float_dtype(x.dtype)),
        Spec(x.shape[:-2], _part_dtype(float_dtype(x.dtype))),
    ),
    samples=squares("slogdet"),
    doc="Sign and logarithm of the magnitude of determinants.",
)


class SlogdetResult(NamedTuple):
    """What :func:`slogdet` returns."""

    sign: Any
    logabsdet: Any


def slogdet(x: Any) -> SlogdetResult:
    """The sign (of complex matrices the phase) of the determinant and the logarithm of its magnitude.

    A singular matrix gives (0, -inf), and has no gradient.
    """
    check_square(x, "slogdet")
    return SlogdetResult(*_slogdet(x))


# -- pseudo-inverse and least squares ----------------------------------------------------------------------------------


def _cut(xp: Any, x: Any, rtol: float | None) -> tuple[Any, Any, Any, Any]:
    """The thin SVD, and which singular values count as different from 0."""
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    if rtol is None:
        rtol = max(x.shape[-2:]) * float(np.finfo(s.dtype).eps)
    top = xp.max(s, axis=-1, keepdims=True) if s.shape[-1] else s
    return u, s, vh, s > rtol * top


def _pinv_forward(xp: Any, x: Any, rtol: float | None) -> Any:
    u, s, vh, kept = _cut(xp, x, rtol)
    inverse = xp.where(kept, 1 / xp.where(kept, s, 1), 0).astype(s.dtype)
    return xp.matmul(xp.conj(vh).swapaxes(-1, -2) * inverse[..., None, :], xp.conj(u).swapaxes(-1, -2))


def _pinv_vjp(F: Any, g: Any, saved: Any, need: Any, rtol: float | None) -> Any:
    """Golub and Pereyra (1973): ``-P^H G P^H + (I - A P) G^H P P^H + P^H P G^H (I - P A)``."""
    a, p = saved
    ph, gh = adjoint(p), adjoint(g)
    left, right = gh @ p @ ph, ph @ p @ gh
    return (left - a @ (p @ left) + right - (right @ p) @ a - ph @ g @ ph,)


def _pinv_samples() -> list[Sample]:
    tall = array(4, (4, 2))
    arrays = [array(0, (3, 3)), array(1, (2, 4, 2)), array(2, (2, 5)), complex_array(3, (3, 2))]
    return [
        *[Sample((a,), {"rtol": None}, torch=lambda t, x: t.linalg.pinv(x)) for a in arrays],
        Sample((tall @ array(5, (2, 3)),), {"rtol": 1e-10}, False, lambda t, x: t.linalg.pinv(x, rtol=1e-10)),
    ]


_pinv = Op(
    "pinv",
    checked("pinv", _pinv_forward),
    _pinv_vjp,
    save=(0, OUTPUT),
    cast="float32",
    abstract=lambda x, rtol: Spec((*x.shape[:-2], x.shape[-1], x.shape[-2]), float_dtype(x.dtype)),
    samples=_pinv_samples,
    doc="Moore-Penrose pseudo-inverse.",
)


def pinv(x: Any, rtol: Any = None) -> Any:
    """The Moore-Penrose pseudo-inverse of matrices: (..., m, n) -> (..., n, m).

    Singular values of at most ``rtol`` times the largest one count as 0; the default is ``max(m, n)`` times the machine
    epsilon, as in PyTorch and the array API standard. An array gives one for each matrix. The gradient holds while the
    rank stays the same.
    """
    check_matrix(x, "pinv")
    rtol = _raw(rtol)
    return _pinv(_floating(x), rtol=rtol[..., None] if getattr(rtol, "ndim", 0) else rtol)


def _floating(x: Any) -> Any:
    from .elementwise import cast

    return cast(x, dtype=np.dtype(np.float64)) if x.dtype.kind in "biu" else x


def _lstsq_forward(xp: Any, a: Any, b: Any, rcond: float | None) -> tuple[Any, Any]:
    u, s, vh, kept = _cut(xp, a, rcond)
    inverse = xp.where(kept, 1 / xp.where(kept, s, 1), 0).astype(s.dtype)
    x = xp.matmul(xp.conj(u).swapaxes(-1, -2), b) * inverse[..., None]
    return xp.matmul(xp.conj(vh).swapaxes(-1, -2), x), s


def _lstsq_vjp(F: Any, g: Any, saved: Any, need: Any, rcond: float | None) -> Any:
    """The rule of pinv with ``P B = X``, which never forms a gradient of P."""
    a, b, (x, _) = saved
    gx, gs = g
    ga = gb = None
    if gx is not None:
        p = F.pinv(a, rtol=rcond)
        ph = adjoint(p)
        gb = ph @ gx
        if need[0]:
            rest = b - a @ x
            ga = rest @ adjoint(p @ gb) + (ph @ x) @ adjoint(gx - adjoint(a) @ gb) - gb @ adjoint(x)
    if gs is not None and need[0]:
        u, _, vh = F.svd(a, full_matrices=False)
        ga_s = (u * F.expand_dims(gs, -2)) @ vh
        ga = ga_s if ga is None else ga + ga_s
    return ga, gb if need[1] else None


def _lstsq_spec(a: Spec, b: Spec, rcond: float | None) -> tuple[Spec, Spec]:
    head = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    dtype = np.result_type(a.dtype, b.dtype)
    return Spec((*head, a.shape[-1], b.shape[-1]), dtype), Spec(
        (*a.shape[:-2], min(a.shape[-2:])), _part_dtype(a.dtype)
    )


_lstsq = Op(
    "lstsq",
    checked("lstsq", _lstsq_forward),
    _lstsq_vjp,
    save=(0, 1, OUTPUT),
    broadcasts=True,
    cast="float32",
    abstract=_lstsq_spec,
    samples=lambda: [
        Sample((array(0, (5, 3)), array(1, (5, 2))), {"rcond": None}, torch=_torch_lstsq),
        Sample((array(2, (2, 4, 2)), array(3, (2, 4, 1))), {"rcond": None}, torch=_torch_lstsq),
        Sample((array(4, (3, 5)), array(5, (3, 2))), {"rcond": None}, torch=_torch_lstsq),
        Sample((complex_array(6, (4, 2)), complex_array(7, (4, 2))), {"rcond": None}, torch=_torch_lstsq),
    ],
    doc="Least-squares solutions and singular values.",
)


def _torch_lstsq(t: Any, a: Any, b: Any) -> Any:
    return t.linalg.lstsq(a, b, driver="gelsd")[0]


class LstsqResult(NamedTuple):
    """What :func:`lstsq` returns."""

    x: Any
    residuals: Any
    rank: Any
    s: Any


def lstsq(a: Any, b: Any, rcond: float | None = None) -> LstsqResult:
    """The x of least norm that minimises ``|b - a x|``: a (..., m, n); b (m,) or (..., m, k).

    Returns ``(x, residuals, rank, s)`` as ``np.linalg.lstsq`` does: x (n,) or (..., n, k); the squared lengths of
    ``b - a x`` (one a column, also where NumPy leaves them out); the rank; the singular values. Singular values of at
    most ``rcond`` times the largest one count as 0; the default is ``max(m, n)`` times the machine epsilon.
    """
    check_matrix(a, "lstsq")
    vector = b.ndim == 1
    if not b.ndim or b.shape[0 if vector else -2] != a.shape[-2]:
        raise ShapeError(f"lstsq: a {tuple(a.shape)} and b {tuple(b.shape)} differ in the number of rows")
    a, b = _floating(a), _floating(b)
    columns = b.reshape((-1, 1)) if vector else b
    x, s = _lstsq(a, columns, rcond=rcond)
    from .complexes import real
    from .elementwise import conjugate
    from .reduction import max_
    from .reduction import sum as sum_

    rest = columns - a @ x
    residuals = sum_(real(rest * conjugate(rest)) if rest.dtype.kind == "c" else rest * rest, axis=-2)
    tolerance = max(a.shape[-2:]) * float(np.finfo(s.dtype).eps) if rcond is None else rcond
    rank = sum_(s > tolerance * max_(s, axis=-1, keepdims=True), axis=-1)
    if vector:
        return LstsqResult(x[..., 0], residuals[..., 0], rank, s)
    return LstsqResult(x, residuals, rank, s)


__all__ = ["det", "inv", "lstsq", "pinv", "slogdet", "solve"]
