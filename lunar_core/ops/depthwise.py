"""The reference kernels of depthwise convolution: each input channel has windows of its own.

A matrix product would be thin here. On the host, NumPy's einsum multiplies and adds in one pass over runs as long as a row
of the image (the weight is repeated along it), and an output row stays in the first cache while all taps are added to it.
Other array libraries, whose einsum would store every product, add tap by tap.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from .windows import Ints, Pads, channels_last, extent, moved_last, padded


def mirrored(w: Any) -> Any:
    """(O, C, ...) with the taps in reverse order."""
    return w[(slice(None), slice(None), *(slice(None, None, -1),) * (w.ndim - 2))]


def _source(xp: Any, x: Any, pads: Pads, times: int) -> Any:
    """x (N, C, ...) padded and channels-last, with each channel ``times`` times in a row."""
    y = padded(xp, moved_last(x), pads)
    return y if times == 1 else xp.repeat(y, times, axis=-1)


def _windows(xp: Any, source: Any, kernel: Ints, stride: Ints, dilation: Ints, counts: Ints) -> tuple[Any, bool]:
    """A view (N, counts, taps, C) of (N, ..., C) images; with horizontal stride 1, (N, counts[:-1], taps, OW * C)."""
    n, *_, c = source.shape
    steps = [source.itemsize]
    for m in source.shape[:0:-1]:
        steps.insert(0, steps[0] * m)
    image, *axes, each = steps
    pixels, pixel_steps = (n, *counts), (image, *(s * a for s, a in zip(stride, axes)))
    taps, tap_steps = tuple(kernel), tuple(d * a for d, a in zip(dilation, axes))
    rows = stride[-1] == 1
    if rows:
        pixels, pixel_steps, c = pixels[:-1], pixel_steps[:-1], counts[-1] * c
    shape, strides = (*pixels, *taps, c), (*pixel_steps, *tap_steps, each)
    if xp is np:
        return np.ndarray(shape, source.dtype, source, 0, strides), rows
    return xp.lib.stride_tricks.as_strided(source.reshape(-1), shape, strides), rows


def _subscripts(pixels: int, taps: int) -> tuple[str, str, str]:
    """Letters of the pixels' axes, of the taps' and of the channels'."""
    return "nabd"[:pixels], "ijk"[:taps], "c"


def correlate(xp: Any, x: Any, w: Any, stride: Ints, pads: Pads, dilation: Ints, counts: Ints) -> Any:
    """x (N, C, ...), w (O, 1, ...) -> (N, *counts, O)."""
    n, c = x.shape[:2]
    o, _, *kernel = w.shape
    out = xp.empty((n, *counts, o), x.dtype)
    view, rows = _windows(xp, _source(xp, x, pads, o // c), tuple(kernel), stride, dilation, counts)
    flat = w.reshape(o, -1).T  # (taps, O)
    if rows:
        flat = xp.concatenate([flat] * counts[-1], axis=1) if counts[-1] > 1 else flat
    target = out.reshape(*view.shape[: view.ndim - 1 - len(kernel)], view.shape[-1])
    if xp is np:
        p, t, e = _subscripts(target.ndim - 1, len(kernel))
        weights = np.ascontiguousarray(flat).reshape(*kernel, -1)
        np.einsum(f"{p}{t}{e},{t}{e}->{p}{e}", view, weights, out=target)
        return out
    for number, at in enumerate(itertools.product(*map(range, kernel))):
        pixels = view[(*(slice(None),) * (target.ndim - 1), *at)]
        if number:
            target += pixels * flat[number]
        else:
            xp.multiply(pixels, flat[0], out=target)
    return out


def weight_gradient(xp: Any, x: Any, g: Any, kernel: Ints, stride: Ints, pads: Pads, dilation: Ints) -> Any:
    """The adjoint of :func:`correlate` in its weight: x (N, C, ...), g (N, O, ...) -> (O, 1, *kernel)."""
    o, counts = g.shape[1], g.shape[2:]
    view, _ = _windows(xp, _source(xp, x, pads, o // x.shape[1]), kernel, stride, dilation, counts)
    pixels = view.ndim - 1 - len(kernel)
    g = channels_last(xp, g).reshape(*view.shape[:pixels], view.shape[-1])
    if xp is np:
        p, t, e = _subscripts(pixels, len(kernel))
        total = np.einsum(f"{p}{t}{e},{p}{e}->{t}{e}", view, g).reshape(math.prod(kernel), -1, o).sum(axis=1)
    else:
        axes = tuple(range(pixels))
        total = xp.stack(
            [
                (view[(*(slice(None),) * pixels, *at)] * g).sum(axis=axes).reshape(-1, o).sum(axis=0)
                for at in itertools.product(*map(range, kernel))
            ]
        )
    return total.T.reshape(o, 1, *kernel)


def input_gradient(xp: Any, g: Any, w: Any, size: Ints, stride: Ints, pads: Pads, dilation: Ints, groups: int) -> Any:
    """The adjoint of :func:`correlate` in its images: g (N, O, ...) -> (N, *size, C).

    The pixels of one phase (their place modulo the stride) hear of the same taps, at the distance of neighbouring outputs: the
    gradient of a phase is a correlation with those taps, mirrored, and nothing is computed for nothing.
    """
    n = g.shape[0]
    phases = [
        [_phase(r, k, s, p[0], d, m, count) for r in range(min(s, m))]
        for k, s, p, d, m, count in zip(w.shape[2:], stride, pads, dilation, size, g.shape[2:])
    ]
    if math.prod(stride) == 1:
        return _phase_gradient(xp, g, w, [axis[0] for axis in phases], groups)
    out = xp.empty((n, *size, groups), g.dtype)
    for phase in itertools.product(*phases):
        at = (slice(None), *(slice(part[0], None, s) for part, s in zip(phase, stride)))
        out[at] = 0 if any(part[1] is None for part in phase) else _phase_gradient(xp, g, w, phase, groups)
    return out


def _phase(r: int, kernel: int, stride: int, before: int, dilation: int, size: int, count: int) -> tuple[Any, ...]:
    """Of the pixels r, r + stride, ... of one axis: r, the taps that reach them, their dilation and padding, their number.

    Tap i of output y is at pixel y * stride - before + i * dilation.
    """
    taps = [i for i in range(kernel) if (r + before - i * dilation) % stride == 0]
    number = len(range(r, size, stride))
    if not taps:
        return r, None, 1, (0, 0), number
    step = (taps[1] - taps[0]) * dilation // stride if len(taps) > 1 else 1
    low = -((r + before - taps[-1] * dilation) // stride)
    chosen = slice(taps[0], None, taps[1] - taps[0]) if len(taps) > 1 else slice(taps[0], taps[0] + 1)
    return r, chosen, step, (low, number - 1 + extent(len(taps), step) - count - low), number


def _phase_gradient(xp: Any, g: Any, w: Any, phase: Any, groups: int) -> Any:
    n, o = g.shape[:2]
    taps = w[(slice(None), slice(None), *(part[1] for part in phase))]
    dilation, pads, counts = (tuple(part[i] for part in phase) for i in (2, 3, 4))
    out = correlate(xp, g, mirrored(taps), (1,) * len(counts), pads, dilation, counts)
    if o == groups:
        return out
    return out.reshape(n, *counts, groups, o // groups).sum(axis=-1)  # each input channel feeds several outputs
