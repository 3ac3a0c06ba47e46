"""The reference kernels of convolution: windows gathered into the rows of a matrix, then one matrix product.

The three products that are closed under differentiation live here for raw arrays of any array library: the correlation
itself, its adjoint in the images, and its adjoint in the weight. Images come NCHW-shaped in any memory order; results are
channels-last in memory. Windows are gathered block by block, so that the matrix of windows, which holds every pixel
``kh * kw`` times, never exceeds a fixed size.

Depthwise convolution (one input channel for each group) would be a product of thin matrices; there it is a sum over the
``kh * kw`` taps instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .windows import Pads, Pair, channels_first, channels_last, extent, is_channels_last, padded, tap, tiled, void

_HOST_BLOCK = 16 << 20  # bytes of gathered windows at a time: large enough for a threaded matrix product
_DEVICE_BLOCK = 512 << 20
_CACHE_BLOCK = 256 << 10  # bytes of output at a time where the taps are summed: stays in the core's own cache


def _strided(xp: Any, x: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, dtype: Any = None) -> Any:
    """A view of the contiguous array ``x`` with any shape and strides."""
    if xp is np:  # as_strided does the same and takes ten times longer
        return np.ndarray(shape, dtype or x.dtype, x, offset, strides)
    return xp.lib.stride_tricks.as_strided(x.reshape(-1)[offset // x.itemsize :], shape, strides)


def _blocks(images: int, height: int, row_bytes: int, limit: int) -> Iterator[tuple[int, int, int, int]]:
    """Output rows in blocks of at most ``limit`` bytes: (first image, last, first row, last), whole images if they fit."""
    image_bytes = max(1, height * row_bytes)
    if image_bytes <= limit or height <= 1:
        step = max(1, limit // image_bytes)
        for first in range(0, images, step):
            yield first, min(images, first + step), 0, height
    else:
        step = max(1, limit // row_bytes)
        for image in range(images):
            for first in range(0, height, step):
                yield image, image + 1, first, min(height, first + step)


def windows(
    xp: Any, x: Any, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair, counts: Pair, groups: int
) -> Iterator[tuple[slice, Any]]:
    """The windows of ``x`` as matrices (groups, rows, kh * kw * C / groups), a block of output pixels at a time.

    The slice says which of the N * OH * OW rows of the result a block stands for. A matrix is overwritten by the next.
    """
    n, c, h, w = x.shape
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = kernel, stride, dilation, counts
    if kernel == (1, 1) and stride == (1, 1) and groups == 1 and (oh, ow) == (h, w):
        yield slice(0, n * h * w), channels_last(xp, x).reshape(1, n * h * w, c)
        return
    depth, size = kh * kw * c // groups, x.itemsize
    row_bytes = groups * ow * depth * size
    limit = _HOST_BLOCK if xp is np else _DEVICE_BLOCK
    # A window's row is a run of kw * C numbers. Where that is short, gathering tap by tap has the longer runs.
    by_tap = groups == 1 and kw * c < 16 and ow >= 8
    if by_tap:
        source = padded(xp, x.reshape(n * c, h, w, 1), pads)
        hp, wp = source.shape[1:3]
        s_w, s_h, s_c, s_n = size, size * wp, size * wp * hp, size * wp * hp * c
    else:
        source = padded(xp, x.transpose(0, 2, 3, 1), pads)
        hp, wp = source.shape[1:3]
        s_c, s_w, s_h, s_n = size, size * c, size * c * wp, size * c * wp * hp
    run = kw * c if dw == 1 and groups == 1 else c // groups  # contiguous in the image and in the matrix
    taps = (kh,) if dw == 1 and groups == 1 else (kh, kw)
    tap_strides = (dh * s_h, dw * s_w)[: len(taps)]
    buffer = None
    for n0, n1, h0, h1 in _blocks(n, oh, row_bytes, limit):
        pixels = (n1 - n0, h1 - h0, ow)
        rows = pixels[0] * pixels[1] * ow
        where = slice((n0 * oh + h0) * ow, (n0 * oh + h0) * ow + rows)
        offset = n0 * s_n + h0 * sh * s_h
        pixel_strides = (s_n, sh * s_h, sw * s_w)
        if by_tap:
            strides = (dh * s_h, dw * s_w, s_c, *pixel_strides)
            matrix = xp.empty((kh, kw, c, *pixels), x.dtype)
            matrix[...] = _strided(xp, source, matrix.shape, strides, offset)
            yield where, matrix.reshape(1, depth, rows).transpose(0, 2, 1)
            continue
        if buffer is None:
            buffer = xp.empty(groups * rows * depth, x.dtype)
        matrix = buffer[: groups * rows * depth]
        shape = (groups, *pixels, *taps)
        strides = (c // groups * size, *pixel_strides, *tap_strides)
        if xp is np:
            view = _strided(xp, source, shape, strides, offset, void(run * size))
            np.ndarray(shape, view.dtype, matrix)[...] = view
        else:
            view = _strided(xp, source, (*shape, run), (*strides, size), offset)
            matrix.reshape(*shape, run)[...] = view
        yield where, matrix.reshape(groups, rows, depth)


def _weight_matrix(xp: Any, w: Any, groups: int) -> Any:
    """(O, C / groups, kh, kw) -> (groups, O / groups, kh * kw * C / groups), in the order of the windows."""
    o, c, kh, kw = w.shape
    return w.transpose(0, 2, 3, 1).reshape(groups, o // groups, kh * kw * c)


def _flipped(w: Any, groups: int) -> Any:
    """The weight of the adjoint: taps in reverse order, input and output channels exchanged within each group."""
    o, c, kh, kw = w.shape
    w = w[:, :, ::-1, ::-1].reshape(groups, o // groups, c, kh, kw)
    return w.swapaxes(1, 2).reshape(groups * c, o // groups, kh, kw)


def correlate(
    xp: Any, x: Any, w: Any, stride: Pair, pads: Pads, dilation: Pair, counts: Pair, groups: int
) -> Any:
    """x (N, C, H, W), w (O, C / groups, kh, kw) -> (N, O, OH, OW)."""
    n, c, height, width = x.shape
    o, per_group, kh, kw = w.shape
    if per_group == 1 and groups == c > 1:
        return channels_first(_depthwise(xp, x, w, stride, pads, dilation, counts))
    if (kh, kw) == stride == (1, 1) and groups == 1 and counts == (height, width) and not is_channels_last(x):
        return xp.matmul(w.reshape(o, c), x.reshape(n, c, height * width)).reshape(n, o, height, width)
    oh, ow = counts
    out = xp.empty((n * oh * ow, groups, o // groups), x.dtype)
    matrix = _weight_matrix(xp, w, groups).swapaxes(1, 2)
    for rows, gathered in windows(xp, x, (kh, kw), stride, pads, dilation, counts, groups):
        xp.matmul(gathered, matrix, out=out[rows].transpose(1, 0, 2))
    return channels_first(out.reshape(n, oh, ow, o))


def input_gradient(
    xp: Any, g: Any, w: Any, size: Pair, stride: Pair, pads: Pads, dilation: Pair, groups: int
) -> Any:
    """The adjoint of :func:`correlate` in its images: g (N, O, OH, OW) -> (N, C, *size)."""
    o, per_group, kh, kw = w.shape
    if stride == (1, 1):
        flipped_pads = tuple(
            (extent(k, d) - 1 - p[0], extent(k, d) - 1 - p[1]) for k, d, p in zip((kh, kw), dilation, pads)
        )
        if per_group == 1 and groups > 1 and o != groups:  # each input channel feeds several outputs: their sum
            spread = _depthwise(xp, g, w[:, :, ::-1, ::-1], stride, flipped_pads, dilation, size)  # type: ignore[arg-type]
            n = g.shape[0]
            return channels_first(spread.reshape(n, *size, groups, o // groups).sum(axis=-1))
        return correlate(xp, g, _flipped(w, groups), stride, flipped_pads, dilation, size, groups)  # type: ignore[arg-type]
    n, _, oh, ow = g.shape
    c = per_group * groups
    g = channels_last(xp, g)
    out = xp.zeros((n, *size, groups, per_group), g.dtype)
    depthwise = per_group == 1 and groups > 1
    matrix = _weight_matrix(xp, w, groups)
    disjoint = extent(kh, dilation[0]) <= stride[0] and extent(kw, dilation[1]) <= stride[1]
    row_bytes = ow * (o if depthwise else kh * kw * c) * g.itemsize
    limit = _CACHE_BLOCK if depthwise else _HOST_BLOCK if xp is np else _DEVICE_BLOCK
    for n0, n1, h0, h1 in _blocks(n, oh, row_bytes, limit):
        block = g[n0:n1, h0:h1]
        if depthwise:
            block = block.reshape(n1 - n0, h1 - h0, ow, groups, o // groups)
        else:
            grouped = block.reshape(-1, groups, o // groups).transpose(1, 0, 2)
            spread = xp.matmul(grouped, matrix).reshape(groups, n1 - n0, h1 - h0, ow, kh, kw, per_group)
            spread = spread.transpose(1, 2, 3, 4, 5, 0, 6)
        for i in range(kh):
            rows, at_rows = tap(i * dilation[0] - pads[0][0] + h0 * stride[0], stride[0], size[0], h1 - h0)
            for j in range(kw):
                columns, at_columns = tap(j * dilation[1] - pads[1][0], stride[1], size[1], ow)
                target = out[n0:n1, at_rows, at_columns]
                if depthwise:
                    part = block[:, rows, columns] * w[:, 0, i, j].reshape(groups, o // groups)
                    target += part.sum(axis=-1, keepdims=True) if o != groups else part
                elif disjoint:
                    target[...] = spread[:, rows, columns, i, j]
                else:
                    target += spread[:, rows, columns, i, j]
    return channels_first(out.reshape(n, *size, c))


def weight_gradient(
    xp: Any, x: Any, g: Any, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair, groups: int
) -> Any:
    """The adjoint of :func:`correlate` in its weight: x (N, C, H, W), g (N, O, OH, OW) -> (O, C / groups, kh, kw)."""
    c = x.shape[1]
    n, o, oh, ow = g.shape
    kh, kw = kernel
    if groups == c > 1:
        return _depthwise_weight_gradient(xp, x, g, kernel, stride, pads, dilation)
    g = channels_last(xp, g).reshape(-1, groups, o // groups).transpose(1, 0, 2)
    # both orders give the same numbers; small results are faster tall, large ones cheaper to reorder when wide
    wide = kh * kw * c * o >= 1 << 15
    total = None
    for rows, gathered in windows(xp, x, kernel, stride, pads, dilation, (oh, ow), groups):
        part = g[:, rows]
        part = xp.matmul(part.swapaxes(1, 2), gathered) if wide else xp.matmul(gathered.swapaxes(1, 2), part)
        if total is None:
            total = part
        else:
            total += part
    if total is None:
        return xp.zeros((o, c // groups, kh, kw), x.dtype)
    if wide:
        return total.reshape(o, kh, kw, c // groups).transpose(0, 3, 1, 2)
    total = total.reshape(groups, kh, kw, c // groups, o // groups)
    return total.transpose(0, 4, 3, 1, 2).reshape(o, c // groups, kh, kw)


# -- depthwise ---------------------------------------------------------------------------------------------------------


def _taps(xp: Any, source: Any, n: slice, i: int, j: int, stride: Pair, dilation: Pair, counts: Pair) -> Any:
    """The pixels of padded (N, H, W, C) images under tap (i, j); with horizontal stride 1 as rows of OW * C numbers."""
    (sh, sw), (dh, dw), (oh, ow) = stride, dilation, counts
    images, hp, wp, c = source.shape
    rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
    if sw == 1:
        return source.reshape(images, hp, wp * c)[n, rows, j * dw * c : (j * dw + ow) * c]
    return source[n, rows, j * dw : j * dw + (ow - 1) * sw + 1 : sw]


def _repeated(xp: Any, x: Any, times: int) -> Any:
    """(N, H, W, C) with each channel ``times`` times in a row."""
    return x if times == 1 else xp.repeat(x, times, axis=-1)


def _depthwise(xp: Any, x: Any, w: Any, stride: Pair, pads: Pads, dilation: Pair, counts: Pair) -> Any:
    """Each channel with its own O / C windows: x (N, C, H, W), w (O, 1, kh, kw) -> (N, OH, OW, O)."""
    n, c = x.shape[:2]
    o, _, kh, kw = w.shape
    oh, ow = counts
    source = _repeated(xp, padded(xp, x.transpose(0, 2, 3, 1), pads), o // c)
    out = xp.empty((n, oh, ow * o) if stride[1] == 1 else (n, oh, ow, o), x.dtype)
    weights = [tiled(w[:, 0, i, j], ow if stride[1] == 1 else 1) for i in range(kh) for j in range(kw)]
    step = max(1, _CACHE_BLOCK // max(1, oh * ow * o * x.itemsize)) if xp is np else max(1, n)
    for first in range(0, n, step):
        images = slice(first, min(n, first + step))
        target = out[images]
        scratch = None
        for k, weight in enumerate(weights):
            pixels = _taps(xp, source, images, k // kw, k % kw, stride, dilation, counts)
            if scratch is None:
                xp.multiply(pixels, weight, out=target)
                scratch = xp.empty(target.shape, target.dtype)
            else:
                xp.multiply(pixels, weight, out=scratch)
                target += scratch
    return out.reshape(n, oh, ow, o)


def _depthwise_weight_gradient(
    xp: Any, x: Any, g: Any, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair
) -> Any:
    c = x.shape[1]
    n, o, oh, ow = g.shape
    kh, kw = kernel
    source = _repeated(xp, padded(xp, x.transpose(0, 2, 3, 1), pads), o // c)
    g = channels_last(xp, g)
    if stride[1] == 1:
        g = g.reshape(n, oh, ow * o)
    total = xp.zeros((kh * kw, o), x.dtype)
    step = max(1, _CACHE_BLOCK // max(1, oh * ow * o * x.itemsize)) if xp is np else max(1, n)
    ones = xp.ones(step * oh * ow, x.dtype)
    for first in range(0, n, step):
        images = slice(first, min(n, first + step))
        part = g[images]
        scratch = xp.empty(part.shape, part.dtype)
        for k in range(kh * kw):
            pixels = _taps(xp, source, images, k // kw, k % kw, stride, dilation, (oh, ow))
            xp.multiply(pixels, part, out=scratch)
            flat = scratch.reshape(-1, o)
            total[k] += ones[: flat.shape[0]].dot(flat)
    return total.T.reshape(o, 1, kh, kw)
