"""Values read from and written to places of flattened images: what adaptive max pooling and max unpooling are made of."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DTypeError, IndexingError, ShapeError
from ..tensor import Tensor
from .indexing import check_integers, take_along_axis
from .scatter import spread_along_axis
from .shape import transpose
from .windows import Ints, check_images, hashable, ints, is_channels_last


def _flat(x: Any, last: bool) -> Any:
    """(N, C, ...) as (N, C, pixels), or as (N, pixels, C)."""
    n, c, *size = x.shape
    if not last:
        return x.reshape((n, c, math.prod(size)))
    return transpose(x, (0, *range(2, x.ndim), 1)).reshape((n, math.prod(size), c))


def _unflat(y: Any, size: Ints, last: bool) -> Any:
    """The images that :func:`_flat` made flat."""
    if not last:
        return y.reshape((*y.shape[:2], *size))
    images = y.reshape((y.shape[0], *size, y.shape[-1]))
    return transpose(images, (0, len(size) + 1, *range(1, len(size) + 1)))


def _lies_last(x: Any) -> bool:
    raw = x.data if isinstance(x, Tensor) else x
    flags = getattr(raw, "flags", None)  # a value inside of a transform has none
    return flags is not None and not flags.c_contiguous and is_channels_last(raw)


def pick(x: Any, places: Any) -> Any:
    """The elements of images at ``places`` (N, C, ...) in their flattened pixels, in the memory order of the images."""
    last = _lies_last(x)
    return _unflat(
        take_along_axis(_flat(x, last), _flat(places, last), 1 if last else 2), tuple(places.shape[2:]), last
    )


def _max_unpool(n: int, x: Any, indices: Any, kernel: Any, stride: Any, padding: Any, output_size: Any) -> Any:
    op = f"max_unpool{n}d"
    if not hasattr(x, "shape") or not hasattr(indices, "shape"):
        raise DTypeError(f"{op}: expected tensors or arrays, got {type(x).__name__} and {type(indices).__name__}")
    check_images(x.shape, n, op)
    check_integers(indices, op)
    if tuple(indices.shape) != tuple(x.shape):
        raise ShapeError(
            f"{op}: indices must have the shape of the images, {tuple(x.shape)}, got {tuple(indices.shape)}"
        )
    size = _size(op, n, tuple(x.shape[2:]), *map(hashable, (kernel, stride, padding, output_size)))
    last, pixels = _lies_last(x), math.prod(size)
    shape = (x.shape[0], pixels, x.shape[1]) if last else (x.shape[0], x.shape[1], pixels)
    try:
        written = spread_along_axis(_flat(x, last), _flat(indices, last), shape=shape, axis=1 if last else 2)
    except IndexingError as exc:
        raise IndexingError(f"{op}: an index lies outside of images of {size}, which have {pixels} pixels") from exc
    return _unflat(written, size, last)


def _size(op: str, n: int, pooled: Ints, kernel: Any, stride: Any, padding: Any, output_size: Any) -> Ints:
    """The size of the images that were pooled: the smallest that fits, or the wanted one if it is near enough."""
    kernel = ints(kernel, n, "kernel", op)
    stride = kernel if stride is None else ints(stride, n, "stride", op)
    padding = ints(padding, n, "padding", op, 0)
    size = tuple((m - 1) * s - 2 * p + k for m, s, p, k in zip(pooled, stride, padding, kernel))
    if output_size is None:
        if min(size) < 1:
            raise ShapeError(f"{op}: padding {padding} leaves nothing of the output, whose size would be {size}")
        return size
    wanted = output_size[-n:] if isinstance(output_size, tuple) and len(output_size) == n + 2 else output_size
    wanted = ints(wanted, n, "output_size", op)
    if any(abs(w - m) >= s for w, m, s in zip(wanted, size, stride)):
        raise ShapeError(f"{op}: output_size {wanted} must differ by less than the stride {stride} from {size}")
    return wanted


def max_unpool1d(
    x: Any, indices: Any, kernel: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """Zeros with each maximum at its place: x, indices (N, C, OL) -> (N, C, L); as :func:`max_unpool2d`."""
    return _max_unpool(1, x, indices, kernel, stride, padding, output_size)


def max_unpool2d(
    x: Any, indices: Any, kernel: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """Zeros with each maximum at the place that it came from: x, indices (N, C, OH, OW) -> (N, C, H, W).

    ``indices`` are what ``max_pool2d(..., return_indices=True)`` gave: places in the flattened image. ``kernel``, ``stride``
    (default: the kernel) and ``padding`` are those of the pool; the result has ``H = (OH - 1) * stride - 2 * padding + kh``
    unless ``output_size``, (H, W) or a whole shape that differs from it by less than a stride, says the size of the images.
    Where places repeat, one of the values stays and each of them gets the gradient of that place, as in PyTorch.

    Raises :class:`ShapeError` where shapes do not fit, :class:`DTypeError` for indices that are no integers,
    :class:`IndexingError` for places outside of the images.
    """
    return _max_unpool(2, x, indices, kernel, stride, padding, output_size)


def max_unpool3d(
    x: Any, indices: Any, kernel: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """Zeros with each maximum at its place: x, indices (N, C, OD, OH, OW) -> (N, C, D, H, W); as :func:`max_unpool2d`."""
    return _max_unpool(3, x, indices, kernel, stride, padding, output_size)
