"""What convolution and pooling share: sizes of sliding windows, and the memory order of images.

Images have shape (N, C, ...): one spatial axis (sequences), two (H, W) or three (volumes, D, H, W); everything here takes
any number of them. The heavy kernels like images channels-last in memory, (N, ..., C), because a window's row then is one
contiguous run; they return views of such arrays shaped (N, C, ...), and elementwise functions keep that order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..errors import ShapeError

Ints = tuple[int, ...]  # a number for each spatial axis
Pair = tuple[int, int]
Pads = tuple[Pair, ...]  # (before, after) of each spatial axis

IMAGES = {1: "sequences of shape (N, C, L)", 2: "images of shape (N, C, H, W)", 3: "volumes of shape (N, C, D, H, W)"}
_SEVERAL = {1: "an int", 2: "an int or a pair of ints", 3: "an int or three ints"}


def hashable(value: Any) -> Any:
    """Lists, also nested, as tuples: keys of the caches of plans."""
    return tuple(map(hashable, value)) if isinstance(value, (list, tuple)) else value


def is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def ints(value: Any, count: int, what: str, op: str, low: int = 1) -> Ints:
    """An int for all spatial axes or one for each of the ``count``, each at least ``low``."""
    values = value if isinstance(value, tuple) else (value,) * count
    if len(values) != count or not all(is_int(n) and n >= low for n in values):
        each = ", each" if count > 1 else ""
        raise ShapeError(f"{op}: {what} must be {_SEVERAL[count]}{each} at least {low}, got {value!r}")
    return tuple(map(int, values))


def extent(kernel: int, dilation: int) -> int:
    """How many input pixels a window spans."""
    return (kernel - 1) * dilation + 1


def padding_of(padding: Any, size: Ints, kernel: Ints, stride: Ints, dilation: Ints, op: str) -> Pads:
    """``padding`` in any of its spellings as (before, after) of each spatial axis.

    ``"valid"`` is none. ``"same"`` makes the output ``ceil(size / stride)``; an odd total puts the extra row at the
    bottom and the extra column at the right, as PyTorch and TensorFlow do.
    """
    count = len(size)
    if padding == "valid":
        return ((0, 0),) * count
    if padding == "same":
        pads = []
        for n, k, s, d in zip(size, kernel, stride, dilation):
            total = max((-(-n // s) - 1) * s + extent(k, d) - n, 0)
            pads.append((total // 2, total - total // 2))
        return tuple(pads)
    if isinstance(padding, str):
        raise ShapeError(f"{op}: padding must be 'same', 'valid' or numbers, got {padding!r}")
    if count == 1 and isinstance(padding, tuple) and len(padding) == 2:
        return (_both(padding, op),)  # of one axis: (before, after)
    if isinstance(padding, tuple) and len(padding) == count and all(isinstance(p, tuple) for p in padding):
        return tuple(_both(p, op) for p in padding)
    return tuple((p, p) for p in ints(padding, count, "padding", op, 0))


def _both(padding: Any, op: str) -> Pair:
    before, after = ints(padding, 2, "padding", op, 0)
    return before, after


def window_count(size: int, kernel: int, stride: int, pads: Pair, dilation: int, ceil_mode: bool = False) -> int:
    """How many windows fit along one axis. With ``ceil_mode`` a last one may hang over the end, if it starts inside."""
    room = size + pads[0] + pads[1] - extent(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + pads[0] else count


def window_counts(
    size: Ints, kernel: Ints, stride: Ints, pads: Pads, dilation: Ints, op: str, ceil_mode: bool = False
) -> Ints:
    """The output size; an error where the kernel does not fit into the padded input."""
    for n, k, p, d in zip(size, kernel, pads, dilation):
        if extent(k, d) > n + p[0] + p[1]:
            spread = f" with dilation {dilation}" if any(d != 1 for d in dilation) else ""
            raise ShapeError(
                f"{op}: kernel {kernel}{spread} is larger than the padded input: images are {size}, padding is {pads}"
            )
    return tuple(window_count(n, k, s, p, d, ceil_mode) for n, k, s, p, d in zip(size, kernel, stride, pads, dilation))


def check_images(shape: tuple[int, ...], count: int, op: str) -> None:
    """Refuse what has not ``count`` spatial axes after batch and channels."""
    if len(shape) != count + 2:
        raise ShapeError(f"{op} expects {IMAGES[count]}, got {tuple(shape)}")


# -- memory order ------------------------------------------------------------------------------------------------------

_LAST = {ndim: (0, *range(2, ndim), 1) for ndim in range(2, 7)}
_FIRST = {ndim: (0, ndim - 1, *range(1, ndim - 1)) for ndim in range(2, 7)}


def moved_last(x: Any) -> Any:
    """(N, C, ...) -> (N, ..., C), a view."""
    return x.transpose(_LAST[x.ndim])


def channels_last(xp: Any, x: Any) -> Any:
    """(N, C, ...) -> (N, ..., C), contiguous: a view where the memory lies so already, else a copy."""
    y = x.transpose(_LAST[x.ndim])
    return y if y.flags.c_contiguous else xp.ascontiguousarray(y)


def channels_first(y: Any) -> Any:
    """(N, ..., C) -> (N, C, ...), a view."""
    return y.transpose(_FIRST[y.ndim])


def is_channels_last(x: Any) -> bool:
    """Whether an (N, C, ...) array lies densely as (N, ..., C); of one that lies both ways, also true."""
    return bool(x.transpose(_LAST[x.ndim]).flags.c_contiguous)


def empty_like_images(xp: Any, x: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of ``shape`` (N, C, ...) that lies channels-last where ``x`` does."""
    if not x.flags.c_contiguous and is_channels_last(x):
        return channels_first(xp.empty((shape[0], *shape[2:], shape[1]), dtype))
    return xp.empty(shape, dtype)


def padded(xp: Any, x: Any, pads: Pads, value: float = 0.0) -> Any:
    """Images with a border, (N, ..., C) in and out; negative widths crop. Always contiguous."""
    if not any(map(any, pads)):
        return x if x.flags.c_contiguous else xp.ascontiguousarray(x)
    if any(before < 0 or after < 0 for before, after in pads):
        kept = (slice(max(-p[0], 0), n - max(-p[1], 0)) for n, p in zip(x.shape[1:-1], pads))
        x = x[(slice(None), *kept)]
        pads = tuple((max(p[0], 0), max(p[1], 0)) for p in pads)
    sizes = x.shape[1:-1]
    out = xp.empty((x.shape[0], *(n + p[0] + p[1] for n, p in zip(sizes, pads)), x.shape[-1]), x.dtype)
    out[(slice(None), *(slice(p[0], p[0] + n) for n, p in zip(sizes, pads)))] = x
    before: tuple[slice, ...] = (slice(None),)
    for n, (low, high) in zip(sizes, pads):  # of the axes before, the borders are filled already
        if low:
            out[(*before, slice(None, low))] = value
        if high:
            out[(*before, slice(low + n, None))] = value
        before = (*before, slice(low, low + n))
    return out


@functools.lru_cache(maxsize=1024)
def void(nbytes: int) -> np.dtype:
    """An opaque element of ``nbytes``: a run of channels that NumPy then copies as one element."""
    return np.dtype((np.void, nbytes))


def tiled(v: Any, repeats: int) -> Any:
    """A vector repeated end to end, so that a broadcast over channels-last rows has long inner loops."""
    return v if repeats == 1 else v.reshape(1, -1).repeat(repeats, axis=0).reshape(-1)


def tap(offset: int, stride: int, size: int, count: int) -> tuple[slice, slice]:
    """One position of a window along one axis: the outputs whose pixel there lies inside the image, and those pixels.

    Output ``o`` of ``count`` looks at pixel ``offset + o * stride``; padding is what lies outside of ``0 .. size - 1``.
    """
    first = max(0, -(offset // stride))
    last = max(first, min(count, (size - 1 - offset) // stride + 1))
    start = offset + first * stride
    return slice(first, last), slice(start, start + (last - first) * stride, stride)


def pair(value: Any, what: str, op: str, low: int = 1) -> Ints:
    """:func:`ints` for two axes."""
    return ints(value, 2, what, op, low)
