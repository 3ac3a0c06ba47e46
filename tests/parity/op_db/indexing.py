"""Spellings of functions that read and write at positions."""

import numpy as np

from lunar_core import ops

from .spelling import Differs, one_axis, same


def gather(x, dim, index):
    if index.size == 0 and index.ndim != x.ndim:
        raise Differs("an index without elements has the rank of the array too")
    return ops.gather(x, one_axis(x, dim), index)


def scatter(x, dim, index, src):
    return ops.scatter(x, one_axis(x, dim), index, src)


def scatter_add(x, dim, index, src):
    return ops.scatter_add(x, one_axis(x, dim), index, src)


def scatter_reduce(x, dim, index, src, reduce, *, include_self=True):
    return ops.scatter_reduce(x, one_axis(x, dim), index, src, reduce, include_self)


def index_reduce(x, dim, index, src, reduce, *, include_self=True):
    """PyTorch's index is a vector for whole slices."""
    dim = one_axis(x, dim) % x.ndim
    index = ops.broadcast_to(ops.reshape(index, (-1, *(1,) * (x.ndim - dim - 1))), src.shape)
    return ops.scatter_reduce(x, dim, index, src, reduce, include_self)


def index_select(x, dim, index):
    return ops.take(x, index, axis=one_axis(x, dim))


def take_along_dim(x, index, dim=None):
    if dim is None:
        return ops.take_along_axis(ops.flatten(x), ops.flatten(index), 0)
    return ops.take_along_axis(x, index, dim)


def places(x, dim, index):
    """An index of whole slices along one axis."""
    return (slice(None),) * (one_axis(x, dim) % x.ndim) + (index,)


def index_add(x, dim, index, source, *, alpha=1):
    return x.at[places(x, dim, index)].add(source * alpha)


def index_put(x, indices, values, accumulate=False):
    return ops.index_put(x, indices, values, accumulate)


def slice_scatter(x, src, dim=0, start=None, end=None, step=1):
    return x.at[places(x, dim, slice(start, end, step))].set(src)


def put(x, index, src, accumulate=False):
    """PyTorch's places are those of the flattened array."""
    flat = ops.index_put(ops.flatten(x), (ops.flatten(index),), ops.flatten(src), accumulate)
    return ops.reshape(flat, x.shape)


def index_fill(x, dim, index, value):
    if getattr(value, "requires_grad", False) and len(set(index.tolist())) < index.size:
        raise Differs(
            "where places repeat, each hands its gradient to the value written there, as in PyTorch's scatter"
        )
    return x.at[places(x, dim, index)].set(value)


def nonzero(x, *, as_tuple=False):
    if as_tuple and x.ndim == 0:
        raise Differs("an array without axes has no places")
    return ops.nonzero(x) if as_tuple else np.argwhere(x)


def filled_shape(x, mask):
    """PyTorch's out-of-place masked_fill broadcasts the array to the mask too."""
    if mask.ndim > x.ndim or any(a != b for a, b in zip(mask.shape[::-1], x.shape[::-1]) if a != 1):
        raise Differs("a mask may not be larger than the array that it fills")


def masked_fill(x, mask, value):
    filled_shape(x, mask)
    return ops.masked_fill(x, mask, value)


def searchsorted(ordered, values, *, right=False, side=None, sorter=None, out_int32=False):
    places = ops.searchsorted(ordered, values, side=side or ("right" if right else "left"), sorter=sorter)
    return places.astype("int32") if out_int32 else places


def bucketize(values, edges, *, right=False, out_int32=False):
    return searchsorted(edges, values, right=right, out_int32=out_int32)


def one_hot(x, num_classes=-1):
    if num_classes == -1:
        raise Differs("the number of classes is always named")
    return ops.one_hot(x, num_classes, dtype="int64")


def embedding(indices, weight, padding_idx=None, max_norm=None, scale_grad_by_freq=False):
    if max_norm is not None or scale_grad_by_freq or padding_idx is not None:
        raise Differs("the row of the padding, rows of bounded length and gradients by frequency are a layer's matter")
    return ops.embedding(indices, weight)


SPELLINGS = {
    "gather": gather, "scatter": scatter, "scatter_add": scatter_add, "index_select": index_select,
    **{f"scatter_reduce/{mode}": scatter_reduce for mode in ("sum", "prod", "mean", "amin", "amax")},
    **{f"index_reduce/{mode}": index_reduce for mode in ("prod", "mean", "amin", "amax")},
    "take": same("take", index="indices"), "take_along_dim": take_along_dim,
    "index_put": index_put, "__getitem__": lambda x, index: x[index],
    "index_add": index_add, "index_copy": lambda x, dim, index, src: x.at[places(x, dim, index)].set(src),
    "index_fill": index_fill,
    "select_scatter": lambda x, src, dim, index: x.at[places(x, dim, index)].set(src), "slice_scatter": slice_scatter,
    "masked_fill": masked_fill, "masked_select": same("masked_select"),
    "nonzero": nonzero, "argwhere": np.argwhere,
    "searchsorted": searchsorted, "bucketize": bucketize,
    "nn.functional.one_hot": one_hot, "nn.functional.embedding": lambda weight, indices, **k: embedding(indices, weight, **k),
    "put": put,
    "isin": np.isin,
}  # fmt: skip
