"""The reference kernels of convolution: windows gathered into the rows of a matrix, then one matrix product.

The three products that are closed under differentiation live here for raw arrays of any array library and any number of
spatial axes: the correlation itself, its adjoint in the images, and its adjoint in the weight. Images come shaped
(N, C, ...) in any memory order; results are channels-last in memory. Windows are gathered block by block, so that the
matrix of windows, which holds every pixel as often as the kernel has taps, never exceeds a fixed size.

Depthwise convolution (one input channel for each group) would be a product of thin matrices; :mod:`depthwise` has it.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import depthwise
from .windows import Ints, Pads, channels_first, channels_last, extent, is_channels_last, moved_last, padded, tap, void

_HOST_BLOCK = 4 << 20  # bytes of gathered windows at a time: what the caches hold, enough for a threaded product
_DEVICE_BLOCK = 512 << 20


class _Scratch(threading.local):
    """Memory for gathered windows that stays with the thread: fresh memory costs more than what is computed on it."""

    data = np.empty(0, np.uint8)

    def take(self, count: int, dtype: Any) -> np.ndarray:
        nbytes = count * dtype.itemsize
        if self.data.size < nbytes:
            if nbytes > 2 * _HOST_BLOCK:
                return np.empty(count, dtype)
            self.data = np.empty(nbytes, np.uint8)
        return self.data[:nbytes].view(dtype)


_scratch = _Scratch()


def strided(
    xp: Any, x: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, dtype: Any = None
) -> Any:
    """A view of the contiguous array ``x`` with any shape and strides."""
    if xp is np:  # as_strided does the same and takes ten times longer
        return np.ndarray(shape, dtype or x.dtype, x, offset, strides)
    return xp.lib.stride_tricks.as_strided(x.reshape(-1)[offset // x.itemsize :], shape, strides)


def _blocks(outer: tuple[int, ...], row_bytes: int, limit: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Output rows in blocks of at most ``limit`` bytes: (first, last) of each axis of ``outer``, which are all but the last.

    A block is one piece of the output's memory: some axis is cut, those before it are visited one by one, those
    after it are whole.
    """
    axis, inner = len(outer) - 1, max(1, row_bytes)
    while axis and (inner * outer[axis] <= limit or outer[axis] <= 1):
        inner *= outer[axis]
        axis -= 1
    step = max(1, limit // max(1, inner))
    whole = tuple((0, n) for n in outer[axis + 1 :])
    for index in itertools.product(*map(range, outer[:axis])):
        for first in range(0, outer[axis], step):
            yield (*((i, i + 1) for i in index), (first, min(outer[axis], first + step)), *whole)


def _rows(block: tuple[tuple[int, int], ...], outer: tuple[int, ...], width: int) -> slice:
    """Which rows of the flattened output a block of :func:`_blocks` stands for."""
    first, rows = 0, width
    for (low, high), n in zip(block, outer):
        first = first * n + low
        rows *= high - low
    return slice(first * width, first * width + rows)


def windows(
    xp: Any, x: Any, kernel: Ints, stride: Ints, pads: Pads, dilation: Ints, counts: Ints
) -> Iterator[tuple[slice, Any]]:
    """The windows of ``x`` as matrices (rows, taps * C), a block of output pixels at a time.

    The slice says which of the N * OH * OW rows of the result a block stands for. A matrix is overwritten by the next.
    """
    n, c, *size = x.shape
    if math.prod(kernel) == math.prod(stride) == 1 and counts == tuple(size) and not any(map(any, pads)):
        yield slice(0, n * math.prod(counts)), channels_last(xp, x).reshape(-1, c)
        return
    depth, width = math.prod(kernel) * c, counts[-1]
    limit, take = (_HOST_BLOCK, _scratch.take) if xp is np else (_DEVICE_BLOCK, xp.empty)
    # A window's row is a run of kw * C numbers. Where that is short, gathering tap by tap has the longer runs.
    by_tap = kernel[-1] * c < 16 and width >= 8
    source = padded(xp, x.reshape(n * c, *size, 1) if by_tap else moved_last(x), pads)
    steps = [x.itemsize]  # bytes from pixel to pixel along each axis of the source, the channel's last
    for m in source.shape[:0:-1]:
        steps.insert(0, steps[0] * m)
    image, *axes, each = steps
    if by_tap:
        image, each = image * c, image
    merged = dilation[-1] == 1  # the taps of a window's row are neighbours
    run = kernel[-1] * c if merged else c  # contiguous in the image and in the matrix
    spread = tuple(d * s for d, s in zip(dilation, axes))
    taps, tap_steps = (kernel[:-1], spread[:-1]) if merged else (kernel, spread)
    pixel_steps = (image, *(s * a for s, a in zip(stride, axes)))
    outer = (n, *counts[:-1])
    for block in _blocks(outer, width * depth * x.itemsize, limit):
        pixels = (*(high - low for low, high in block), width)
        where = _rows(block, outer, width)
        rows = where.stop - where.start
        offset = sum(low * step for (low, _), step in zip(block, pixel_steps))
        matrix = take(rows * depth, x.dtype)
        if by_tap:
            view = strided(xp, source, (*kernel, c, *pixels), (*spread, each, *pixel_steps), offset)
            matrix.reshape(view.shape)[...] = view
            yield where, matrix.reshape(depth, rows).T
            continue
        shape, strides = (*pixels, *taps), (*pixel_steps, *tap_steps)
        if xp is np:
            view = strided(xp, source, shape, strides, offset, void(run * x.itemsize))
            np.ndarray(shape, view.dtype, matrix)[...] = view
        else:
            matrix.reshape(*shape, run)[...] = strided(xp, source, (*shape, run), (*strides, x.itemsize), offset)
        yield where, matrix.reshape(rows, depth)


def _weight_matrix(w: Any) -> Any:
    """(O, C, ...) -> (O, taps * C), in the order of the windows."""
    return moved_last(w).reshape(w.shape[0], -1)


def _flipped(w: Any, groups: int) -> Any:
    """The weight of the adjoint: taps in reverse order, input and output channels exchanged within each group."""
    o, c, *kernel = w.shape
    w = depthwise.mirrored(w).reshape(groups, o // groups, c, *kernel)
    return w.swapaxes(1, 2).reshape(groups * c, o // groups, *kernel)


def _parts(groups: int, *channels: int) -> Iterator[tuple[slice, ...]]:
    """For each group, its slice of each of the channel counts."""
    for i in range(groups):
        yield tuple(slice(i * (c // groups), (i + 1) * (c // groups)) for c in channels)


def correlate(xp: Any, x: Any, w: Any, stride: Ints, pads: Pads, dilation: Ints, counts: Ints, groups: int) -> Any:
    """x (N, C, ...), w (O, C / groups, ...) -> (N, O, *counts)."""
    n, c, *size = x.shape
    o, per_group, *kernel = w.shape
    if per_group == 1 and groups == c > 1:
        return channels_first(depthwise.correlate(xp, x, w, stride, pads, dilation, counts))
    if (
        math.prod(kernel) == math.prod(stride) == groups == 1
        and counts == tuple(size)
        and not any(map(any, pads))
        and not is_channels_last(x)
    ):
        return xp.matmul(w.reshape(o, c), x.reshape(n, c, -1)).reshape(n, o, *size)
    out = xp.empty((n * math.prod(counts), o), x.dtype)
    for inputs, outputs in _parts(groups, c, o):
        matrix = _weight_matrix(w[outputs]).T
        for rows, gathered in windows(xp, x[:, inputs], tuple(kernel), stride, pads, dilation, counts):
            xp.matmul(gathered, matrix, out=out[rows, outputs])
    return channels_first(out.reshape(n, *counts, o))


def input_gradient(xp: Any, g: Any, w: Any, size: Ints, stride: Ints, pads: Pads, dilation: Ints, groups: int) -> Any:
    """The adjoint of :func:`correlate` in its images: g (N, O, ...) -> (N, C, *size)."""
    n, o = g.shape[:2]
    per_group, *kernel = w.shape[1:]
    if per_group == 1 and groups > 1:
        return channels_first(depthwise.input_gradient(xp, g, w, size, stride, pads, dilation, groups))
    if math.prod(stride) == 1:  # a correlation again, with the mirrored kernel
        mirrored = tuple((extent(k, d) - 1 - p[0], extent(k, d) - 1 - p[1]) for k, d, p in zip(kernel, dilation, pads))
        return correlate(xp, g, _flipped(w, groups), stride, mirrored, dilation, size, groups)
    g = channels_last(xp, g)
    out = xp.zeros((n, *size, per_group * groups), g.dtype)
    for outputs, inputs in _parts(groups, o, per_group * groups):
        _scatter(xp, g[..., outputs], w[outputs], out[..., inputs], stride, pads, dilation)
    return channels_first(out)


def _scatter(xp: Any, g: Any, w: Any, out: Any, stride: Ints, pads: Pads, dilation: Ints) -> None:
    """Add each output pixel's gradient to the pixels of its window: g (N, ..., O), out (N, ..., C)."""
    outer, width, o = g.shape[:-2], g.shape[-2], g.shape[-1]
    c, *kernel = w.shape[1:]
    size = out.shape[1:-1]
    taps = math.prod(kernel)
    matrix = _weight_matrix(w)
    disjoint = all(extent(k, d) <= s for k, d, s in zip(kernel, dilation, stride))
    limit, take = (_HOST_BLOCK, _scratch.take) if xp is np else (_DEVICE_BLOCK, xp.empty)
    for block in _blocks(outer, width * taps * c * g.itemsize, limit):
        part = g[tuple(slice(*b) for b in block)].reshape(-1, o)
        spread: Any = take(part.shape[0] * taps * c, g.dtype).reshape(part.shape[0], taps * c)
        xp.matmul(part, matrix, out=spread)
        spread = spread.reshape(*(high - low for low, high in block), width, taps, c)
        lines = [  # of each axis: its taps
            [tap(i * d - p[0] + low * s, s, m, high - low) for i in range(k)]
            for k, d, p, s, m, (low, high) in zip(kernel, dilation, pads, stride, size, (*block[1:], (0, width)))
        ]
        images = slice(*block[0])
        for number, ways in enumerate(itertools.product(*lines)):
            target = out[(images, *(pixels for _, pixels in ways))]
            values = spread[(slice(None), *(outputs for outputs, _ in ways), number)]
            if disjoint:
                target[...] = values
            else:
                target += values


def weight_gradient(
    xp: Any, x: Any, g: Any, kernel: Ints, stride: Ints, pads: Pads, dilation: Ints, groups: int
) -> Any:
    """The adjoint of :func:`correlate` in its weight: x (N, C, ...), g (N, O, ...) -> (O, C / groups, *kernel)."""
    c, o = x.shape[1], g.shape[1]
    counts = g.shape[2:]
    if groups == c > 1:
        return depthwise.weight_gradient(xp, x, g, kernel, stride, pads, dilation)
    g = channels_last(xp, g).reshape(-1, o)
    # both orders give the same numbers; small results are faster tall, large ones cheaper to reorder when wide
    wide = math.prod(kernel) * c * o >= 1 << 15
    results = []
    for inputs, outputs in _parts(groups, c, o):
        total = None
        for rows, gathered in windows(xp, x[:, inputs], kernel, stride, pads, dilation, counts):
            part = g[rows, outputs]
            part = xp.matmul(part.T, gathered) if wide else xp.matmul(gathered.T, part)
            if total is None:
                total = part
            else:
                total += part
        results.append(total)
    if results[0] is None:  # an empty batch
        return xp.zeros((o, c // groups, *kernel), x.dtype)
    total = results[0] if groups == 1 else xp.concatenate(results, axis=0 if wide else 1)
    if wide:
        return channels_first(total.reshape(o, *kernel, c // groups))
    return total.reshape(*kernel, c // groups, o).transpose(len(kernel) + 1, len(kernel), *range(len(kernel)))
