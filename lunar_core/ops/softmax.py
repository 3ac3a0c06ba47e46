"""Softmax and log_softmax along an axis; the largest element is subtracted first, so nothing overflows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import OUTPUT, Op, Sample
from ..tensor import Tensor
from .common import array, elementwise_spec, normalize_axis, refuse, wide

FLOAT = elementwise_spec(np.exp)
_add_reduce: Any = np.add.reduce  # the functions, without the detour of the arrays' methods
_max_reduce: Any = np.maximum.reduce


def shifted(xp: Any, x: Any, axis: int) -> Any:
    """``x`` minus its largest element along ``axis``: a new floating array, float32 for half precision."""
    if x.dtype.kind in "biu":
        x = x.astype(np.result_type(x.dtype, np.float32 if x.dtype.itemsize == 1 else np.float16))
    elif wide(x.dtype):
        x = x.astype(np.float32)
    if not x.size:
        return x.copy()
    return x - largest(xp, x, axis)


def largest(xp: Any, x: Any, axis: int) -> Any:
    """The largest element along ``axis``, which stays as an axis of size 1."""
    if xp is not np:
        return x.max(axis=axis, keepdims=True)
    if x.size < 1024 or axis != x.ndim - 1 or not x.flags.c_contiguous:
        return _max_reduce(x, axis, None, None, True)
    places = x.argmax(-1)  # NumPy finds the place of the largest two to three times faster than the largest
    flat, width = places.reshape(-1), x.shape[-1]
    flat += np.arange(0, flat.size * width, width)
    return x.reshape(-1)[places][..., None]


def rounded(out: Any, x: Any) -> Any:
    """What was computed from :func:`shifted` in the floating dtype that belongs to ``x``."""
    if x.dtype.itemsize > 2:
        return out
    dtype = np.result_type(x.dtype, np.float16) if x.dtype.kind in "biu" else x.dtype
    return out.astype(dtype, copy=False)


def row_total(xp: Any, x: Any, axis: int) -> Any:
    """The sum along ``axis``, which stays as an axis of size 1."""
    if (
        x.size >= 1024
        and axis == x.ndim - 1
        and x.dtype.char in "fd"
        and x.shape[axis] <= 4096
        and x.flags.c_contiguous
    ):
        return x.dot(xp.ones((x.shape[axis], 1), x.dtype))  # at the memory's speed
    return _add_reduce(x, axis, None, None, True) if xp is np else x.sum(axis=axis, keepdims=True)


def _softmax_forward(xp: Any, x: Any, axis: int) -> Any:
    out = shifted(xp, x, axis)
    xp.exp(out, out=out)
    out /= row_total(xp, out, axis)
    return rounded(out, x)


def _log_softmax_forward(xp: Any, x: Any, axis: int) -> Any:
    out = shifted(xp, x, axis)
    if not out.size:
        return rounded(out, x)
    return rounded(out - xp.log(row_total(xp, xp.exp(out), axis)), x)


def _row_dots(F: Any, a: Any, b: Any, axis: int) -> Any:
    """Products summed along ``axis``, which stays as an axis of size 1."""
    if type(a) is np.ndarray and axis == a.ndim - 1 and a.dtype.char in "fd":
        return np.vecdot(a, b)[..., None]
    return F.sum(a * b, axis=axis, keepdims=True)


def _softmax_vjp(F: Any, g: Any, y: Any, need: Any, axis: int) -> Any:
    out = g - _row_dots(F, g, y, axis)
    if isinstance(g, Tensor):
        return (out * y,)
    out *= y
    return (out,)


def _log_softmax_vjp(F: Any, g: Any, y: Any, need: Any, axis: int) -> Any:
    out = F.exp(y)
    if isinstance(g, Tensor):
        return (g - out * F.sum(g, axis=axis, keepdims=True),)
    out *= F.sum(g, axis=axis, keepdims=True)
    out -= g
    return (F.negative(out, out=out),)


def _axis_samples(name: str) -> Any:
    def make() -> list[Sample]:
        table: list[tuple[tuple[int, ...], int]] = [((4,), 0), ((3, 5), 1), ((3, 5), 0), ((2, 3, 4), 1), ((2, 0), 0)]
        return [
            Sample((array(i, shape, -4, 4),), {"axis": axis}, torch=lambda t, x, a=axis: getattr(t, name)(x, a))
            for i, (shape, axis) in enumerate(table)
        ]

    return make


_softmax = Op(
    "softmax",
    _softmax_forward,
    _softmax_vjp,
    save=OUTPUT,
    heavy=True,
    cast="float32",
    jvp="symmetric",
    abstract=lambda x, axis: FLOAT(x),
    samples=_axis_samples("softmax"),
    doc="``exp(x) / sum(exp(x))`` along an axis.",
)
_log_softmax = Op(
    "log_softmax",
    _log_softmax_forward,
    _log_softmax_vjp,
    save=OUTPUT,
    heavy=True,
    cast="float32",
    abstract=lambda x, axis: FLOAT(x),
    samples=_axis_samples("log_softmax"),
    doc="``x - log(sum(exp(x)))`` along an axis.",
)


_apply_softmax, _apply_log_softmax = _softmax.applier(1), _log_softmax.applier(1)


def _one_axis(axis: Any, x: Any, op: str) -> int:
    ndim = x.ndim
    if type(axis) is int and -ndim <= axis < ndim:
        return axis + ndim if axis < 0 else axis
    return normalize_axis(axis, ndim, op)[0]


def softmax(x: Any, axis: int = -1, **unknown: Any) -> Any:
    """``exp(x) / sum(exp(x))`` along ``axis``, without overflow. Where all are ``-inf`` the result is NaN."""
    if unknown:
        refuse("softmax", unknown)
    return _apply_softmax(x, axis=_one_axis(axis, x, "softmax"))


def log_softmax(x: Any, axis: int = -1, **unknown: Any) -> Any:
    """``x - log(sum(exp(x)))`` along ``axis``: the logarithm of :func:`softmax`, exact also where that is tiny."""
    if unknown:
        refuse("log_softmax", unknown)
    return _apply_log_softmax(x, axis=_one_axis(axis, x, "log_softmax"))
