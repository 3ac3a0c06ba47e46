"""What convolution and pooling share: sizes of sliding windows, and the memory order of images.

Images have shape (N, C, H, W). The heavy kernels like them channels-last in memory, (N, H, W, C), because a window's
row then is one contiguous run; they return NCHW-shaped views of such arrays, and elementwise functions keep that order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..errors import ShapeError

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def hashable(value: Any) -> Any:
    """Lists, also nested, as tuples: keys of the caches of plans."""
    return tuple(map(hashable, value)) if isinstance(value, (list, tuple)) else value


def pair(value: Any, what: str, op: str, low: int = 1) -> Pair:
    """An int for both axes or a pair (vertical, horizontal), each at least ``low``."""
    both = value if isinstance(value, tuple) else (value, value)
    if len(both) != 2 or not all(isinstance(n, (int, np.integer)) and n >= low and n is not True for n in both):
        raise ShapeError(f"{op}: {what} must be an int or a pair of ints, each at least {low}, got {value!r}")
    return int(both[0]), int(both[1])


def extent(kernel: int, dilation: int) -> int:
    """How many input pixels a window spans."""
    return (kernel - 1) * dilation + 1


def padding_of(padding: Any, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, op: str) -> Pads:
    """``padding`` in any of its spellings as ((top, bottom), (left, right)).

    ``"valid"`` is none. ``"same"`` makes the output ``ceil(size / stride)``; an odd total puts the extra row at the
    bottom and the extra column at the right, as PyTorch and TensorFlow do.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        pads = []
        for n, k, s, d in zip(size, kernel, stride, dilation):
            total = max((-(-n // s) - 1) * s + extent(k, d) - n, 0)
            pads.append((total // 2, total - total // 2))
        return pads[0], pads[1]
    if isinstance(padding, str):
        raise ShapeError(f"{op}: padding must be 'same', 'valid' or numbers, got {padding!r}")
    if isinstance(padding, tuple) and len(padding) == 2 and all(isinstance(p, tuple) for p in padding):
        return pair(padding[0], "padding", op, 0), pair(padding[1], "padding", op, 0)
    vertical, horizontal = pair(padding, "padding", op, 0)
    return (vertical, vertical), (horizontal, horizontal)


def window_count(size: int, kernel: int, stride: int, pads: Pair, dilation: int, ceil_mode: bool = False) -> int:
    """How many windows fit along one axis. With ``ceil_mode`` a last one may hang over the end, if it starts inside."""
    room = size + pads[0] + pads[1] - extent(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + pads[0] else count


def window_counts(
    size: Pair, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair, op: str, ceil_mode: bool = False
) -> Pair:
    """The output size; an error where the kernel does not fit into the padded input."""
    for n, k, p, d in zip(size, kernel, pads, dilation):
        if extent(k, d) > n + p[0] + p[1]:
            spread = f" with dilation {dilation}" if dilation != (1, 1) else ""
            raise ShapeError(
                f"{op}: kernel {kernel}{spread} is larger than the padded input: images are {size}, padding is {pads}"
            )
    out = [window_count(n, k, s, p, d, ceil_mode) for n, k, s, p, d in zip(size, kernel, stride, pads, dilation)]
    return out[0], out[1]


def check_images(shape: tuple[int, ...], op: str) -> None:
    """Refuse what is not (N, C, H, W)."""
    if len(shape) != 4:
        raise ShapeError(f"{op} expects images of shape (N, C, H, W), got {tuple(shape)}")


# -- memory order ------------------------------------------------------------------------------------------------------


def channels_last(xp: Any, x: Any) -> Any:
    """(N, C, H, W) -> (N, H, W, C), contiguous: a view where the memory lies so already, else a copy."""
    y = x.transpose(0, 2, 3, 1)
    return y if y.flags.c_contiguous else xp.ascontiguousarray(y)


def channels_first(y: Any) -> Any:
    """(N, H, W, C) -> (N, C, H, W), a view."""
    return y.transpose(0, 3, 1, 2)


def is_channels_last(x: Any) -> bool:
    """Whether an (N, C, H, W) array lies densely as (N, H, W, C); of one that lies both ways, also true."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def padded(xp: Any, x: Any, pads: Pads, value: float = 0.0) -> Any:
    """Images with a border, (N, H, W, C) in and out; negative widths crop. Always contiguous."""
    (top, bottom), (left, right) = pads
    if top < 0 or bottom < 0 or left < 0 or right < 0:
        _, h, w, _ = x.shape
        x = x[:, max(-top, 0) : h - max(-bottom, 0), max(-left, 0) : w - max(-right, 0)]
        top, bottom, left, right = max(top, 0), max(bottom, 0), max(left, 0), max(right, 0)
    if not (top or bottom or left or right):
        return x if x.flags.c_contiguous else xp.ascontiguousarray(x)
    n, h, w, c = x.shape
    out = xp.empty((n, h + top + bottom, w + left + right, c), x.dtype)
    out[:, top : top + h, left : left + w] = x
    if top:
        out[:, :top] = value
    if bottom:
        out[:, top + h :] = value
    if left:
        out[:, :, :left] = value
    if right:
        out[:, :, left + w :] = value
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
