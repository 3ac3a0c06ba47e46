"""How the ops compute all examples of a ``vmap`` at once: the schemes that ``Op.batch`` may name, and the rules by op.

A rule is ``rule(op, size, values, flags, static)`` as :mod:`lunar_core.batched` describes it. Most ops follow a scheme: the
examples are one more leading axis. Convolutions and norms of a batch see them as more images, or as more channels.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from typing import Any

import numpy as np

from ..batched import aligned, given
from ..tensor import Tensor
from .linalg import matmul
from .shape import broadcast_to, moveaxis

Rule = Callable[[Any, int, list[Any], list[bool], dict[str, Any]], Any]


# -- schemes -----------------------------------------------------------------------------------------------------------


def _elementwise(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """Everything broadcasts, once the ranks agree."""
    return op(*aligned(values, flags), **static)


def _trailing(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """The op works on the last axes and takes those before as they come; its arrays go along."""
    return op(*given(values, flags, size), **static)


def _moved_axis(axis: Any, rank: int) -> Any:
    if axis is None:
        return tuple(range(1, rank + 1))
    if isinstance(axis, (tuple, list)):
        return tuple(a % rank + 1 for a in axis)
    return axis % rank + 1


def _axis(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """Axes named by ``axis``, ``axes``, ``axis1`` and ``axis2`` come one later, and so does a ``shape``."""
    values = given(values, flags, size)
    rank = values[0].ndim - 1
    moved = {
        name: (size, *value) if name == "shape" else _moved_axis(value, rank) if name.startswith("ax") else value
        for name, value in static.items()
    }
    if op.name in ("argmax", "argmin") and static["axis"] is None:
        if static["keepdims"]:
            return NotImplemented
        values, moved = [values[0].reshape((size, -1))], {**static, "axis": 1}
    return op(*values, **moved)


def _scattered_axis(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """:func:`_axis` where the axis is one of the result, which ``shape`` gives."""
    rank = len(static["shape"])
    moved = {n: (size, *v) if n == "shape" else _moved_axis(v, rank) if n[:2] == "ax" else v for n, v in static.items()}
    return op(*given(values, flags, size), **moved)


def _images(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """Examples of batches (N, ...) are one larger batch."""
    merged = [v if not isinstance(v, Tensor) else v.reshape((-1, *v.shape[2:])) for v in given(values, flags, size)]
    out = op(*merged, **static)
    several = isinstance(out, (tuple, list))
    parts = [o.reshape((size, -1, *o.shape[1:])) for o in (out if several else [out])]
    return parts if several else parts[0]


def _into_channels(x: Any) -> Any:
    """(B, N, C, ...) -> (N, B C, ...)."""
    x = moveaxis(x, 0, 1)
    return x.reshape((x.shape[0], -1, *x.shape[3:]))


def _out_of_channels(x: Any, size: int) -> Any:
    return moveaxis(x.reshape((x.shape[0], size, -1, *x.shape[2:])), 1, 0)


SCHEMES: dict[str, Rule] = {
    "elementwise": _elementwise,
    "trailing": _trailing,
    "axis": _axis,
    "scattered axis": _scattered_axis,
    "images": _images,
}

# -- shapes and indices ------------------------------------------------------------------------------------------------


def _reshape(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    shape = static["shape"] if isinstance(static["shape"], (tuple, list)) else (static["shape"],)
    return op(values[0], shape=(size, *shape))


def _transpose(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    rank = values[0].ndim - 1
    return op(values[0], axes=(0, *[a % rank + 1 for a in static["axes"]]))


def _broadcast(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    shape = static["shape"]
    return op(aligned(values, flags, len(shape))[0], shape=(size, *shape))


def _concat(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    return op(*given(values, flags, size), axis=static["axis"] + 1)


def _pad(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    return op(*values, **{**static, "widths": ((0, 0), *static["widths"])})


def _later(index: Any) -> Any:
    """``index`` behind one more leading axis; NotImplemented where NumPy would put that axis elsewhere."""
    items = index if isinstance(index, tuple) else (index,)
    fancy = any(isinstance(i, list) or getattr(i, "ndim", 0) for i in items)
    taken = [n for n, i in enumerate(items) if not (i is None or i is Ellipsis or isinstance(i, slice))]
    if fancy and taken[-1] - taken[0] >= len(taken):  # parts of it stand apart: their axes come first of all
        return NotImplemented
    return (slice(None), *items)


def _indexed(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """getitem, index_scatter and index_put by an index that is the same for all examples."""
    index = _later(static["index"])
    if index is NotImplemented:
        return NotImplemented
    moved = {**static, "index": index}
    if "shape" in static:
        moved["shape"] = (size, *static["shape"])
    values = given(values, flags, size)
    if len(values) == 2 and isinstance(values[1], Tensor):
        rank = np.broadcast_to(0, values[0].shape[1:])[static["index"]].ndim
        values[1] = aligned([values[1]], [True], rank)[0]
    return op(*values, **moved)


def _take(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    axis = static["axis"]
    if flags[0] and not flags[1]:
        return op(*values, axis=_moved_axis(axis, values[0].ndim - 1))
    return op(*values, axis=axis) if not flags[0] and axis == 0 else NotImplemented


def _rows_apart(indices: Any, size: int, rows: int) -> Any:
    """Row numbers of each example in the tables of all, one below the other."""
    offset = (np.arange(size) * rows).reshape((size,) + (1,) * (indices.ndim - 1))
    return indices + Tensor(offset)


def _embedding(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    if not flags[0]:
        return op(*values)
    weight, indices = given(values, flags, size)
    rows = weight.shape[1]
    return op(weight.reshape((-1, weight.shape[2])), _rows_apart(indices, size, rows))


def _embedding_grad(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    g, indices = given(values, flags, size)
    rows = static["rows"]
    return op(g, _rows_apart(indices, size, rows), rows=size * rows).reshape((size, rows, -1))


# -- products ----------------------------------------------------------------------------------------------------------


def _matmul(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    x, y = values
    x_rank, y_rank = (v.ndim - flag for v, flag in zip(values, flags))
    if flags[0] and not flags[1] and (y_rank == 2 or y_rank == x_rank == 1):
        return op(x, y)  # the examples are more rows
    if x_rank == 1:
        x = x.reshape((*x.shape[:-1], 1, x.shape[-1]))
    if y_rank == 1:
        y = y.reshape((*y.shape, 1))
    out = op(*aligned([x, y], flags))
    if x_rank == 1 and y_rank == 1:
        return out.reshape(out.shape[:-2])
    if x_rank == 1:
        return out.reshape((*out.shape[:-2], out.shape[-1]))
    return out.reshape(out.shape[:-1]) if y_rank == 1 else out


def _linear(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    x, weight, bias = values
    if not flags[1] and not flags[2]:
        return op(x, weight, bias)
    if flags[1]:
        shape = x.shape[1:-1] if flags[0] else x.shape[:-1]
        rows = x.reshape((*((size,) if flags[0] else ()), math.prod(shape), x.shape[-1]))
        out = matmul(rows, weight.swapaxes(-1, -2)).reshape((size, *shape, weight.shape[1]))
    else:
        out = op(x, weight, None) if flags[0] else given([op(x, weight, None)], [False], size)[0]
    if bias is None:
        return out
    return out + (aligned([bias], [True], out.ndim - 1)[0] if flags[2] else bias)


def _einsum(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    inputs, output = static["subscripts"].split("->")
    free = next((c for c in string.ascii_letters if c not in inputs), None)
    if free is None:
        return NotImplemented
    terms = [free + term if flag else term for term, flag in zip(inputs.split(","), flags)]
    return op(*values, subscripts=f"{','.join(terms)}->{free}{output}")


def _solve(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    return NotImplemented if values[1].ndim - flags[1] == 1 else op(*aligned(values, flags), **static)


# -- neural ------------------------------------------------------------------------------------------------------------


def _conv(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """One kernel for all: more images. A kernel for each: as many groups more."""
    if not any(flags[1:]):
        x, *rest = values
        out = op(x.reshape((-1, *x.shape[2:])), *rest, **static)
        return out.reshape((size, -1, *out.shape[1:]))
    x, *rest = given(values, flags, size)
    rest = [v if v is None else v.reshape((-1, *v.shape[2:])) for v in rest]
    out = op(_into_channels(x), *rest, **{**static, "groups": static["groups"] * size})
    return _out_of_channels(out, size)


def _conv_weight_grad(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    x, g = (_into_channels(v) for v in given(values, flags, size))
    out = op(x, g, **{**static, "groups": static["groups"] * size})
    return out.reshape((size, -1, *out.shape[1:]))


def _channel_affine(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    if any(flags[1:]):
        return _channels_of_images(op, size, values, flags, static)
    x, *rest = values
    return op(x.reshape((-1, *x.shape[2:])), *rest).reshape(x.shape)


def _channels_of_images(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """:func:`_channels` for ops whose first input may have the shape (N, C)."""
    x, *rest = given(values, flags, size)
    rest = [v if v is None else v.reshape((-1,)) for v in rest]
    out = op(_into_channels(x), *rest, **static)
    if isinstance(out, (tuple, list)):
        return [_out_of_channels(o, size) if o.ndim > 1 else o.reshape((size, -1)) for o in out]
    return _out_of_channels(out, size) if out.ndim > 1 else out.reshape((size, -1))


def _layer_norm(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    x, weight, bias = values
    if not flags[0]:
        x = given([x], [False], size)[0]
    if not any(flags[1:]):
        return op(x, weight, bias, **static)
    out = op(x, None, None, **static)
    rank = out.ndim - 1
    if weight is not None:
        out = out * aligned([weight], [flags[1]], rank)[0]
    return out if bias is None else out + aligned([bias], [flags[2]], rank)[0]


def _rms_norm(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    x = given(values[:1], flags, size)[0]
    if not flags[1]:
        return op(x, values[1], **static)
    return op(x, None, **static) * aligned([values[1]], [True], x.ndim - 1)[0]


def _group_norm(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    x, (_, weight, bias) = given(values[:1], flags, size)[0], values
    merged = x.reshape((-1, *x.shape[2:]))
    if not any(flags[1:]):
        return op(merged, weight, bias, **static).reshape(x.shape)
    out = op(merged, None, None, **static).reshape(x.shape)

    def column(v: Any) -> Any:
        return v.reshape((-1, 1, v.shape[-1], *(1,) * (x.ndim - 3)))

    out = out if weight is None else out * column(weight)
    return out if bias is None else out + column(bias)


def _attention(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """Queries, keys and values of all examples; a mask that is the same for all broadcasts."""
    query, key, value = given(values[:3], flags, size)
    mask, kept = aligned(values[3:], flags[3:], query.ndim - 1)
    return op(query, key, value, mask, kept, **static)


def _cross_entropy(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    """cross_entropy and its gradient; the last input are the class weights."""
    if flags[-1]:
        return NotImplemented
    return op(*given(values[:-1], flags, size), values[-1], **{**static, "axis": static["axis"] + 1})


def _masked(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    if not flags[0]:
        values, flags = [broadcast_to(values[0], (size, *values[0].shape)), values[1]], [True, flags[1]]
    return op(*aligned(values, flags), **static)


_SCHEME_OF = {
    "axis": (
        "sum mean max min prod logsumexp all any argmax argmin cumsum cumprod cummax cummin softmax log_softmax sparsemax "
        "logcumsumexp sort argsort argtopk take_along_axis scatter flip roll repeat diagonal fft_c2c fft_r2c fft_c2r "
        "resample resample_adjoint"
    ),
    "scattered axis": "scatter_along_axis spread_along_axis spread_diagonal",
    "trailing": "inv pinv det slogdet cholesky qr svd eigh tril triu det_grad",
    "images": " ".join(
        [f"avg_pool{n}d avg_pool{n}d_grad" for n in (1, 2, 3)]
        + [f"max_pool{n}d max_pool{n}d_grad max_pool{n}d_grad_grad max_pool{n}d_with_index" for n in (1, 2, 3)]
        + ["pool_places adaptive_mean adaptive_mean_grad adaptive_max_places unfold fold"]
    ),
    "elementwise": "cast to_device isclose nextafter xlogy xlog1py gelu_grad gelu_tanh_grad binary_cross_entropy",
}
RULES: dict[str, Rule | str] = {name: scheme for scheme, names in _SCHEME_OF.items() for name in names.split()}
RULES |= {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast,
    "concat": _concat,
    "pad": _pad,
    "pad_mode": _pad,
    "pad_mode_grad": _pad,
    "getitem": _indexed,
    "index_scatter": _indexed,
    "index_put": _indexed,
    "take": _take,
    "embedding": _embedding,
    "embedding_grad": _embedding_grad,
    "matmul": _matmul,
    "linear": _linear,
    "einsum": _einsum,
    "solve": _solve,
    **{f"conv{n}d{part}": _conv for n in (1, 2, 3) for part in ("", "_input_grad")},
    **{f"conv{n}d_weight_grad": _conv_weight_grad for n in (1, 2, 3)},
    "channel_affine": _channel_affine,
    "channel_sum": _channels_of_images,
    "batch_norm": _channels_of_images,
    "batch_moments": _channels_of_images,
    "layer_norm": _layer_norm,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy,
    "masked": _masked,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "attention": _attention,
    "attention_tiled": _attention,
}
