"""Spellings of reductions, running reductions, sorting and counting."""

import numpy as np

from lunar_core import ops

from .spelling import Differs, Leading, axes, leading, one_axis, typed


def reduction(function):
    """A reduction over any number of axes, with PyTorch's ``dim``, ``keepdim`` and ``dtype``."""

    def spelled(x, dim=None, keepdim=False, *, dtype=None):
        return function(typed(x, dtype), axis=axes(x, dim), keepdims=keepdim)

    return spelled


def spread(function):
    """``var`` and ``std``: PyTorch divides by n - 1 unless told otherwise, we by n."""

    def spelled(x, dim=None, unbiased=None, keepdim=False, *, correction=1):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = 1 if correction is None else correction
        return function(
            x, axis=axes(x, dim), keepdims=keepdim, correction=correction if unbiased is None else int(unbiased)
        )

    return spelled


def with_mean(function):
    def spelled(x, dim=None, unbiased=None, keepdim=False, *, correction=1):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        values = spread(function)(x, dim, unbiased, keepdim, correction=correction)
        return values, ops.mean(x, axis=axes(x, dim), keepdims=keepdim)

    return spelled


def with_position(values, positions):
    """PyTorch's ``max(dim)``, which gives the positions too; its gradient goes to one of several equal elements."""

    def spelled(x, dim=None, keepdim=False):
        if dim is None:
            return values(x)
        where = positions(x, axis=axes(x, dim), keepdims=keepdim) if x.ndim else positions(x)
        return values(x, axis=axes(x, dim), keepdims=keepdim), where

    return spelled


def position(function):
    def spelled(x, dim=None, keepdim=False):
        if x.ndim == 0:
            return function(x)
        return function(x, axis=dim, keepdims=keepdim)

    return spelled


def norm(x, p="fro", dim=None, keepdim=False):
    if p == "nuc":
        return ops.matrix_norm(x, "nuc", axis=tuple(dim) if dim is not None else (0, 1), keepdims=keepdim)
    return ops.norm(x, axis=axes(x, dim), keepdims=keepdim, ord=2 if p == "fro" else p)


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    return ops.norm(typed(x, dtype), axis=axes(x, dim), keepdims=keepdim, ord=ord)


def median(x, dim=None, keepdim=False):
    n = x.size if dim is None else x.shape[dim] if x.ndim else 1
    if n % 2 == 0:  # PyTorch gives the lower one of the middle two
        return Leading(ops.quantile(x, 0.5, axis=axes(x, dim), keepdims=keepdim, method="lower"))
    return Leading(ops.median(x, axis=axes(x, dim), keepdims=keepdim))


def quantile(x, q, dim=None, keepdim=False, *, interpolation="linear"):
    if getattr(q, "requires_grad", False) and interpolation == "linear" and x.ndim:
        raise Differs("the places of quantiles are not differentiated")
    return ops.quantile(x, q, axis=axes(x, dim), keepdims=keepdim, method=interpolation)


def running(function):
    """A running reduction; an array without axes is its own."""

    def spelled(x, dim, *, dtype=None):
        return function(typed(x, dtype), axis=one_axis(x, dim))

    return spelled


def sort(x, dim=-1, descending=False, stable=False):
    if x.ndim == 0:
        raise Differs("an array without axes has no axis to sort along, as in NumPy")
    return ops.sort(x, axis=dim, descending=descending), ops.argsort(x, axis=dim, descending=descending)


def argsort(x, dim=-1, descending=False, stable=False):
    if x.ndim == 0:
        raise Differs("an array without axes has no axis to sort along, as in NumPy")
    return ops.argsort(x, axis=dim, descending=descending)


def topk(x, k, dim=-1, largest=True, sorted=True):
    return ops.topk(x, k, axis=one_axis(x, dim), largest=largest, sorted=sorted)


def unique(x, sorted=True, return_inverse=False, return_counts=False, dim=None):
    return ops.unique(x, return_inverse=return_inverse, return_counts=return_counts, axis=dim)


def bincount(x, weights=None, minlength=0):
    if weights is not None and weights.dtype.kind in "iu":
        raise Differs("integer weights give integer sums")
    return ops.bincount(x, weights=weights, minlength=minlength)


def histogram(x, bins, *, range=None, weight=None, density=False):
    counts, edges = ops.histogram(x, bins=bins, range=range, density=density, weights=weight)
    return counts.astype(x.dtype), edges.astype(x.dtype)


def histc(x, bins=100, min=0, max=0):
    if min == max:
        span = None
    else:
        span = (min, max)
    counts, _ = ops.histogram(x, bins=bins, range=span)
    return counts.astype(x.dtype)


def diff(x, n=1, dim=-1, prepend=None, append=None):
    return ops.diff(x, n, axis=dim, prepend=prepend, append=append)


def trapezoid(y, x=None, *, dx=1.0, dim=-1):
    return np.trapezoid(y, x, dx=dx, axis=dim)


SPELLINGS = {
    **{name: reduction(getattr(ops, name)) for name in "sum mean prod amax amin all any logsumexp".split()},
    "count_nonzero": lambda x, dim=None: ops.count_nonzero(x, axis=axes(x, dim)),
    "nansum": reduction(np.nansum), "nanmean": reduction(np.nanmean),
    "var": spread(ops.var), "std": spread(ops.std), "var/unbiased": spread(ops.var), "std/unbiased": spread(ops.std),
    "var_mean": with_mean(ops.var), "std_mean": with_mean(ops.std),
    "var_mean/unbiased": with_mean(ops.var), "std_mean/unbiased": with_mean(ops.std),
    "max/reduction_with_dim": with_position(ops.max, ops.argmax), "max/reduction_no_dim": with_position(ops.max, ops.argmax),
    "min/reduction_with_dim": with_position(ops.min, ops.argmin), "min/reduction_no_dim": with_position(ops.min, ops.argmin),
    "aminmax": lambda x, *, dim=None, keepdim=False: (
        ops.min(x, axis=axes(x, dim), keepdims=keepdim), ops.max(x, axis=axes(x, dim), keepdims=keepdim)),
    "argmax": position(ops.argmax), "argmin": position(ops.argmin),
    "norm": norm, "norm/nuc": norm, "norm/fro": norm, "norm/inf": norm, "linalg.vector_norm": vector_norm,
    "quantile": quantile,
    "median": median, "cumsum": running(ops.cumsum), "cumprod": running(ops.cumprod), "cummax": leading(running(ops.cummax)),
    "cummin": leading(running(ops.cummin)), "logcumsumexp": running(ops.logcumsumexp),
    "sort": sort, "argsort": argsort, "msort": lambda x: ops.sort(x, axis=0), "topk": topk,
    "unique": unique, "bincount": bincount, "histogram": histogram, "histc": histc, "diff": diff,
    "trapezoid": trapezoid, "trapz": trapezoid, "corrcoef": np.corrcoef, "equal": np.array_equal, "allclose": np.allclose,
}  # fmt: skip
