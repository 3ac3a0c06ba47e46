"""A table of calls of functions that are composed of several ops, or that an op's own samples cannot reach.

Each row drives gradient checks of both orders, a run on the strict fake device and parity with PyTorch. ``ours`` and ``torch``
take the module and the arrays; a row without ``torch`` has its oracle in the test file of its family.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lunar_core.ops.common import array, complex_array

# fmt: off
# ruff: noqa: E501


class Row(NamedTuple):
    name: str
    arrays: tuple[Any, ...]
    ours: Callable[..., Any]
    torch: Callable[..., Any] | None = None
    device: bool = True  # False where the result's shape depends on values that the host has to read


def spd(o: Any, x: Any) -> Any:
    """A positive definite (Hermitian) matrix that depends smoothly on every element of ``x``; for either library."""
    return x @ x.mT.conj() + 0.5 * (x @ x.mT.conj()) @ (x @ x.mT.conj())


SQUARE = array(3, (3, 3)) + 2 * np.eye(3)
BATCH = array(4, (2, 3, 3)) + 2 * np.eye(3)
CSQUARE = complex_array(5, (3, 3)) + 2 * np.eye(3)
MASK = np.array([[True, False, True], [False, False, True]])

SORTING = [
    Row("sort of all elements, descending", (array(0, (2, 3)),), lambda o, x: o.sort(x, axis=None, descending=True),
        lambda t, x: t.sort(x.reshape(-1), descending=True)[0]),
    Row("topk", (array(1, (3, 5)),), lambda o, x: o.topk(x, 2).values, lambda t, x: t.topk(x, 2)[0]),
    Row("topk smallest over axis 0", (array(2, (5, 3)),), lambda o, x: o.topk(x, 3, axis=0, largest=False).values,
        lambda t, x: t.topk(x, 3, dim=0, largest=False)[0]),
    Row("median of an odd number", (array(3, (5, 3)),), lambda o, x: o.median(x, axis=0), lambda t, x: t.median(x, 0)[0]),
    Row("median of an even number", (array(4, (4, 3)),), lambda o, x: o.median(x, axis=0), lambda t, x: t.quantile(x, 0.5, 0)),
    Row("median of all, kept", (array(4, (2, 3)),), lambda o, x: o.median(x, keepdims=True),
        lambda t, x: t.quantile(x.reshape(-1), 0.5).reshape(1, 1)),
    *[
        Row(f"quantile {method}", (array(5, (3, 7)),), lambda o, x, m=method: o.quantile(x, [0.1, 0.5, 0.93], axis=1, method=m),
            lambda t, x, m=method: t.quantile(x, t.tensor([0.1, 0.5, 0.93], dtype=t.float64), dim=1, interpolation=m))
        for method in ("linear", "lower", "higher", "nearest", "midpoint")
    ],
    Row("quantile over two axes", (array(6, (2, 3, 2)),), lambda o, x: o.quantile(x, 0.3, axis=(0, 2), keepdims=True),
        lambda t, x: t.quantile(x.permute(1, 0, 2).reshape(3, 4), 0.3, dim=1).reshape(1, 3, 1)),
    Row("bincount of weights", (array(7, (5,)),), lambda o, w: o.bincount(np.array([0, 3, 3, 1, 0]), w, minlength=6), device=False),
    Row("cumprod of all elements", (array(8, (2, 3)),), lambda o, x: o.cumprod(x), lambda t, x: t.cumprod(x.reshape(-1), 0)),
    Row("cumsum of all elements", (array(8, (2, 3)),), lambda o, x: o.cumsum(x), lambda t, x: t.cumsum(x.reshape(-1), 0)),
    Row("cummax of all elements", (array(9, (2, 3)),), lambda o, x: o.cummax(x), lambda t, x: t.cummax(x.reshape(-1), 0)[0]),
]

REARRANGE = [
    Row("chunk", (array(0, (5, 2)),), lambda o, x: o.chunk(x, 3), lambda t, x: t.chunk(x, 3)),
    Row("chunk of an axis that is too short", (array(0, (2, 3)),), lambda o, x: o.chunk(x, 5, axis=1), lambda t, x: t.chunk(x, 5, 1)),
    Row("tile", (array(1, (2, 3)),), lambda o, x: o.tile(x, (2, 1, 3)), lambda t, x: t.tile(x, (2, 1, 3))),
    Row("tile with a number", (array(1, (2, 3)),), lambda o, x: o.tile(x, 2), lambda t, x: t.tile(x, (2,))),
    Row("repeat", (array(2, (2, 3)),), lambda o, x: o.repeat(x, 2, axis=1), lambda t, x: t.repeat_interleave(x, 2, 1)),
    Row("repeat of all elements", (array(2, (2, 3)),), lambda o, x: o.repeat(x, 2), lambda t, x: t.repeat_interleave(x, 2)),
    Row("repeat by counts", (array(3, (3, 2)),), lambda o, x: o.repeat(x, [2, 0, 3], axis=0),
        lambda t, x: t.repeat_interleave(x, t.tensor([2, 0, 3]), 0)),
    Row("meshgrid ij", (array(4, (2,)), array(5, (3,)), array(6, (2,))), lambda o, *x: o.meshgrid(*x, indexing="ij"),
        lambda t, *x: t.meshgrid(*x, indexing="ij")),
    Row("meshgrid xy", (array(4, (2,)), array(5, (3,))), lambda o, *x: o.meshgrid(*x), lambda t, *x: t.meshgrid(*x, indexing="xy")),
    Row("roll of all elements", (array(5, (2, 3)),), lambda o, x: o.roll(x, 4), lambda t, x: t.roll(x, 4)),
    Row("roll of an axis twice", (array(5, (2, 3)),), lambda o, x: o.roll(x, 1, axis=(0, 1)), lambda t, x: t.roll(x, (1, 1), (0, 1))),
    Row("diag of a vector", (array(6, (3,)),), lambda o, x: o.diag(x, -1), lambda t, x: t.diag(x, -1)),
    Row("diag of a matrix", (array(6, (3, 4)),), lambda o, x: o.diag(x, 1), lambda t, x: t.diag(x, 1)),
    Row("diag_embed", (array(7, (2, 3)),), lambda o, x: o.diag_embed(x, 1), lambda t, x: t.diag_embed(x, 1)),
    Row("pad reflect", (array(8, (1, 2, 4)),), lambda o, x: o.pad(x, [(0, 0), (0, 0), (2, 3)], "reflect"),
        lambda t, x: t.nn.functional.pad(x, (2, 3), mode="reflect")),
    Row("pad replicate", (array(8, (1, 2, 4)),), lambda o, x: o.pad(x, [(0, 0), (0, 0), (2, 6)], mode="replicate"),
        lambda t, x: t.nn.functional.pad(x, (2, 6), mode="replicate")),
    Row("pad constant by one pair", (array(8, (2, 2)),), lambda o, x: o.pad(x, (1, 2), value=3.0),
        lambda t, x: t.nn.functional.pad(x, (1, 2, 1, 2), value=3.0)),
]

SCATTER = [
    Row("take of the flattened array", (array(0, (2, 3)),), lambda o, x: o.take(x, [[5, 0], [-1, 2]]),
        lambda t, x: t.take(x, t.tensor([[5, 0], [5, 2]]))),
    Row("gather of a smaller index", (array(1, (3, 4)), np.array([[3, 0], [1, 1]])), lambda o, x, i: o.gather(x, 1, i),
        lambda t, x, i: t.gather(x, 1, i)),
    Row("scatter of a number", (array(2, (3, 4)), np.array([[2, 0, 1]])), lambda o, x, i: o.scatter(x, 0, i, 7.0),
        lambda t, x, i: t.scatter(x, 0, i, 7.0)),
    Row("scatter of a larger source", (array(3, (3, 4)), np.array([[2, 0], [1, 1]]), array(4, (3, 4))),
        lambda o, x, i, s: o.scatter(x, 0, i, s), lambda t, x, i, s: t.scatter(x, 0, i, s[:2, :2])),
    Row("scatter_add with repeats", (array(5, (3, 4)), np.array([[2, 2, 1], [2, 0, 1]]), array(6, (2, 3))),
        lambda o, x, i, s: o.scatter_add(x, 0, i, s), lambda t, x, i, s: t.scatter_add(x, 0, i, s)),
    Row("masked_fill", (array(7, (2, 3)), MASK), lambda o, x, m: o.masked_fill(x, m, -2.0), lambda t, x, m: x.masked_fill(m, -2.0)),
    Row("masked_fill with a tensor", (array(7, (2, 3)), MASK[0], array(8, ())), lambda o, x, m, v: o.masked_fill(x, m, v),
        lambda t, x, m, v: x.masked_fill(m, v)),
    Row("masked_select", (array(9, (2, 3)), MASK), lambda o, x, m: o.masked_select(x, m), lambda t, x, m: x.masked_select(m)),
    Row("masked_select with broadcasting", (array(9, (2, 1, 3)), MASK), lambda o, x, m: o.masked_select(x, m),
        lambda t, x, m: x.masked_select(m)),
    Row("take_along_axis with broadcasting", (array(10, (1, 4)), np.array([[0, 3], [1, 1], [2, 0]])),
        lambda o, x, i: o.take_along_axis(x, i, 1), lambda t, x, i: t.take_along_dim(x, i, 1)),
    Row("take_along_axis of a narrow index", (array(11, (3, 4)), np.array([[1, 2]])),
        lambda o, x, i: o.take_along_axis(x, i, 1), lambda t, x, i: t.take_along_dim(x, i, 1)),
    Row("lerp", (array(12, (2, 3)), array(13, (3,)), array(14, (2, 1), 0, 1)), lambda o, a, b, w: o.lerp(a, b, w),
        lambda t, a, b, w: t.lerp(*t.broadcast_tensors(a, b, w))),
]

COMPLEX = [
    Row("magnitude and sign", (complex_array(0, (2, 3)),), lambda o, x: (o.abs(x), o.sign(x)), lambda t, x: (t.abs(x), t.sgn(x))),
    Row("power with complex exponent", (complex_array(1, (3,)), complex_array(2, (3,))), lambda o, x, y: x**y, lambda t, x, y: x**y),
    Row("real base, complex exponent", (array(1, (3,), 0.3, 2), complex_array(2, (3,))), lambda o, x, y: x**y, lambda t, x, y: x**y),
    Row("quotient", (complex_array(3, (2, 3)), complex_array(4, (3,))), lambda o, x, y: x / y, lambda t, x, y: x / y),
    Row("matrix product", (complex_array(5, (2, 3)), complex_array(6, (3, 2))), lambda o, x, y: x @ y, lambda t, x, y: x @ y),
    Row("mean, variance and norm", (complex_array(7, (2, 3)),), lambda o, x: (o.mean(x, axis=0), o.var(x, axis=1), o.norm(x)),
        lambda t, x: (x.mean(0), x.var(1, correction=0), t.linalg.norm(x))),
    Row("parts", (complex_array(8, (2, 3)),), lambda o, x: x.real * 2 + x.imag * x.imag, lambda t, x: x.real * 2 + x.imag * x.imag),
    Row("parts of real values", (array(8, (2, 3)),), lambda o, x: (x.real, o.imag(x) + x), lambda t, x: (x.real, x * 1)),
]


def norms(axis: tuple[int, int] = (-2, -1)) -> list[Row]:
    return [
        Row(f"matrix_norm {ord}", (array(9, (2, 3, 4)),), lambda o, x, p=ord: o.matrix_norm(x, p),
            lambda t, x, p=ord: t.linalg.matrix_norm(x, p))
        for ord in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    ]


def apply_symmetric(linalg: Any, x: Any) -> Any:
    """The square root of a positive definite matrix, which does not depend on the signs of its eigenvectors."""
    w, v = linalg.eigh(x)
    return (v * (w**0.5)[..., None, :]) @ v.mT.conj()


def leading_eigenvector(linalg: Any, x: Any) -> Any:
    v = linalg.eigh(x)[1][..., -1:]
    return v @ v.mT


def squared_values(linalg: Any, x: Any, full: bool) -> Any:
    u, s, vh = linalg.svd(x, full_matrices=full)
    k = s.shape[-1]
    return (u[..., :k] * (s * s)[..., None, :]) @ vh[..., :k, :]


def left_projection(linalg: Any, x: Any) -> Any:
    u = linalg.svd(x, full_matrices=False)[0]
    return u[..., :1] @ u[..., :1].mT.conj()


def right_projection(linalg: Any, x: Any) -> Any:
    vh = linalg.svd(x, full_matrices=False)[2]
    return vh[..., :1, :].mT.conj() @ vh[..., :1, :]


MATRIX = [
    Row("dot of vectors", (array(0, (3,)), array(1, (3,))), lambda o, x, y: o.dot(x, y), lambda t, x, y: t.dot(x, y)),
    Row("dot of stacks", (array(0, (2, 3)), array(1, (4, 3, 2))), lambda o, x, y: o.dot(x, y),
        lambda t, x, y: t.tensordot(x, y, dims=([1], [1]))),
    Row("dot with a number", (array(0, ()), array(1, (2, 2))), lambda o, x, y: o.dot(x, y), lambda t, x, y: x * y),
    Row("dot with a vector", (array(0, (2, 2, 3)), array(1, (3,))), lambda o, x, y: o.dot(x, y), lambda t, x, y: x @ y),
    Row("vecdot", (complex_array(2, (2, 3)), complex_array(3, (3,))), lambda o, x, y: o.vecdot(x, y), lambda t, x, y: t.linalg.vecdot(x, y)),
    Row("vecdot over axis 0", (array(2, (3, 2)), array(3, (3, 2))), lambda o, x, y: o.vecdot(x, y, axis=0),
        lambda t, x, y: t.linalg.vecdot(x, y, dim=0)),
    Row("kron", (array(4, (2, 3)), array(5, (3, 2))), lambda o, x, y: o.kron(x, y), lambda t, x, y: t.kron(x, y)),
    Row("kron of different ranks", (array(4, (2,)), array(5, (3, 2))), lambda o, x, y: o.kron(x, y), lambda t, x, y: t.kron(x, y)),
    Row("cross", (array(6, (2, 3)), array(7, (1, 3))), lambda o, x, y: o.cross(x, y), lambda t, x, y: t.linalg.cross(x, y)),
    Row("cross over axis 0", (array(6, (3, 2)), array(7, (3, 2))), lambda o, x, y: o.cross(x, y, axis=0),
        lambda t, x, y: t.linalg.cross(x, y, dim=0)),
    Row("trace", (array(8, (3, 4)),), lambda o, x: o.trace(x), lambda t, x: t.diagonal(x).sum()),
    Row("trace of inner axes", (array(8, (2, 3, 3)),), lambda o, x: o.trace(x, 1, -2, -1), lambda t, x: t.diagonal(x, 1, -2, -1).sum(-1)),
    *[
        Row(f"matrix_power {n}", (BATCH,), lambda o, x, n=n: o.matrix_power(x, n) + 0 * x, lambda t, x, n=n: t.linalg.matrix_power(x, n) + 0 * x)
        for n in (0, 1, 2, 5, -1, -3)
    ],
    *norms(),
    Row("matrix_norm over outer axes, kept", (array(9, (3, 2, 4)),), lambda o, x: o.matrix_norm(x, 1, axis=(2, 0), keepdims=True),
        lambda t, x: t.linalg.matrix_norm(x, 1, dim=(2, 0), keepdim=True)),
    Row("matrix_norm of complex matrices", (complex_array(9, (2, 3)),), lambda o, x: (o.matrix_norm(x), o.matrix_norm(x, "nuc")),
        lambda t, x: (t.linalg.matrix_norm(x), t.linalg.matrix_norm(x, "nuc"))),
    Row("solve a vector", (SQUARE, array(1, (3,))), lambda o, a, b: o.solve(a, b), lambda t, a, b: t.linalg.solve(a, b)),
    Row("solve one vector for a stack", (BATCH, array(1, (3,))), lambda o, a, b: o.solve(a, b),
        lambda t, a, b: t.linalg.solve(a, b.expand(2, 3))),
    Row("slogdet", (BATCH,), lambda o, x: o.slogdet(x)[1], lambda t, x: t.linalg.slogdet(x)[1]),
    Row("slogdet of complex matrices", (CSQUARE,), lambda o, x: tuple(o.slogdet(x)), lambda t, x: tuple(t.linalg.slogdet(x))),
    Row("cholesky", (SQUARE,), lambda o, x: o.cholesky(spd(o, x)), lambda t, x: t.linalg.cholesky(spd(t, x))),
    Row("cholesky upper", (BATCH,), lambda o, x: o.cholesky(spd(o, x), upper=True), lambda t, x: t.linalg.cholesky(spd(t, x), upper=True)),
    Row("cholesky of complex matrices", (CSQUARE,), lambda o, x: o.cholesky(spd(o, x)), lambda t, x: t.linalg.cholesky(spd(t, x))),
    Row("eigvalsh", (BATCH,), lambda o, x: o.eigvalsh(spd(o, x)), lambda t, x: t.linalg.eigvalsh(spd(t, x))),
    Row("a function of a symmetric matrix", (SQUARE,), lambda o, x: apply_symmetric(o, spd(o, x)), lambda t, x: apply_symmetric(t.linalg, spd(t, x))),
    Row("a function of Hermitian matrices", (CSQUARE,), lambda o, x: apply_symmetric(o, spd(o, x)), lambda t, x: apply_symmetric(t.linalg, spd(t, x))),
    Row("projection on an eigenvector", (BATCH,), lambda o, x: leading_eigenvector(o, spd(o, x)),
        lambda t, x: leading_eigenvector(t.linalg, spd(t, x))),
    Row("svdvals", (array(3, (2, 4, 3)),), lambda o, x: o.svdvals(x), lambda t, x: t.linalg.svdvals(x)),
    *[
        Row(f"a function of the singular values of {x.shape} {x.dtype}, full={full}", (x,),
            lambda o, x, f=full: squared_values(o, x, f), lambda t, x, f=full: squared_values(t.linalg, x, f))
        for x in (SQUARE, array(1, (2, 4, 2)), array(2, (2, 4)), complex_array(6, (4, 2)), complex_array(7, (2, 3)), CSQUARE)
        for full in (False, True)
    ],
    Row("left singular projection", (array(5, (4, 2)),), left_projection, lambda t, x: left_projection(t.linalg, x)),
    Row("right singular projection", (complex_array(5, (2, 4)),), right_projection, lambda t, x: right_projection(t.linalg, x)),
    Row("qr of wide complex matrices", (complex_array(8, (2, 4)),), lambda o, x: tuple(o.qr(x)), lambda t, x: tuple(t.linalg.qr(x))),
    Row("R alone", (array(8, (3, 2)),), lambda o, x: o.qr(x).R, lambda t, x: t.linalg.qr(x)[1]),
    Row("lstsq", (array(0, (2, 5, 3)), array(1, (2, 5, 2))), lambda o, a, b: o.lstsq(a, b)[:2],
        lambda t, a, b: (t.linalg.lstsq(a, b)[0], ((b - a @ t.linalg.lstsq(a, b)[0]) ** 2).sum(-2))),
    Row("lstsq of a vector", (array(0, (5, 3)), array(1, (5,))), lambda o, a, b: o.lstsq(a, b).x,
        lambda t, a, b: t.linalg.lstsq(a, b[:, None])[0][:, 0]),
    Row("singular values of lstsq", (array(0, (5, 3)),), lambda o, a: o.lstsq(a, a[:, 0]).s, lambda t, a: t.linalg.svdvals(a)),
]


def transforms() -> list[Row]:
    rows = []
    x, z = array(0, (4, 6)), complex_array(1, (4, 6))
    for name, data, lengths in [
        ("fft", z, (None, 4, 9)), ("fft", x, (None,)), ("ifft", z, (None, 8)), ("rfft", x, (None, 5, 8)), ("irfft", z, (None, 7, 14, 1)),
        ("hfft", z, (None, 7)), ("ihfft", x, (None, 5)),
    ]:
        for n in lengths:
            for norm in ("backward", "ortho", "forward"):
                rows.append(
                    Row(f"{name} n={n} {norm} {data.dtype}", (data,), lambda o, x, f=name, n=n, m=norm: getattr(o, f)(x, n, -1, m),
                        lambda t, x, f=name, n=n, m=norm: getattr(t.fft, f)(x, n, -1, m))
                )
    for name, data, s, axes in [
        ("fftn", z, None, None), ("fftn", z, (3, 8), (0, 1)), ("fftn", x, (5,), (0,)), ("ifftn", z, None, None),
        ("fft2", z, None, (-2, -1)), ("ifft2", z, (5, 4), (-2, -1)), ("rfftn", x, None, None), ("rfftn", x, (3, 7), (1, 0)),
        ("irfftn", z, None, None), ("irfftn", z, (3, 9), (0, 1)), ("rfft2", x, None, (-2, -1)), ("irfft2", z, (4, 5), (-2, -1)),
    ]:
        rows.append(
            Row(f"{name} s={s} axes={axes} {data.dtype}", (data,), lambda o, x, f=name, s=s, a=axes: getattr(o, f)(x, s, a, "ortho"),
                lambda t, x, f=name, s=s, a=axes: getattr(t.fft, f)(x, s, a, "ortho"))
        )
    rows += [
        Row("fft over axis 0", (z,), lambda o, x: o.fft(x, axis=0), lambda t, x: t.fft.fft(x, dim=0)),
        Row("fftshift", (x,), lambda o, x: o.fftshift(x), lambda t, x: t.fft.fftshift(x)),
        Row("ifftshift of an axis", (array(2, (3, 5)),), lambda o, x: o.ifftshift(x, 1), lambda t, x: t.fft.ifftshift(x, 1)),
        Row("a filter", (x, array(3, (6,))), lambda o, x, k: o.irfft(o.rfft(x) * o.rfft(k), 6),
            lambda t, x, k: t.fft.irfft(t.fft.rfft(x) * t.fft.rfft(k), 6)),
    ]
    return rows


ROWS = [*SORTING, *REARRANGE, *SCATTER, *COMPLEX, *MATRIX, *transforms()]
