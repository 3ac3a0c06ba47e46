"""Pooling of images: max_pool2d and avg_pool2d.

A window is visited tap by tap: each position in the window is one strided slice of the images, and a pool is a chain of
elementwise maxima or sums of such slices. Nothing is gathered, and the memory order of the images is kept.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import backend
from ..errors import ShapeError
from ..modes import modes
from ..op import OUTPUT, Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array
from .windows import Pads, Pair, check_images, hashable, pair, tap, void, window_count, window_counts


def _taps(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair) -> Any:
    """(number, output slices, image slices) of each position in the window."""
    columns = [tap(j * dilation[1] - padding[1], stride[1], size[1], counts[1]) for j in range(kernel[1])]
    for i in range(kernel[0]):
        rows = tap(i * dilation[0] - padding[0], stride[0], size[0], counts[0])
        for j, column in enumerate(columns):
            yield i * kernel[1] + j, (..., rows[0], column[0]), (..., rows[1], column[1])


def _tiles(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair) -> bool:
    """Whether the windows lie side by side within the images and do not overlap."""
    return (
        padding == (0, 0)
        and dilation == (1, 1)
        and kernel == stride
        and counts[0] * stride[0] <= size[0]
        and counts[1] * stride[1] <= size[1]
    )


def _index_dtype(kernel: Pair) -> np.dtype:
    return np.min_scalar_type(kernel[0] * kernel[1] - 1)


def _dense_taps(xp: Any, x: Any, kernel: Pair, counts: Pair) -> list[Any] | None:
    """The taps of non-overlapping windows over channels-last images as dense arrays (N, OH, OW, C).

    A pixel's channels are copied as one opaque element; computing on the slices directly would run loops of C numbers.
    """
    y = x.transpose(0, 2, 3, 1)
    if xp is not np or not y.flags.c_contiguous or x.size < 4096 or y.shape[-1] >= 64:
        return None
    n, _, _, c = y.shape
    oh, ow = counts
    pixels = y.view(void(c * x.itemsize))[..., 0]
    taps = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            dense = np.empty((n, oh, ow, c), x.dtype)
            dense.view(pixels.dtype)[..., 0] = pixels[
                :, i : i + kernel[0] * oh : kernel[0], j : j + kernel[1] * ow : kernel[1]
            ]
            taps.append(dense)
    return taps


# -- max pooling -------------------------------------------------------------------------------------------------------


def _max_pool2d_forward(
    xp: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair
) -> Any:
    if _tiles(x.shape[2:], kernel, stride, padding, dilation, counts):
        # rows first: their slices have the longer inner loops
        (kh, kw), (oh, ow) = kernel, counts
        out = x[:, :, 0 : kh * oh : kh, : kw * ow]
        for i in range(1, kh):
            out = xp.maximum(out, x[:, :, i : i + kh * oh : kh, : kw * ow])
        rows, out = out, out[..., ::kw]
        for j in range(1, kw):
            out = xp.maximum(out, rows[..., j::kw])
        return out if kernel != (1, 1) else out.copy(order="K")
    out = _filled(xp, x, counts)
    for _, at, pixels in _taps(x.shape[2:], kernel, stride, padding, dilation, counts):
        target = out[at]
        xp.maximum(target, x[pixels], out=target)
    return out


def _filled(xp: Any, x: Any, counts: Pair) -> Any:
    """The lowest value everywhere, in the memory order of ``x``."""
    lowest = -np.inf if x.dtype.kind not in "biu" else np.iinfo(x.dtype).min
    out = _like(xp, x, (*x.shape[:2], *counts), x.dtype)
    out[...] = lowest
    return out


def _like(xp: Any, x: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array for (N, C, h, w) that lies channels-last where ``x`` does."""
    if x.transpose(0, 2, 3, 1).flags.c_contiguous and not x.flags.c_contiguous:
        n, c, h, w = shape
        return xp.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    return xp.empty(shape, dtype)


def _max_pool2d_index_forward(
    xp: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair
) -> Any:
    small = _index_dtype(kernel)
    tiled = _tiles(x.shape[2:], kernel, stride, padding, dilation, counts)
    dense = _dense_taps(xp, x, kernel, counts) if tiled else None
    if dense is not None:
        out = dense[0]
        index = np.zeros(out.shape, small)
        for number, values in enumerate(dense[1:], 1):
            _raise_index(xp, index, values > out, number)
            np.maximum(out, values, out=out)
        return out.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)
    if tiled:
        taps = _taps(x.shape[2:], kernel, stride, padding, dilation, counts)
        out = x[next(taps)[2]].copy(order="K")
        index = xp.zeros_like(out, dtype=small)
        for number, _, pixels in taps:
            values = x[pixels]
            _raise_index(xp, index, values > out, number)
            xp.maximum(out, values, out=out)
        return out, index
    out = _filled(xp, x, counts)
    index = _like(xp, x, out.shape, small)
    index[...] = 0 if padding == (0, 0) else _beside(x, _first_inside(kernel, stride, padding, dilation, counts), small)
    for number, at, pixels in _taps(x.shape[2:], kernel, stride, padding, dilation, counts):
        values, target = x[pixels], out[at]
        _raise_index(xp, index[at], values > target, number)
        xp.maximum(target, values, out=target)
    return out, index


@functools.lru_cache(maxsize=64)
def _first_inside(kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair) -> np.ndarray:
    """The first tap of each window that lies inside the images: what wins where nothing is above minus infinity."""
    first = [
        np.maximum(0, -((np.arange(o) * s - p) // d)) for s, p, d, o in zip(stride, padding, dilation, counts)
    ]
    return first[0][:, None] * kernel[1] + first[1][None, :]


def _raise_index(xp: Any, index: Any, larger: Any, number: int) -> None:
    """``index = number`` where ``larger``; taps come in rising order, so a maximum does it without a branch."""
    numbers = larger.view(np.uint8) if xp is np and index.itemsize == 1 else larger.astype(index.dtype)
    if number != 1:
        numbers *= index.dtype.type(number)
    xp.maximum(index, numbers, out=index)


def _scatter_forward(
    xp: Any, g: Any, index: Any, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair
) -> Any:
    g = _in_order_of(xp, g, index)
    shape = (*g.shape[:2], *size)
    if _tiles(size, kernel, stride, padding, dilation, counts):
        exact = counts[0] * stride[0] == size[0] and counts[1] * stride[1] == size[1]
        out = _like(xp, index, shape, g.dtype)
        if not exact:
            out[:, :, counts[0] * stride[0] :] = 0
            out[:, :, :, counts[1] * stride[1] :] = 0
        y, c = out.transpose(0, 2, 3, 1), out.shape[1]
        as_pixels = xp is np and y.flags.c_contiguous and c < 64 and out.size >= 4096
        for number, _, pixels in _taps(size, kernel, stride, padding, dilation, counts):
            if as_pixels:
                part = xp.multiply(g, index == number).transpose(0, 2, 3, 1)
                opaque = void(c * out.itemsize)
                y[:, pixels[1], pixels[2]].view(opaque)[...] = part.view(opaque)
            else:
                xp.multiply(g, index == number, out=out[pixels])
        return out
    out = _like(xp, index, shape, g.dtype)
    out[...] = 0
    for number, at, pixels in _taps(size, kernel, stride, padding, dilation, counts):
        target = out[pixels]
        target += g[at] * (index[at] == number)
    return out


def _in_order_of(xp: Any, g: Any, index: Any) -> Any:
    """``g`` in the memory order of ``index``, so that what reads both runs along the memory."""
    if g.strides == tuple(s // index.itemsize * g.itemsize for s in index.strides):
        return g
    out = _like(xp, index, g.shape, g.dtype)
    out[...] = g
    return out


def _gather_forward(
    xp: Any, x: Any, index: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair
) -> Any:
    out = _like(xp, index, index.shape, x.dtype)
    out[...] = 0
    for number, at, pixels in _taps(x.shape[2:], kernel, stride, padding, dilation, counts):
        target = out[at]
        target += x[pixels] * (index[at] == number)
    return out


def _max_vjp(F: Any, g: Any, saved: Any, need: Any, **geometry: Any) -> Any:
    (_, index), shape = saved
    return (F.max_pool2d_grad(g[0], index, size=tuple(shape[2:]), **geometry),)


def _max_vjp_without_index(F: Any, g: Any, x: Any, need: Any, **geometry: Any) -> Any:
    raw = x.data if isinstance(x, Tensor) else x
    _, index = max_pool2d_with_index(raw, **geometry)
    return (F.max_pool2d_grad(g, index, size=tuple(x.shape[2:]), **geometry),)


def _pool_spec(x: Spec, counts: Pair, **_: Any) -> Spec:
    return Spec((*x.shape[:2], *counts), x.dtype)


# -- average pooling ---------------------------------------------------------------------------------------------------


def _shares(
    size: Pair, kernel: Pair, stride: Pair, padding: Pair, counts: Pair, count_include_pad: bool
) -> float | np.ndarray:
    """One over the number of pixels in each window: a number where all are alike, else (OH, OW)."""
    if count_include_pad and all((o - 1) * s + k <= n + 2 * p for o, s, k, n, p in zip(counts, stride, kernel, size, padding)):
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


def _beside(x: Any, host: np.ndarray, dtype: Any) -> Any:
    """A host constant on the device of ``x``."""
    owner = backend.of(x)
    return owner.from_numpy(host.astype(dtype), owner.device_of(x))


def _scaled(y: Any, shares: Any) -> Any:
    return y * (shares if isinstance(shares, float) else _beside(y, shares, y.dtype))


def _avg_pool2d_forward(
    xp: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, counts: Pair, count_include_pad: bool
) -> Any:
    size = x.shape[2:]
    shares = _shares(size, kernel, stride, padding, counts, count_include_pad)
    if kernel == size and counts == (1, 1) and padding == (0, 0):
        y = x.transpose(0, 2, 3, 1)
        if x.dtype.char not in "fd" or not y.flags.c_contiguous:
            return x.mean(axis=(2, 3), keepdims=True, dtype=x.dtype)
        n, c, pixels = *x.shape[:2], size[0] * size[1]
        return xp.matmul(xp.full((1, pixels), shares, x.dtype), y.reshape(n, pixels, c)).reshape(n, c, 1, 1)
    # the sum over a window is a sum over its rows of sums over columns; rows first, for their longer inner loops
    rows = _box(xp, x, 2, kernel[0], stride[0], padding[0], counts[0])
    out = _box(xp, rows, 3, kernel[1], stride[1], padding[1], counts[1])
    if out is x:
        return _scaled(x, shares)
    out *= shares if isinstance(shares, float) else _beside(x, shares, x.dtype)
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
    out = _like(xp, x, tuple(shape), x.dtype)
    out[...] = 0
    for i in range(kernel):
        o, pixels = tap(i - padding, stride, size, count)
        target = out[(*before, o)]
        target += x[(*before, pixels)]
    return out


def _avg_grad_forward(
    xp: Any, g: Any, size: Pair, kernel: Pair, stride: Pair, padding: Pair, counts: Pair, count_include_pad: bool
) -> Any:
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
    out = _like(xp, g, tuple(shape), g.dtype)
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


# -- samples -----------------------------------------------------------------------------------------------------------

# (images, kernel, stride, padding, dilation, ceil_mode)
_CASES: list[tuple[tuple[int, ...], Pair, Pair, Pair, Pair, bool]] = [
    ((2, 2, 4, 4), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((1, 2, 5, 7), (2, 3), (2, 3), (0, 0), (1, 1), False),
    ((2, 2, 5, 5), (3, 3), (2, 2), (1, 1), (1, 1), False),
    ((1, 2, 5, 4), (2, 2), (2, 2), (0, 0), (1, 1), True),
    ((1, 1, 6, 6), (2, 2), (1, 2), (0, 1), (2, 2), False),
    ((1, 2, 3, 4), (3, 4), (3, 4), (0, 0), (1, 1), False),
    ((1, 1, 6, 5), (3, 2), (2, 3), (1, 0), (1, 1), True),
    ((1, 1, 2, 3), (1, 1), (1, 1), (0, 0), (1, 1), False),
]


def _case_counts(case: Any) -> Pair:
    (_, _, h, w), kernel, stride, padding, dilation, ceil_mode = case
    pairs = zip((h, w), kernel, stride, padding, dilation)
    counts = [window_count(n, k, s, (p, p), d, ceil_mode) for n, k, s, p, d in pairs]
    return counts[0], counts[1]


def _max_static(case: Any) -> dict[str, Any]:
    _, kernel, stride, padding, dilation, _ = case
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "counts": _case_counts(case)}


def _laid_out(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    x = array(seed, shape)
    return x if seed % 2 else np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _max_samples(with_index: bool) -> Any:
    def make() -> list[Sample]:
        samples = []
        for i, case in enumerate([*_CASES, ((2, 3, 32, 32), (2, 2), (2, 2), (0, 0), (1, 1), False)]):
            _, kernel, stride, padding, dilation, ceil = case

            def call(t: Any, x: Any, k: Any = kernel, s: Any = stride, p: Any = padding, d: Any = dilation, c: Any = ceil) -> Any:
                return t.nn.functional.max_pool2d(x, k, s, p, d, ceil_mode=c, return_indices=with_index)

            samples.append(Sample((_laid_out(i, case[0]),), _max_static(case), torch=call))
        return samples

    return make


def _some_index(case: Any, seed: int) -> np.ndarray:
    """Taps that lie inside the images, as the forward would give them."""
    return max_pool2d_with_index(array(seed, case[0]), **_max_static(case))[1]


def _scatter_samples() -> list[Sample]:
    return [
        Sample(
            (_laid_out(i, (*case[0][:2], *_case_counts(case))), _some_index(case, i)),
            {"size": case[0][2:], **_max_static(case)},
        )
        for i, case in enumerate(_CASES)
    ]


def _gather_samples() -> list[Sample]:
    return [
        Sample((_laid_out(i, case[0]), _some_index(case, i + 1)), _max_static(case)) for i, case in enumerate(_CASES)
    ]


def _avg_cases() -> list[tuple[Any, dict[str, Any]]]:
    cases = []
    for case in _CASES:
        shape, kernel, stride, padding, dilation, _ = case
        if dilation != (1, 1):
            continue
        for include in (True, False):
            static = {
                "kernel": kernel, "stride": stride, "padding": padding, "counts": _case_counts(case), "count_include_pad": include,
            }  # fmt: skip
            cases.append((case, static))
    return cases


def _avg_samples() -> list[Sample]:
    samples = []
    for i, (case, static) in enumerate(_avg_cases()):

        def call(t: Any, x: Any, case: Any = case, include: bool = static["count_include_pad"]) -> Any:
            _, kernel, stride, padding, _, ceil = case
            return t.nn.functional.avg_pool2d(x, kernel, stride, padding, ceil, include)

        samples.append(Sample((_laid_out(i, case[0]),), static, torch=call))
    return samples


def _avg_grad_samples() -> list[Sample]:
    return [
        Sample((_laid_out(i, (*case[0][:2], *static["counts"])),), {"size": case[0][2:], **static})
        for i, (case, static) in enumerate(_avg_cases())
    ]


# -- ops ---------------------------------------------------------------------------------------------------------------

_max_pool2d = Op(
    "max_pool2d",
    _max_pool2d_forward,
    _max_vjp_without_index,
    save=0,
    heavy=True,
    abstract=_pool_spec,
    samples=_max_samples(False),
    doc="The largest element of each window.",
)
max_pool2d_with_index = Op(
    "max_pool2d_with_index",
    _max_pool2d_index_forward,
    _max_vjp,
    save=(OUTPUT, Shape(0)),
    heavy=True,
    abstract=lambda x, kernel, counts, **_: (
        Spec((*x.shape[:2], *counts), x.dtype),
        Spec((*x.shape[:2], *counts), _index_dtype(kernel)),
    ),
    samples=_max_samples(True),
    doc="The largest element of each window, and its position in the window (row-major, as bytes; the first one at ties).",
)
max_pool2d_grad = Op(
    "max_pool2d_grad",
    _scatter_forward,
    lambda F, h, index, need, size, **geometry: (F.max_pool2d_grad_grad(h, index, **geometry), None),
    save=1,
    heavy=True,
    abstract=lambda g, index, size, **_: Spec((*g.shape[:2], *size), g.dtype),
    samples=_scatter_samples,
    doc="Zeros of ``size`` with each window's gradient added at its position: the adjoint of picking there.",
)
max_pool2d_grad_grad = Op(
    "max_pool2d_grad_grad",
    _gather_forward,
    lambda F, h, saved, need, **geometry: (
        F.max_pool2d_grad(h, saved[0], size=tuple(saved[1][2:]), **geometry),
        None,
    ),
    save=(1, Shape(0)),
    heavy=True,
    abstract=lambda x, index, counts, **_: Spec((*x.shape[:2], *counts), x.dtype),
    samples=_gather_samples,
    doc="The element of each window at a given position.",
)
_avg_pool2d = Op(
    "avg_pool2d",
    _avg_pool2d_forward,
    lambda F, g, shape, need, **static: (F.avg_pool2d_grad(g, size=tuple(shape[2:]), **static),),
    save=Shape(0),
    heavy=True,
    abstract=_pool_spec,
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

# -- what a user calls -------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=512)
def _plan(
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


@functools.lru_cache(maxsize=512)
def _avg_plan(
    x: tuple[int, ...], kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool
) -> dict[str, Any]:
    static = dict(_plan("avg_pool2d", x, kernel, stride, padding, 1, ceil_mode))
    del static["dilation"]
    return {**static, "count_include_pad": bool(count_include_pad)}


def max_pool2d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest element of each window: x (N, C, H, W) -> (N, C, OH, OW).

    ``kernel``, ``stride`` (default: the kernel), ``padding`` and ``dilation`` are ints or pairs (vertical, horizontal).
    Padding never wins; it is at most half of the kernel. ``OH = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1``;
    ``ceil_mode`` rounds up, if the last window starts inside. The gradient goes to the first largest element, in row order.
    """
    try:
        static = _plan("max_pool2d", x.shape, kernel, stride, padding, dilation, ceil_mode)
    except TypeError:  # lists are no keys of a cache
        static = _plan("max_pool2d", tuple(x.shape), *map(hashable, (kernel, stride, padding, dilation)), ceil_mode)
    if modes.grad and isinstance(x, Tensor) and x.node is not None:
        return max_pool2d_with_index(x, **static)[0]
    return _max_pool2d(x, **static)


def avg_pool2d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Any:
    """The mean of each window: x (N, C, H, W) -> (N, C, OH, OW).

    ``kernel``, ``stride`` (default: the kernel) and ``padding`` are ints or pairs (vertical, horizontal). With
    ``count_include_pad`` the zeros of the padding count as pixels. What hangs over the padded end under ``ceil_mode`` never
    counts. A kernel of the images' size is the global average.
    """
    try:
        static = _avg_plan(x.shape, kernel, stride, padding, ceil_mode, count_include_pad)
    except TypeError:
        static = _avg_plan(tuple(x.shape), *map(hashable, (kernel, stride, padding)), ceil_mode, count_include_pad)
    return _avg_pool2d(x, **static)
