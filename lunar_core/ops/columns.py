"""The reference kernels of convolution: windows gathered into the rows of a matrix, then one matrix product.

The three products that are closed under differentiation live here for raw arrays of any array library: the
correlation itself, its adjoint in the images, and its adjoint in the weight. Images come NCHW-shaped in any memory
order; results are channels-last in memory. Windows are gathered block by block, so that the matrix of windows, which
holds every pixel ``kh * kw`` times, never exceeds a fixed size.

Depthwise convolution (one input channel for each group) would be a product of thin matrices; there it is a sum over the
``kh * kw`` taps instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from .windows import Pads, Pair, channels_first, channels_last, extent, is_channels_last, padded, tap, tiled, void

_HOST_BLOCK = (
    4 << 20
)  # bytes of gathered windows at a time: about what the caches hold, and enough for a threaded product
_DEVICE_BLOCK = 512 << 20
_CACHE_BLOCK = 256 << 10  # bytes of output at a time where the taps are summed: stays in the core's own cache


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


def _strided(
    xp: Any, x: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, dtype: Any = None
) -> Any:
    """A view of the contiguous array ``x`` with any shape and strides."""
    if xp is np:  # as_strided does the same and takes ten times longer
        return np.ndarray(shape, dtype or x.dtype, x, offset, strides)
    return xp.lib.stride_tricks.as_strided(x.reshape(-1)[offset // x.itemsize :], shape, strides)


def _blocks(images: int, height: int, row_bytes: int, limit: int) -> Iterator[tuple[int, int, int, int]]:
    """Output rows in blocks of at most ``limit`` bytes, whole images if they fit: (first image, last, first row, last)."""
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
    xp: Any, x: Any, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair, counts: Pair
) -> Iterator[tuple[slice, Any]]:
    """The windows of ``x`` as matrices (rows, kh * kw * C), a block of output pixels at a time.

    The slice says which of the N * OH * OW rows of the result a block stands for. A matrix is overwritten by the next.
    """
    n, c, h, w = x.shape
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = kernel, stride, dilation, counts
    if kernel == (1, 1) and stride == (1, 1) and counts == (h, w):
        yield slice(0, n * h * w), channels_last(xp, x).reshape(n * h * w, c)
        return
    depth, size = kh * kw * c, x.itemsize
    limit, take = (_HOST_BLOCK, _scratch.take) if xp is np else (_DEVICE_BLOCK, xp.empty)
    # A window's row is a run of kw * C numbers. Where that is short, gathering tap by tap has the longer runs.
    by_tap = kw * c < 16 and ow >= 8
    if by_tap:
        source = padded(xp, x.reshape(n * c, h, w, 1), pads)
        hp, wp = source.shape[1:3]
        s_w, s_h, s_c, s_n = size, size * wp, size * wp * hp, size * wp * hp * c
    else:
        source = padded(xp, x.transpose(0, 2, 3, 1), pads)
        hp, wp = source.shape[1:3]
        s_w, s_h, s_n = size * c, size * c * wp, size * c * wp * hp
    run = kw * c if dw == 1 else c  # contiguous in the image and in the matrix
    taps, tap_strides = ((kh,), (dh * s_h,)) if dw == 1 else ((kh, kw), (dh * s_h, dw * s_w))
    for n0, n1, h0, h1 in _blocks(n, oh, ow * depth * size, limit):
        pixels, pixel_strides = (n1 - n0, h1 - h0, ow), (s_n, sh * s_h, sw * s_w)
        rows = pixels[0] * pixels[1] * ow
        where = slice((n0 * oh + h0) * ow, (n0 * oh + h0) * ow + rows)
        offset = n0 * s_n + h0 * sh * s_h
        matrix = take(rows * depth, x.dtype)
        if by_tap:
            view = _strided(xp, source, (kh, kw, c, *pixels), (dh * s_h, dw * s_w, s_c, *pixel_strides), offset)
            matrix.reshape(view.shape)[...] = view
            yield where, matrix.reshape(depth, rows).T
            continue
        shape, strides = (*pixels, *taps), (*pixel_strides, *tap_strides)
        if xp is np:
            view = _strided(xp, source, shape, strides, offset, void(run * size))
            np.ndarray(shape, view.dtype, matrix)[...] = view
        else:
            matrix.reshape(*shape, run)[...] = _strided(xp, source, (*shape, run), (*strides, size), offset)
        yield where, matrix.reshape(rows, depth)


def _weight_matrix(w: Any) -> Any:
    """(O, C, kh, kw) -> (O, kh * kw * C), in the order of the windows."""
    return w.transpose(0, 2, 3, 1).reshape(w.shape[0], -1)


def _flipped(w: Any, groups: int) -> Any:
    """The weight of the adjoint: taps in reverse order, input and output channels exchanged within each group."""
    o, c, kh, kw = w.shape
    w = w[:, :, ::-1, ::-1].reshape(groups, o // groups, c, kh, kw)
    return w.swapaxes(1, 2).reshape(groups * c, o // groups, kh, kw)


def _parts(groups: int, *channels: int) -> Iterator[tuple[slice, ...]]:
    """For each group, its slice of each of the channel counts."""
    for i in range(groups):
        yield tuple(slice(i * (c // groups), (i + 1) * (c // groups)) for c in channels)


def correlate(xp: Any, x: Any, w: Any, stride: Pair, pads: Pads, dilation: Pair, counts: Pair, groups: int) -> Any:
    """x (N, C, H, W), w (O, C / groups, kh, kw) -> (N, O, OH, OW)."""
    n, c, height, width = x.shape
    o, per_group, kh, kw = w.shape
    if per_group == 1 and groups == c > 1:
        return channels_first(_depthwise(xp, x, w, stride, pads, dilation, counts))
    if (kh, kw) == stride == (1, 1) and groups == 1 and counts == (height, width) and not is_channels_last(x):
        return xp.matmul(w.reshape(o, c), x.reshape(n, c, height * width)).reshape(n, o, height, width)
    oh, ow = counts
    out = xp.empty((n * oh * ow, o), x.dtype)
    for inputs, outputs in _parts(groups, c, o):
        matrix = _weight_matrix(w[outputs]).T
        for rows, gathered in windows(xp, x[:, inputs], (kh, kw), stride, pads, dilation, counts):
            xp.matmul(gathered, matrix, out=out[rows, outputs])
    return channels_first(out.reshape(n, oh, ow, o))


def input_gradient(xp: Any, g: Any, w: Any, size: Pair, stride: Pair, pads: Pads, dilation: Pair, groups: int) -> Any:
    """The adjoint of :func:`correlate` in its images: g (N, O, OH, OW) -> (N, C, *size)."""
    n, o = g.shape[:2]
    per_group, *kernel = w.shape[1:]
    if stride == (1, 1):  # a correlation again, with the mirrored kernel
        (top, bottom), (left, right) = pads
        dy, dx = extent(kernel[0], dilation[0]) - 1, extent(kernel[1], dilation[1]) - 1
        mirrored = (dy - top, dy - bottom), (dx - left, dx - right)
        if per_group == 1 and groups > 1 and o != groups:  # each input channel feeds several outputs: their sum
            spread = _depthwise(xp, g, w[:, :, ::-1, ::-1], stride, mirrored, dilation, size)
            return channels_first(spread.reshape(n, *size, groups, o // groups).sum(axis=-1))
        return correlate(xp, g, _flipped(w, groups), stride, mirrored, dilation, size, groups)
    g = channels_last(xp, g)
    out = xp.zeros((n, *size, per_group * groups), g.dtype)
    if per_group == 1 and groups > 1:
        _scatter_depthwise(xp, g, w, out, stride, pads, dilation)
    else:
        for outputs, inputs in _parts(groups, o, per_group * groups):
            _scatter(xp, g[..., outputs], w[outputs], out[..., inputs], stride, pads, dilation)
    return channels_first(out)


def _scatter(xp: Any, g: Any, w: Any, out: Any, stride: Pair, pads: Pads, dilation: Pair) -> None:
    """Add each output pixel's gradient to the pixels of its window: g (N, OH, OW, O), out (N, H, W, C)."""
    n, oh, ow, o = g.shape
    _, c, kh, kw = w.shape
    size = out.shape[1:3]
    matrix = _weight_matrix(w)
    disjoint = extent(kh, dilation[0]) <= stride[0] and extent(kw, dilation[1]) <= stride[1]
    limit, take = (_HOST_BLOCK, _scratch.take) if xp is np else (_DEVICE_BLOCK, xp.empty)
    for n0, n1, h0, h1 in _blocks(n, oh, ow * kh * kw * c * g.itemsize, limit):
        block = g[n0:n1, h0:h1].reshape(-1, o)
        spread = take(block.shape[0] * kh * kw * c, g.dtype).reshape(block.shape[0], kh * kw * c)
        xp.matmul(block, matrix, out=spread)
        spread = spread.reshape(n1 - n0, h1 - h0, ow, kh, kw, c)
        for i in range(kh):
            rows, at_rows = tap(i * dilation[0] - pads[0][0] + h0 * stride[0], stride[0], size[0], h1 - h0)
            for j in range(kw):
                columns, at_columns = tap(j * dilation[1] - pads[1][0], stride[1], size[1], ow)
                target = out[n0:n1, at_rows, at_columns]
                if disjoint:
                    target[...] = spread[:, rows, columns, i, j]
                else:
                    target += spread[:, rows, columns, i, j]


def weight_gradient(
    xp: Any, x: Any, g: Any, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair, groups: int
) -> Any:
    """The adjoint of :func:`correlate` in its weight: x (N, C, H, W), g (N, O, OH, OW) -> (O, C / groups, kh, kw)."""
    c, o = x.shape[1], g.shape[1]
    counts = g.shape[2:]
    if groups == c > 1:
        return _depthwise_weight_gradient(xp, x, g, kernel, stride, pads, dilation)
    g = channels_last(xp, g).reshape(-1, o)
    # both orders give the same numbers; small results are faster tall, large ones cheaper to reorder when wide
    wide = kernel[0] * kernel[1] * c * o >= 1 << 15
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
        return total.reshape(o, *kernel, c // groups).transpose(0, 3, 1, 2)
    return total.reshape(*kernel, c // groups, o).transpose(3, 2, 0, 1)


# -- depthwise ---------------------------------------------------------------------------------------------------------


def _taps(source: Any, block: tuple[int, int, int, int], i: int, j: int, stride: Pair, dilation: Pair, ow: int) -> Any:
    """The pixels of padded (N, H, W, C) images under tap (i, j) for a block of outputs.

    With horizontal stride 1 they come as rows of OW * C numbers, which are contiguous.
    """
    (sh, sw), (dh, dw), (n0, n1, h0, h1) = stride, dilation, block
    images, hp, wp, c = source.shape
    rows = slice(h0 * sh + i * dh, (h1 - 1) * sh + i * dh + 1, sh)
    if sw == 1:
        return source.reshape(images, hp, wp * c)[n0:n1, rows, j * dw * c : (j * dw + ow) * c]
    return source[n0:n1, rows, j * dw : j * dw + (ow - 1) * sw + 1 : sw]


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
    for n0, n1, h0, h1 in _blocks(n, oh, ow * o * x.itemsize, _CACHE_BLOCK if xp is np else _DEVICE_BLOCK):
        target = out[n0:n1, h0:h1]
        scratch = None
        for k, weight in enumerate(weights):
            pixels = _taps(source, (n0, n1, h0, h1), k // kw, k % kw, stride, dilation, ow)
            if scratch is None:
                xp.multiply(pixels, weight, out=target)
                scratch = xp.empty(target.shape, target.dtype)
            else:
                xp.multiply(pixels, weight, out=scratch)
                target += scratch
    return out.reshape(n, oh, ow, o)


def _scatter_depthwise(xp: Any, g: Any, w: Any, out: Any, stride: Pair, pads: Pads, dilation: Pair) -> None:
    """The adjoint of :func:`_depthwise` in its images, with any stride: g (N, OH, OW, O), out (N, H, W, C)."""
    n, oh, ow, o = g.shape
    kh, kw = w.shape[2:]
    _, height, width, c = out.shape
    for n0, n1, h0, h1 in _blocks(n, oh, ow * o * g.itemsize, _CACHE_BLOCK if xp is np else _DEVICE_BLOCK):
        block = g[n0:n1, h0:h1]
        for i in range(kh):
            rows, at_rows = tap(i * dilation[0] - pads[0][0] + h0 * stride[0], stride[0], height, h1 - h0)
            for j in range(kw):
                columns, at_columns = tap(j * dilation[1] - pads[1][0], stride[1], width, ow)
                part = block[:, rows, columns] * w[:, 0, i, j]
                if o != c:
                    part = part.reshape(*part.shape[:3], c, o // c).sum(axis=-1)
                target = out[n0:n1, at_rows, at_columns]
                target += part


def _depthwise_weight_gradient(xp: Any, x: Any, g: Any, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair) -> Any:
    c = x.shape[1]
    n, o, oh, ow = g.shape
    kh, kw = kernel
    source = _repeated(xp, padded(xp, x.transpose(0, 2, 3, 1), pads), o // c)
    g = channels_last(xp, g)
    if stride[1] == 1:
        g = g.reshape(n, oh, ow * o)
    total = xp.zeros((kh * kw, o), x.dtype)
    for n0, n1, h0, h1 in _blocks(n, oh, ow * o * x.itemsize, _CACHE_BLOCK if xp is np else _DEVICE_BLOCK):
        part = g[n0:n1, h0:h1]
        scratch = xp.empty(part.shape, part.dtype)
        ones = xp.ones(scratch.size // o, x.dtype)
        for k in range(kh * kw):
            pixels = _taps(source, (n0, n1, h0, h1), k // kw, k % kw, stride, dilation, ow)
            xp.multiply(pixels, part, out=scratch)
            total[k] += ones.dot(scratch.reshape(-1, o))
    return total.T.reshape(o, 1, kh, kw)
