"""What max and average pooling share: the taps of a window, the memory order, the plan of a call, the sample table.

A window is visited tap by tap: each position in the window is one strided slice of the images, and a pool is a chain of
elementwise maxima or sums of such slices. Nothing is gathered, and the memory order of the images is kept.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import backend
from ..errors import ShapeError
from ..op import Spec
from .common import array
from .windows import Pads, Pair, check_images, pair, tap, window_count, window_counts


def taps(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair) -> Any:
    """(number, output slices, image slices) of each position in the window."""
    columns = [tap(j * dilation[1] - padding[1], stride[1], size[1], counts[1]) for j in range(kernel[1])]
    for i in range(kernel[0]):
        rows = tap(i * dilation[0] - padding[0], stride[0], size[0], counts[0])
        for j, column in enumerate(columns):
            yield i * kernel[1] + j, (..., rows[0], column[0]), (..., rows[1], column[1])


def tiles(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair) -> bool:
    """Whether the windows lie side by side within the images and do not overlap."""
    return (
        padding == (0, 0)
        and dilation == (1, 1)
        and kernel == stride
        and counts[0] * stride[0] <= size[0]
        and counts[1] * stride[1] <= size[1]
    )


def empty_like_images(xp: Any, x: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array for (N, C, h, w) that lies channels-last where ``x`` does."""
    if x.transpose(0, 2, 3, 1).flags.c_contiguous and not x.flags.c_contiguous:
        n, c, h, w = shape
        return xp.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    return xp.empty(shape, dtype)


def beside(x: Any, host: np.ndarray, dtype: Any) -> Any:
    """A host constant on the device of ``x``."""
    owner = backend.of(x)
    return owner.from_numpy(host.astype(dtype), owner.device_of(x))


def pooled_spec(x: Spec, counts: Pair, **_: Any) -> Spec:
    return Spec((*x.shape[:2], *counts), x.dtype)


@functools.lru_cache(maxsize=512)
def plan(
    op: str, x: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> dict[str, Any]:
    """The checked and normalised geometry of a call."""
    check_images(x, op)
    kernel, dilation = pair(kernel, "kernel", op), pair(dilation, "dilation", op)
    stride = kernel if stride is None else pair(stride, "stride", op)
    padding = pair(padding, "padding", op, 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ShapeError(f"{op}: padding {padding} must be at most half of the kernel {kernel}")
    pads: Pads = ((padding[0], padding[0]), (padding[1], padding[1]))
    counts = window_counts(x[2:], kernel, stride, pads, dilation, op, bool(ceil_mode))  # type: ignore[arg-type]
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "counts": counts}


# (images, kernel, stride, padding, dilation, ceil_mode)
CASES: list[tuple[tuple[int, ...], Pair, Pair, Pair, Pair, bool]] = [
    ((2, 2, 4, 4), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((1, 2, 5, 7), (2, 3), (2, 3), (0, 0), (1, 1), False),
    ((2, 2, 5, 5), (3, 3), (2, 2), (1, 1), (1, 1), False),
    ((1, 2, 5, 4), (2, 2), (2, 2), (0, 0), (1, 1), True),
    ((1, 1, 6, 6), (2, 2), (1, 2), (0, 1), (2, 2), False),
    ((1, 2, 3, 4), (3, 4), (3, 4), (0, 0), (1, 1), False),
    ((1, 1, 6, 5), (3, 2), (2, 3), (1, 0), (1, 1), True),
    ((1, 1, 2, 3), (1, 1), (1, 1), (0, 0), (1, 1), False),
]


def case_counts(case: Any) -> Pair:
    (_, _, h, w), kernel, stride, padding, dilation, ceil_mode = case
    pairs = zip((h, w), kernel, stride, padding, dilation)
    counts = [window_count(n, k, s, (p, p), d, ceil_mode) for n, k, s, p, d in pairs]
    return counts[0], counts[1]


def laid_out(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    x = array(seed, shape)
    return x if seed % 2 else np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
