"""ONNX operators that move, cut, join, pick and place."""

import math

import numpy as np
import onnx

from lunar_core import ops
from lunar_core.ops import creation

from .spelling import Differs, ints, item, tensor, text


def reshape(x, shape, allowzero=0):
    sizes = [x.shape[i] if n == 0 and not allowzero else n for i, n in enumerate(ints(shape))]
    return ops.reshape(x, tuple(sizes))


def flatten(x, axis=1):
    axis = axis + x.ndim if axis < 0 else axis
    return ops.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def expand(x, shape):
    return ops.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(ints(shape))))


def split(x, sizes=None, axis=0, num_outputs=None, outputs=1):
    n = x.shape[axis]
    if sizes is None:
        each = -(-n // (num_outputs or outputs))
        cuts = [each * i for i in range(1, num_outputs or outputs)]
    else:
        cuts = np.cumsum(ints(sizes))[:-1].tolist()
    return tuple(ops.split(x, cuts, axis=axis))


def slice_(x, starts, ends, axes=None, steps=None):
    index = [slice(None)] * x.ndim
    starts, ends = ints(starts), ints(ends)
    for axis, start, end, step in zip(ints(axes) or range(len(starts)), starts, ends, ints(steps) or [1] * len(starts)):
        n = x.shape[axis]
        if step < 0 and end < -n:
            end = None
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def pad(x, pads, value=None, axes=None, mode="constant"):
    pads, axes = ints(pads), ints(axes) or list(range(x.ndim))
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[i + len(axes)])
    return ops.pad(x, widths, mode=text(mode), value=item(value, 0))


def center_crop_pad(x, shape, axes=None):
    axes = list(range(x.ndim)) if axes is None else axes
    for axis, size in zip(axes, ints(shape)):
        n = x.shape[axis]
        if size < n:
            start = (n - size) // 2
            x = x[(slice(None),) * (axis % x.ndim) + (slice(start, start + size),)]
        elif size > n:
            before = (size - n) // 2
            x = ops.pad(x, [(before, size - n - before) if i == axis % x.ndim else (0, 0) for i in range(x.ndim)])
    return x


def transpose(x, perm=None):
    return ops.transpose(x, perm) if perm is not None else ops.transpose(x)


def trilu(x, k=None, upper=1):
    return (ops.triu if upper else ops.tril)(x, item(k, 0))


def eye_like(x, dtype=None, k=0):
    return creation.eye(*x.shape, dtype=dtype_of(dtype, x.dtype), k=k)


def dtype_of(number, default=None):
    return default if number is None else onnx.helper.tensor_dtype_to_np_dtype(number)


def constant_of_shape(shape, value=None):
    value = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    return creation.full(tuple(ints(shape)), value.item(), dtype=value.dtype)


def cast(x, to, saturate=1, round_mode="up"):
    return x.astype(dtype_of(to))


# -- reading -----------------------------------------------------------------------------------------------------------


def gather_nd(x, indices, batch_dims=0):
    places = tuple(ops.unbind(indices, axis=-1))
    head = [tensor(np.arange(n)) for n in x.shape[:batch_dims]]
    rank = indices.ndim - 1
    head = [ops.reshape(a, (1,) * i + (-1,) + (1,) * (rank - i - 1)) for i, a in enumerate(head)]
    return x[(*head, *places)]


def compress(x, condition, axis=None):
    if axis is None:
        x, axis = ops.flatten(x), 0
    condition = np.asarray(condition.data)
    mask = np.zeros(x.shape[axis], bool)
    mask[: condition.size] = condition
    return ops.take(x, np.flatnonzero(mask), axis=axis)


def one_hot(indices, depth, values, axis=-1):
    depth = int(item(depth))
    indices = indices.astype(np.int64)
    inside = ops.logical_and(indices >= -depth, indices < depth)
    hot = ops.one_hot(ops.where(inside, indices % depth, 0), depth, dtype=np.bool_)
    hot = ops.logical_and(hot, ops.expand_dims(inside, -1))
    return ops.moveaxis(ops.where(hot, values[1], values[0]), -1, axis)


def top_k(x, k, axis=-1, largest=1, sorted=1):
    if np.unique(x.data).size < x.size:
        raise Differs("which of equal elements come, and in which order, is not specified")
    return tuple(ops.topk(x, item(k), axis=axis, largest=bool(largest), sorted=bool(sorted)))


def unique(x, axis=None, sorted=1):
    values, first, inverse, counts = ops.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = ops.flatten(inverse)
    if not sorted:  # in the order of their first places
        order = ops.argsort(first)
        rank = ops.argsort(order)
        values, first, counts = ops.take(values, order, axis=axis or 0), first[order], counts[order]
        inverse = rank[inverse]
    return values, first, inverse, counts


def reverse_sequence(x, lengths, batch_axis=1, time_axis=0):
    moved = ops.moveaxis(x, (batch_axis, time_axis), (0, 1))
    rows = [ops.concat([ops.flip(row[:n], 0), row[n:]], axis=0) for row, n in zip(ops.unbind(moved, 0), ints(lengths))]
    return ops.moveaxis(ops.stack(rows, axis=0), (0, 1), (batch_axis, time_axis))


# -- writing -----------------------------------------------------------------------------------------------------------


def written(x, index, value, reduction):
    """PyTorch's and ONNX's names of what is done where a value is written."""
    places = x.at[index]
    return {
        "none": places.set, "add": places.add, "mul": places.multiply, "max": places.max, "min": places.min,
    }[text(reduction)](value)  # fmt: skip


def scatter_elements(x, indices, updates, axis=0, reduction="none"):
    if text(reduction) == "none":
        return ops.scatter(x, axis, ops.where(indices < 0, indices + x.shape[axis], indices), updates)
    grid = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    grid[axis] = indices
    return written(x, tuple(grid), updates, reduction)


def scatter_nd(x, indices, updates, reduction="none"):
    return written(x, tuple(ops.unbind(indices, axis=-1)), updates, reduction)


def depth_to_space(x, blocksize, mode="DCR"):
    if text(mode) == "CRD":
        return ops.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    b = blocksize
    moved = ops.transpose(ops.reshape(x, (n, b, b, c // b**2, h, w)), (0, 3, 4, 1, 5, 2))
    return ops.reshape(moved, (n, c // b**2, h * b, w * b))


def space_to_depth(x, blocksize, mode="DCR"):
    if text(mode) == "CRD":
        return ops.pixel_unshuffle(x, blocksize)
    n, c, h, w = x.shape
    b = blocksize
    moved = ops.transpose(ops.reshape(x, (n, c, h // b, b, w // b, b)), (0, 3, 5, 1, 2, 4))
    return ops.reshape(moved, (n, c * b**2, h // b, w // b))


def shape(x, start=0, end=None):
    return tensor(np.array(x.shape[start:end], np.int64))


OPERATORS = {
    "Reshape": reshape, "Flatten": flatten, "Expand": expand, "Concat": lambda *xs, axis: ops.concat(xs, axis=axis),
    "Split": split, "Slice": slice_, "Pad": pad, "CenterCropPad": center_crop_pad, "Transpose": transpose, "Trilu": trilu,
    "Squeeze": lambda x, axes=None: ops.squeeze(x, tuple(ints(axes)) if axes is not None else None),
    "Unsqueeze": lambda x, axes: ops.expand_dims(x, tuple(ints(axes))),
    "Tile": lambda x, repeats: ops.tile(x, tuple(ints(repeats))),
    "EyeLike": eye_like, "ConstantOfShape": constant_of_shape, "Cast": cast,
    "CastLike": lambda x, like, saturate=1, round_mode="up": x.astype(like.dtype),
    "Shape": shape, "Size": lambda x: tensor(np.array(x.size, np.int64)), "Identity": lambda x: +x if x.dtype != np.bool_ else x,
    "Gather": lambda x, indices, axis=0: ops.take(x, indices, axis=axis),
    "GatherElements": lambda x, indices, axis=0: ops.take_along_axis(x, indices, axis), "GatherND": gather_nd,
    "Compress": compress, "OneHot": one_hot, "TopK": top_k, "Unique": unique, "ReverseSequence": reverse_sequence,
    "NonZero": lambda x: ops.stack(list(ops.nonzero(x)), axis=0), "ScatterElements": scatter_elements,
    "Scatter": scatter_elements, "ScatterND": scatter_nd, "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth,
}  # fmt: skip
