"""What max and average pooling share: the taps of a window, the plan of a call, the sample table.

A window is visited tap by tap: each position in the window is one strided slice of the images, and a pool is a chain of
elementwise maxima or sums of such slices. Nothing is gathered, and the memory order of the images is kept.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, ShapeError
from ..op import Spec
from .common import array
from .windows import Ints, channels_first, check_images, hashable, ints, tap, window_count, window_counts


def taps(size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, counts: Ints) -> Any:
    """(number, output slices, image slices) of each position in the window, in row-major order."""
    lines = [
        [tap(i * d - p, s, n, o) for i in range(k)]
        for n, k, s, p, d, o in zip(size, kernel, stride, padding, dilation, counts)
    ]
    for number, ways in enumerate(itertools.product(*lines)):
        yield number, (..., *(outputs for outputs, _ in ways)), (..., *(pixels for _, pixels in ways))


def tiles(size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, counts: Ints) -> bool:
    """Whether the windows lie side by side within the images and do not overlap."""
    return (
        kernel == stride
        and not any(padding)
        and all(d == 1 for d in dilation)
        and all(o * s <= n for o, s, n in zip(counts, stride, size))
    )


def beside(x: Any, host: np.ndarray, dtype: Any) -> Any:
    """A host constant on the device of ``x``."""
    owner = backend.of(x)
    return owner.from_numpy(host.astype(dtype), owner.device_of(x))


def pooled_spec(x: Spec, counts: Ints, **_: Any) -> Spec:
    return Spec((*x.shape[:2], *counts), x.dtype)


def as_row(geometry: dict[str, Any]) -> dict[str, Any]:
    """The static arguments of a pool of sequences as those of images of one row."""
    return {k: (0 if k == "padding" else 1, *v) if isinstance(v, tuple) else v for k, v in geometry.items()}


@functools.lru_cache(maxsize=512)
def _plan(
    op: str, n: int, x: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> dict[str, Any]:
    check_images(x, n, op)
    kernel, dilation = ints(kernel, n, "kernel", op), ints(dilation, n, "dilation", op)
    stride = kernel if stride is None or stride == () else ints(stride, n, "stride", op)
    padding = ints(padding, n, "padding", op, 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ShapeError(f"{op}: padding {padding} must be at most half of the kernel {kernel}")
    counts = window_counts(x[2:], kernel, stride, tuple((p, p) for p in padding), dilation, op, bool(ceil_mode))
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "counts": counts}


def plan(op: str, n: int, x: Any, *geometry: Any) -> dict[str, Any]:
    """The checked and normalised geometry of a call: kernel, stride, padding, dilation, ceil_mode."""
    try:
        shape = x.shape
    except AttributeError:
        raise DTypeError(f"{op}: expected a tensor or an array, got {type(x).__name__}") from None
    try:
        return _plan(op, n, shape, *geometry)
    except TypeError:  # lists are no keys of a cache
        return _plan(op, n, tuple(shape), *map(hashable, geometry))


Case = tuple[tuple[int, ...], Ints, Ints, Ints, Ints, bool]

# (images, kernel, stride, padding, dilation, ceil_mode)
CASES: dict[int, list[Case]] = {
    1: [
        ((2, 3, 6), (2,), (2,), (0,), (1,), False),
        ((1, 2, 7), (3,), (2,), (1,), (1,), True),
        ((2, 1, 8), (3,), (1,), (1,), (2,), False),
    ],
    2: [
        ((2, 2, 4, 4), (2, 2), (2, 2), (0, 0), (1, 1), False),
        ((1, 2, 5, 7), (2, 3), (2, 3), (0, 0), (1, 1), False),
        ((2, 2, 5, 5), (3, 3), (2, 2), (1, 1), (1, 1), False),
        ((1, 2, 5, 4), (2, 2), (2, 2), (0, 0), (1, 1), True),
        ((1, 1, 6, 6), (2, 2), (1, 2), (0, 1), (2, 2), False),
        ((1, 2, 3, 4), (3, 4), (3, 4), (0, 0), (1, 1), False),
        ((1, 1, 6, 5), (3, 2), (2, 3), (1, 0), (1, 1), True),
        ((1, 1, 2, 3), (1, 1), (1, 1), (0, 0), (1, 1), False),
    ],
    3: [
        ((1, 2, 4, 4, 2), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False),
        ((2, 1, 3, 5, 4), (2, 3, 2), (1, 2, 2), (1, 1, 0), (1, 1, 1), False),
        ((1, 2, 4, 3, 5), (3, 2, 2), (2, 2, 3), (1, 0, 1), (1, 1, 1), True),
        ((1, 1, 5, 4, 4), (2, 2, 2), (1, 1, 2), (0, 1, 1), (2, 1, 2), False),
        ((1, 2, 2, 3, 2), (2, 3, 2), (2, 3, 2), (0, 0, 0), (1, 1, 1), False),
    ],
}


def case_counts(case: Case) -> Ints:
    shape, kernel, stride, padding, dilation, ceil_mode = case
    axes = zip(shape[2:], kernel, stride, padding, dilation)
    return tuple(window_count(n, k, s, (p, p), d, ceil_mode) for n, k, s, p, d in axes)


def laid_out(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Images, every second time channels-last in memory."""
    x = array(seed, shape)
    return x if seed % 2 else np.asarray(channels_first(np.ascontiguousarray(np.moveaxis(x, 1, -1))))


def empty_like_images(xp: Any, x: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array for (N, C, h, w) that lies channels-last where ``x`` does."""
    if x.transpose(0, 2, 3, 1).flags.c_contiguous and not x.flags.c_contiguous:
        n, c, h, w = shape
        return xp.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    return xp.empty(shape, dtype)
