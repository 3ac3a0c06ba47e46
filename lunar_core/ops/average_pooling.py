"""Average pooling of images and its adjoint: sums over windows along one axis after the other."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..op import Op, Sample, Shape, Spec
from .common import wide
from .pooling import CASES, beside, case_counts, empty_like_images, laid_out, plan, pooled_spec
from .windows import Pair, hashable, tap


def _shares(
    size: Pair, kernel: Pair, stride: Pair, padding: Pair, counts: Pair, count_include_pad: bool
) -> float | np.ndarray:
    """One over the number of pixels in each window: a number where all are alike, else (OH, OW)."""
    if count_include_pad and all(
        (o - 1) * s + k <= n + 2 * p for o, s, k, n, p in zip(counts, stride, kernel, size, padding)
    ):
        return 1.0 / (kernel[0] * kernel[1])
    return _share_map(size, kernel, stride, padding, counts, count_include_pad)


@functools.lru_cache(maxsize=64)
def _share_map(
    size: Pair, kernel: Pair, stride: Pair, padding: Pair, counts: Pair, count_include_pad: bool
) -> np.ndarray:
    lengths = []
    for n, k, s, p, o in zip(size, kernel, stride, padding, counts):
        start = np.arange(o) * s - p
        stop = np.minimum(start + k, n + p)  # what hangs over the padded end never counts
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        lengths.append(stop - start)
    return 1.0 / (lengths[0][:, None] * lengths[1][None, :])


def _scaled(y: Any, shares: Any) -> Any:
    return y * (shares if isinstance(shares, float) else beside(y, shares, y.dtype))


def _avg_pool2d_forward(
    xp: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, counts: Pair, count_include_pad: bool
) -> Any:
    if wide(x.dtype):
        single = x.astype(np.float32)
        return _avg_pool2d_forward(xp, single, kernel, stride, padding, counts, count_include_pad).astype(x.dtype)
    size = x.shape[2:]
    shares = _shares(size, kernel, stride, padding, counts, count_include_pad)
    if kernel == size and counts == (1, 1) and padding == (0, 0):
        y = x.transpose(0, 2, 3, 1)
        if x.dtype.char not in "fd" or not y.flags.c_contiguous:
            return x.mean(axis=(2, 3), keepdims=True, dtype=x.dtype)
        (n, c), pixels = x.shape[:2], size[0] * size[1]
        return xp.matmul(xp.full((1, pixels), shares, x.dtype), y.reshape(n, pixels, c)).reshape(n, c, 1, 1)
    # the sum over a window is a sum over its rows of sums over columns; rows first, for their longer inner loops
    rows = _box(xp, x, 2, kernel[0], stride[0], padding[0], counts[0])
    out = _box(xp, rows, 3, kernel[1], stride[1], padding[1], counts[1])
    if out is x:
        return _scaled(x, shares)
    out *= shares if isinstance(shares, float) else beside(x, shares, x.dtype)
    return out


def _box(xp: Any, x: Any, axis: int, kernel: int, stride: int, padding: int, count: int) -> Any:
    """Sums over windows along one axis."""
    size = x.shape[axis]
    if kernel == 1 and stride == 1 and not padding:
        return x
    before = (slice(None),) * axis
    if not padding and (count - 1) * stride + kernel <= size and kernel > 1:

        def at(i: int) -> Any:
            return x[(*before, slice(i, i + (count - 1) * stride + 1, stride))]

        out = at(0) + at(1)
        for i in range(2, kernel):
            out += at(i)
        return out
    shape = list(x.shape)
    shape[axis] = count
    out = empty_like_images(xp, x, tuple(shape), x.dtype)
    out[...] = 0
    for i in range(kernel):
        o, pixels = tap(i - padding, stride, size, count)
        target = out[(*before, o)]
        target += x[(*before, pixels)]
    return out


def _avg_grad_forward(
    xp: Any, g: Any, size: Pair, kernel: Pair, stride: Pair, padding: Pair, counts: Pair, count_include_pad: bool
) -> Any:
    if wide(g.dtype):
        single = g.astype(np.float32)
        return _avg_grad_forward(xp, single, size, kernel, stride, padding, counts, count_include_pad).astype(g.dtype)
    part = _scaled(g, _shares(size, kernel, stride, padding, counts, count_include_pad))
    out = _spread(xp, part, 3, size[1], kernel[1], stride[1], padding[1])
    out = _spread(xp, out, 2, size[0], kernel[0], stride[0], padding[0])
    return out


def _spread(xp: Any, g: Any, axis: int, size: int, kernel: int, stride: int, padding: int) -> Any:
    """The adjoint of :func:`_box`."""
    count = g.shape[axis]
    if kernel == 1 and stride == 1 and not padding:
        return g
    shape = list(g.shape)
    shape[axis] = size
    out = empty_like_images(xp, g, tuple(shape), g.dtype)
    before = (slice(None),) * axis
    covered = not padding and kernel == stride and count * stride == size
    if not covered:
        out[...] = 0
    for i in range(kernel):
        o, pixels = tap(i - padding, stride, size, count)
        target = out[(*before, pixels)]
        if covered:
            target[...] = g[(*before, o)]
        else:
            target += g[(*before, o)]
    return out


def _avg_cases() -> list[tuple[Any, dict[str, Any]]]:
    cases = []
    for case in CASES:
        _, kernel, stride, padding, dilation, _ = case
        if dilation != (1, 1):
            continue
        for include in (True, False):
            static = {"kernel": kernel, "stride": stride, "padding": padding, "counts": case_counts(case)}
            cases.append((case, {**static, "count_include_pad": include}))
    return cases


def _avg_samples() -> list[Sample]:
    samples = []
    for i, (case, static) in enumerate(_avg_cases()):

        def call(t: Any, x: Any, case: Any = case, include: bool = static["count_include_pad"]) -> Any:
            _, kernel, stride, padding, _, ceil = case
            return t.nn.functional.avg_pool2d(x, kernel, stride, padding, ceil, include)

        samples.append(Sample((laid_out(i, case[0]),), static, torch=call))
    return samples


def _avg_grad_samples() -> list[Sample]:
    return [
        Sample((laid_out(i, (*case[0][:2], *static["counts"])),), {"size": case[0][2:], **static})
        for i, (case, static) in enumerate(_avg_cases())
    ]


_avg_pool2d = Op(
    "avg_pool2d",
    _avg_pool2d_forward,
    lambda F, g, shape, need, **static: (F.avg_pool2d_grad(g, size=tuple(shape[2:]), **static),),
    save=Shape(0),
    heavy=True,
    abstract=pooled_spec,
    samples=_avg_samples,
    doc="The mean of each window.",
)
avg_pool2d_grad = Op(
    "avg_pool2d_grad",
    _avg_grad_forward,
    lambda F, h, saved, need, size, **static: (_avg_pool2d(h, **static),),
    heavy=True,
    abstract=lambda g, size, **_: Spec((*g.shape[:2], *size), g.dtype),
    samples=_avg_grad_samples,
    doc="Each window's gradient shared among its pixels: the adjoint of avg_pool2d.",
)


@functools.lru_cache(maxsize=512)
def _avg_plan(
    x: tuple[int, ...], kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool
) -> dict[str, Any]:
    static = dict(plan("avg_pool2d", x, kernel, stride, padding, 1, ceil_mode))
    del static["dilation"]
    return {**static, "count_include_pad": bool(count_include_pad)}


def avg_pool2d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Any:
    """The mean of each window: x (N, C, H, W) -> (N, C, OH, OW).

    ``kernel``, ``stride`` (default: the kernel) and ``padding`` are ints or pairs (vertical, horizontal). With
    ``count_include_pad`` the zeros of the padding count as pixels. What hangs over the padded end under ``ceil_mode``
    never counts. A kernel of the images' size is the global average.
    """
    try:
        static = _avg_plan(x.shape, kernel, stride, padding, ceil_mode, count_include_pad)
    except TypeError:
        static = _avg_plan(tuple(x.shape), *map(hashable, (kernel, stride, padding)), ceil_mode, count_include_pad)
    return _avg_pool2d(x, **static)
