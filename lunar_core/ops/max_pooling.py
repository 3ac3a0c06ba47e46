"""Max pooling of images and its adjoints."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..modes import modes
from ..op import OUTPUT, Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array
from .pooling import CASES, beside, case_counts, empty_like_images, laid_out, plan, pooled_spec, taps, tiles
from .windows import Pair, hashable, void


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


def _max_pool2d_forward(
    xp: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair
) -> Any:
    if tiles(x.shape[2:], kernel, stride, padding, dilation, counts):
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
    for _, at, pixels in taps(x.shape[2:], kernel, stride, padding, dilation, counts):
        target = out[at]
        xp.maximum(target, x[pixels], out=target)
    return out


def _filled(xp: Any, x: Any, counts: Pair) -> Any:
    """The lowest value everywhere, in the memory order of ``x``."""
    lowest = -np.inf if x.dtype.kind not in "biu" else np.iinfo(x.dtype).min
    out = empty_like_images(xp, x, (*x.shape[:2], *counts), x.dtype)
    out[...] = lowest
    return out


def _max_pool2d_index_forward(
    xp: Any, x: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair
) -> Any:
    small = _index_dtype(kernel)
    tiled = tiles(x.shape[2:], kernel, stride, padding, dilation, counts)
    dense = _dense_taps(xp, x, kernel, counts) if tiled else None
    if dense is not None:
        out = dense[0]
        index = np.zeros(out.shape, small)
        for number, values in enumerate(dense[1:], 1):
            _raise_index(xp, index, values > out, number)
            np.maximum(out, values, out=out)
        return out.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)
    if tiled:
        positions = taps(x.shape[2:], kernel, stride, padding, dilation, counts)
        out = x[next(positions)[2]].copy(order="K")
        index = xp.zeros_like(out, dtype=small)
        for number, _, pixels in positions:
            values = x[pixels]
            _raise_index(xp, index, values > out, number)
            xp.maximum(out, values, out=out)
        return out, index
    out = _filled(xp, x, counts)
    index = empty_like_images(xp, x, out.shape, small)
    index[...] = 0 if padding == (0, 0) else beside(x, _first_inside(kernel, stride, padding, dilation, counts), small)
    for number, at, pixels in taps(x.shape[2:], kernel, stride, padding, dilation, counts):
        values, target = x[pixels], out[at]
        _raise_index(xp, index[at], values > target, number)
        xp.maximum(target, values, out=target)
    return out, index


@functools.lru_cache(maxsize=64)
def _first_inside(kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair) -> np.ndarray:
    """The first tap of each window that lies inside the images: what wins where nothing is above minus infinity."""
    first = [np.maximum(0, -((np.arange(o) * s - p) // d)) for s, p, d, o in zip(stride, padding, dilation, counts)]
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
    if tiles(size, kernel, stride, padding, dilation, counts):
        exact = counts[0] * stride[0] == size[0] and counts[1] * stride[1] == size[1]
        out = empty_like_images(xp, index, shape, g.dtype)
        if not exact:
            out[:, :, counts[0] * stride[0] :] = 0
            out[:, :, :, counts[1] * stride[1] :] = 0
        y, c = out.transpose(0, 2, 3, 1), out.shape[1]
        as_pixels = xp is np and y.flags.c_contiguous and c < 64 and out.size >= 4096
        for number, _, pixels in taps(size, kernel, stride, padding, dilation, counts):
            if as_pixels:
                part = xp.multiply(g, index == number).transpose(0, 2, 3, 1)
                opaque = void(c * out.itemsize)
                y[:, pixels[1], pixels[2]].view(opaque)[...] = part.view(opaque)
            else:
                xp.multiply(g, index == number, out=out[pixels])
        return out
    out = empty_like_images(xp, index, shape, g.dtype)
    out[...] = 0
    for number, at, pixels in taps(size, kernel, stride, padding, dilation, counts):
        target = out[pixels]
        target += g[at] * (index[at] == number)
    return out


def _in_order_of(xp: Any, g: Any, index: Any) -> Any:
    """``g`` in the memory order of ``index``, so that what reads both runs along the memory."""
    if g.strides == tuple(s // index.itemsize * g.itemsize for s in index.strides):
        return g
    out = empty_like_images(xp, index, g.shape, g.dtype)
    out[...] = g
    return out


def _gather_forward(
    xp: Any, x: Any, index: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, counts: Pair
) -> Any:
    out = empty_like_images(xp, index, index.shape, x.dtype)
    out[...] = 0
    for number, at, pixels in taps(x.shape[2:], kernel, stride, padding, dilation, counts):
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


# -- samples -------------------------------------------------------------------------------------------------------


def _max_static(case: Any) -> dict[str, Any]:
    _, kernel, stride, padding, dilation, _ = case
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "counts": case_counts(case)}


def _max_samples(with_index: bool) -> Any:
    def make() -> list[Sample]:
        samples = []
        for i, case in enumerate([*CASES, ((2, 3, 32, 32), (2, 2), (2, 2), (0, 0), (1, 1), False)]):
            _, kernel, stride, padding, dilation, ceil = case

            def call(
                t: Any, x: Any, k: Any = kernel, s: Any = stride, p: Any = padding, d: Any = dilation, c: Any = ceil
            ) -> Any:
                return t.nn.functional.max_pool2d(x, k, s, p, d, ceil_mode=c, return_indices=with_index)

            samples.append(Sample((laid_out(i, case[0]),), _max_static(case), torch=call))
        return samples

    return make


def _some_index(case: Any, seed: int) -> np.ndarray:
    """Taps that lie inside the images, as the forward would give them."""
    return max_pool2d_with_index(array(seed, case[0]), **_max_static(case))[1]


def _scatter_samples() -> list[Sample]:
    return [
        Sample(
            (laid_out(i, (*case[0][:2], *case_counts(case))), _some_index(case, i)),
            {"size": case[0][2:], **_max_static(case)},
        )
        for i, case in enumerate(CASES)
    ]


def _gather_samples() -> list[Sample]:
    return [Sample((laid_out(i, case[0]), _some_index(case, i + 1)), _max_static(case)) for i, case in enumerate(CASES)]


# -- ops -----------------------------------------------------------------------------------------------------------

_max_pool2d = Op(
    "max_pool2d",
    _max_pool2d_forward,
    _max_vjp_without_index,
    save=0,
    heavy=True,
    abstract=pooled_spec,
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
    doc="The largest element of each window, and its position there (row-major, as bytes; the first one at ties).",
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


def max_pool2d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest element of each window: x (N, C, H, W) -> (N, C, OH, OW).

    ``kernel``, ``stride`` (default: the kernel), ``padding`` and ``dilation`` are ints or pairs (vertical,
    horizontal). Padding never wins; it is at most half of the kernel.
    ``OH = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1``; ``ceil_mode`` rounds up, if the last window
    starts inside. The gradient goes to the first largest element, in row order.
    """
    try:
        static = plan("max_pool2d", x.shape, kernel, stride, padding, dilation, ceil_mode)
    except TypeError:  # lists are no keys of a cache
        static = plan("max_pool2d", tuple(x.shape), *map(hashable, (kernel, stride, padding, dilation)), ceil_mode)
    if modes.grad and isinstance(x, Tensor) and x.node is not None:
        return max_pool2d_with_index(x, **static)[0]
    return _max_pool2d(x, **static)
