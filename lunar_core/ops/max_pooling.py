"""Max pooling of sequences, images and volumes, its adjoints, and where the maxima lie."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from ..modes import modes
from ..op import Op, Result, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array
from .pooling import CASES, Case, as_row, beside, case_counts, laid_out, plan, pooled_spec, taps, tiles
from .windows import IMAGES, Ints, channels_first, empty_like_images, moved_last, void


def _index_dtype(kernel: Ints) -> np.dtype:
    return np.min_scalar_type(math.prod(kernel) - 1)


def _dense_taps(xp: Any, x: Any, kernel: Ints, counts: Ints) -> list[Any] | None:
    """The taps of non-overlapping windows over channels-last images as dense arrays (N, ..., C).

    A pixel's channels are copied as one opaque element; computing on the slices directly would run loops of C numbers.
    """
    y = moved_last(x)
    if xp is not np or not y.flags.c_contiguous or x.size < 4096 or y.shape[-1] >= 64:
        return None
    n, c = x.shape[:2]
    pixels = y.view(void(c * x.itemsize))[..., 0]
    taps = []
    for at in itertools.product(*map(range, kernel)):
        dense = np.empty((n, *counts, c), x.dtype)
        places = (slice(i, i + k * o, k) for i, k, o in zip(at, kernel, counts))
        dense.view(pixels.dtype)[..., 0] = pixels[(slice(None), *places)]
        taps.append(dense)
    return taps


def _forward(xp: Any, x: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, counts: Ints) -> Any:
    if tiles(x.shape[2:], kernel, stride, padding, dilation, counts):
        # rows first: their slices have the longer inner loops
        out, before = x[(..., *(slice(k * o) for k, o in zip(kernel, counts)))], 2
        for k in kernel:
            if k > 1:
                at: tuple[slice, ...] = (slice(None),) * before
                rows, out = out, out[(*at, slice(None, None, k))]
                for i in range(1, k):
                    out = xp.maximum(out, rows[(*at, slice(i, None, k))])
            before += 1
        return out.copy(order="K") if math.prod(kernel) == 1 else out
    out = _filled(xp, x, counts)
    for _, at, pixels in taps(x.shape[2:], kernel, stride, padding, dilation, counts):
        target = out[at]
        xp.maximum(target, x[pixels], out=target)
    return out


def _filled(xp: Any, x: Any, counts: Ints) -> Any:
    """The lowest value everywhere, in the memory order of ``x``."""
    lowest = -np.inf if x.dtype.kind not in "biu" else np.iinfo(x.dtype).min
    out = empty_like_images(xp, x, (*x.shape[:2], *counts), x.dtype)
    out[...] = lowest
    return out


def _index_forward(xp: Any, x: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, counts: Ints) -> Any:
    small = _index_dtype(kernel)
    tiled = tiles(x.shape[2:], kernel, stride, padding, dilation, counts)
    dense = _dense_taps(xp, x, kernel, counts) if tiled else None
    if dense is not None:
        out = dense[0]
        index = np.zeros(out.shape, small)
        for number, values in enumerate(dense[1:], 1):
            _raise_index(xp, index, values > out, number)
            np.maximum(out, values, out=out)
        return channels_first(out), channels_first(index)
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
    index[...] = 0 if not any(padding) else beside(x, _first_inside(kernel, stride, padding, dilation, counts), small)
    for number, at, pixels in taps(x.shape[2:], kernel, stride, padding, dilation, counts):
        values, target = x[pixels], out[at]
        _raise_index(xp, index[at], values > target, number)
        xp.maximum(target, values, out=target)
    return out, index


@functools.lru_cache(maxsize=64)
def _first_inside(kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, counts: Ints) -> np.ndarray:
    """The first tap of each window that lies inside the images: what wins where nothing is above minus infinity."""
    first = [np.maximum(0, -((np.arange(o) * s - p) // d)) for s, p, d, o in zip(stride, padding, dilation, counts)]
    place = first[0]
    for k, inside in zip(kernel[1:], first[1:]):
        place = place[..., None] * k + inside
    return place


def _raise_index(xp: Any, index: Any, larger: Any, number: int) -> None:
    """``index = number`` where ``larger``; taps come in rising order, so a maximum does it without a branch."""
    numbers = larger.view(np.uint8) if xp is np and index.itemsize == 1 else larger.astype(index.dtype)
    if number != 1:
        numbers *= index.dtype.type(number)
    xp.maximum(index, numbers, out=index)


def _scatter_forward(
    xp: Any, g: Any, index: Any, size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, counts: Ints
) -> Any:
    g = _in_order_of(xp, g, index)
    shape = (*g.shape[:2], *size)
    if tiles(size, kernel, stride, padding, dilation, counts):
        out = empty_like_images(xp, index, shape, g.dtype)
        for axis, (o, s, m) in enumerate(zip(counts, stride, size), 2):
            if o * s < m:
                out[(slice(None),) * axis + (slice(o * s, None),)] = 0
        y, c = moved_last(out), out.shape[1]
        as_pixels = xp is np and y.flags.c_contiguous and c < 64 and out.size >= 4096
        for number, _, pixels in taps(size, kernel, stride, padding, dilation, counts):
            if as_pixels:
                part = moved_last(xp.multiply(g, index == number))
                opaque = void(c * out.itemsize)
                y[(slice(None), *pixels[1:])].view(opaque)[...] = part.view(opaque)
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
    xp: Any, x: Any, index: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, counts: Ints
) -> Any:
    out = empty_like_images(xp, index, index.shape, x.dtype)
    out[...] = 0
    for number, at, pixels in taps(x.shape[2:], kernel, stride, padding, dilation, counts):
        target = out[at]
        target += x[pixels] * (index[at] == number)
    return out


@functools.lru_cache(maxsize=64)
def _place_parts(size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, counts: Ints) -> Any:
    """The places in the flattened image of the first tap of each window, and of each tap relative to it."""
    first, offset = np.zeros((), np.int64), np.zeros((), np.int64)
    for n, k, s, p, d, o in zip(size, kernel, stride, padding, dilation, counts):
        first = first[..., None] * n + (np.arange(o) * s - p)
        offset = offset[..., None] * n + np.arange(k) * d
    return first, offset.reshape(-1)


def _places_forward(xp: Any, index: Any, size: Ints, **geometry: Ints) -> Any:
    first, offset = (beside(index, part, np.dtype(np.int64)) for part in _place_parts(size, **geometry))
    out = empty_like_images(xp, index, index.shape, np.dtype(np.int64))
    xp.add(offset[index], first, out=out)
    return out


pool_places = Op(
    "pool_places",
    _places_forward,
    abstract=lambda index, size, **_: Spec(index.shape, np.dtype(np.int64)),
    samples=lambda: [
        Sample(
            (_some_index(case, i),),
            {"size": case[0][2:], **_static(case)},
            torch=functools.partial(_torch_places, case, i),
        )
        for n in CASES
        for i, case in enumerate(CASES[n])
    ],
    doc="Positions in windows (as max pooling keeps them) to places in the flattened image, as PyTorch counts them.",
)


# -- samples -------------------------------------------------------------------------------------------------------


def _static(case: Case) -> dict[str, Any]:
    _, kernel, stride, padding, dilation, _ = case
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "counts": case_counts(case)}


def _torch_pool(case: Case, with_index: bool) -> Any:
    _, kernel, stride, padding, dilation, ceil = case

    def call(t: Any, x: Any) -> Any:
        pool = getattr(t.nn.functional, f"max_pool{len(kernel)}d")
        return pool(x, kernel, stride, padding, dilation, ceil_mode=ceil, return_indices=with_index)

    return call


def _torch_places(case: Case, seed: int, t: Any, index: Any) -> Any:
    return _torch_pool(case, True)(t, t.from_numpy(array(seed, case[0])))[1]


def _samples(n: int, with_index: bool) -> list[Sample]:
    large: list[Case] = [((2, 3, 32, 32), (2, 2), (2, 2), (0, 0), (1, 1), False)] if n == 2 else []
    return [
        Sample((laid_out(i, case[0]),), _static(case), torch=_torch_pool(case, with_index))
        for i, case in enumerate([*CASES[n], *large])
    ]


def _some_index(case: Case, seed: int) -> np.ndarray:
    """Taps that lie inside the images, as the forward would give them."""
    index: np.ndarray = FAMILIES[len(case[1])].with_index(array(seed, case[0]), **_static(case))[1]
    return index


def _scatter_samples(n: int) -> list[Sample]:
    return [
        Sample(
            (laid_out(i, (*case[0][:2], *case_counts(case))), _some_index(case, i)),
            {"size": case[0][2:], **_static(case)},
        )
        for i, case in enumerate(CASES[n])
    ]


def _gather_samples(n: int) -> list[Sample]:
    return [Sample((laid_out(i, case[0]), _some_index(case, i + 1)), _static(case)) for i, case in enumerate(CASES[n])]


# -- ops -----------------------------------------------------------------------------------------------------------


class Family(NamedTuple):
    """The ops of one number of spatial axes."""

    pool: Op
    with_index: Op
    grad: Op
    grad_grad: Op


def _of_rows(name: str) -> Any:
    """A forward for sequences: that of images of one row, through the images' kernel providers."""

    def run(xp: Any, *arrays: Any, **geometry: Any) -> Any:
        function = getattr(FAMILIES[2], name).bound(type(arrays[0]))
        out = function(*(a[:, :, None] for a in arrays), **as_row(geometry))
        return tuple(a[:, :, 0] for a in out) if isinstance(out, tuple) else out[:, :, 0]

    return run


def _family(n: int) -> Family:
    name = f"max_pool{n}d"
    one = n == 1

    def vjp_without_index(F: Any, g: Any, x: Any, need: Any, **geometry: Any) -> Any:
        raw = x.data if isinstance(x, Tensor) else x
        _, index = with_index(raw, **geometry)
        return (getattr(F, f"{name}_grad")(g, index, size=tuple(x.shape[2:]), **geometry),)

    def vjp(F: Any, g: Any, saved: Any, need: Any, **geometry: Any) -> Any:
        index, shape = saved
        return (getattr(F, f"{name}_grad")(g[0], index, size=tuple(shape[2:]), **geometry),)

    def grad_vjp(F: Any, h: Any, index: Any, need: Any, size: Ints, **geometry: Any) -> Any:
        return getattr(F, f"{name}_grad_grad")(h, index, **geometry), None

    def grad_grad_vjp(F: Any, h: Any, saved: Any, need: Any, **geometry: Any) -> Any:
        return getattr(F, f"{name}_grad")(h, saved[0], size=tuple(saved[1][2:]), **geometry), None

    pool = Op(
        name,
        _of_rows("pool") if one else _forward,
        vjp_without_index,
        save=0,
        heavy=True,
        abstract=pooled_spec,
        samples=functools.partial(_samples, n, False),
        doc=f"The largest element of each window of {IMAGES[n]}.",
    )
    with_index = Op(
        f"{name}_with_index",
        _of_rows("with_index") if one else _index_forward,
        vjp,
        save=(Result(1), Shape(0)),
        heavy=True,
        results=1,
        abstract=lambda x, kernel, counts, **_: (
            Spec((*x.shape[:2], *counts), x.dtype),
            Spec((*x.shape[:2], *counts), _index_dtype(kernel)),
        ),
        samples=functools.partial(_samples, n, True),
        doc="The largest element of each window, and its position there (row-major, as bytes; the first one at ties).",
    )
    grad = Op(
        f"{name}_grad",
        _of_rows("grad") if one else _scatter_forward,
        grad_vjp,
        save=1,
        heavy=True,
        abstract=lambda g, index, size, **_: Spec((*g.shape[:2], *size), g.dtype),
        samples=functools.partial(_scatter_samples, n),
        doc="Zeros of ``size`` with each window's gradient added at its position: the adjoint of picking there.",
    )
    grad_grad = Op(
        f"{name}_grad_grad",
        _of_rows("grad_grad") if one else _gather_forward,
        grad_grad_vjp,
        save=(1, Shape(0)),
        heavy=True,
        abstract=lambda x, index, counts, **_: Spec((*x.shape[:2], *counts), x.dtype),
        samples=functools.partial(_gather_samples, n),
        doc="The element of each window at a given position.",
    )
    return Family(pool, with_index, grad, grad_grad)


FAMILIES: dict[int, Family] = {}
for _n in (1, 2, 3):
    FAMILIES[_n] = _family(_n)
_, max_pool1d_with_index, max_pool1d_grad, max_pool1d_grad_grad = FAMILIES[1]
_, max_pool2d_with_index, max_pool2d_grad, max_pool2d_grad_grad = FAMILIES[2]
_, max_pool3d_with_index, max_pool3d_grad, max_pool3d_grad_grad = FAMILIES[3]


def max_pool(
    n: int,
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    return_indices: bool = False,
) -> Any:
    """:func:`max_pool2d` over ``n`` spatial axes."""
    static = plan(f"max_pool{n}d", n, x, kernel, stride, padding, dilation, ceil_mode)
    if return_indices:
        out, index = FAMILIES[n].with_index(x, **static)
        return out, pool_places(index, size=tuple(x.shape[2:]), **static)
    if modes.grad and isinstance(x, Tensor) and x.node is not None:
        return FAMILIES[n].with_index(x, **static)[0]
    return FAMILIES[n].pool(x, **static)


def max_pool1d(
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of sequences: x (N, C, L) -> (N, C, OL); otherwise as :func:`max_pool2d`."""
    return max_pool(1, x, kernel, stride, padding, dilation, ceil_mode, return_indices=return_indices)


def max_pool2d(
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window: x (N, C, H, W) -> (N, C, OH, OW).

    ``kernel``, ``stride`` (default: the kernel), ``padding`` and ``dilation`` are ints or pairs (vertical,
    horizontal). Padding never wins; it is at most half of the kernel.
    ``OH = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1``; ``ceil_mode`` rounds up, if the last window
    starts inside. The gradient goes to the first largest element, in row order. NaN wins a window, but the place and the
    gradient of such a window are those of a number.

    ``return_indices`` also gives the places of the maxima, int64 of the result's shape: row * W + column, as PyTorch counts
    them and :func:`max_unpool2d` takes them.

    Raises :class:`ShapeError` where kernel, padding or images do not fit.
    """
    return max_pool(2, x, kernel, stride, padding, dilation, ceil_mode, return_indices=return_indices)


def max_pool3d(
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of volumes: x (N, C, D, H, W) -> (N, C, OD, OH, OW).

    Otherwise as :func:`max_pool2d`, with three numbers (depth, vertical, horizontal) in place of two; places are
    (depth * H + row) * W + column.
    """
    return max_pool(3, x, kernel, stride, padding, dilation, ceil_mode, return_indices=return_indices)
