"""Transposed convolution of sequences, images and volumes: the adjoints of the convolutions in their images."""

from __future__ import annotations

import functools
from typing import Any

from ..errors import DTypeError, ShapeError
from .conv import FAMILIES, KERNEL, check_bias, check_groups
from .windows import check_images, extent, hashable, ints, padding_of


@functools.lru_cache(maxsize=512)
def _plan(
    n: int,
    x: tuple[int, ...],
    w: tuple[int, ...],
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: Any,
) -> dict[str, Any]:
    """The checked and normalised geometry of a call, decided once for each set of shapes."""
    op = f"conv_transpose{n}d"
    check_images(x, n, op)
    if len(w) != n + 2 or w[0] != x[1]:
        raise ShapeError(
            f"{op}: weight of shape {w} does not fit images {x}; expected ({x[1]}, O / groups, {KERNEL[n]}) for their "
            f"{x[1]} channels"
        )
    if min(w[1:]) < 1:
        raise ShapeError(f"{op}: the weight of shape {w} is empty")
    check_groups(op, groups, x[1], w[1] * groups if isinstance(groups, int) else 0)
    check_bias(op, bias, w[1] * groups)
    kernel, size = w[2:], x[2:]
    stride, dilation = ints(stride, n, "stride", op), ints(dilation, n, "dilation", op)
    extra = ints(output_padding, n, "output_padding", op, 0)
    if padding == "same":
        if any(extra):
            raise ShapeError(f"{op}: output_padding {extra} has no meaning with padding='same', whose size is given")
        out = tuple(m * s for m, s in zip(size, stride))
        pads = padding_of(padding, out, kernel, stride, dilation, op)
    else:
        if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
            raise ShapeError(
                f"{op}: output_padding {extra} must be less than the stride {stride} or the dilation {dilation}"
            )
        pads = padding_of(padding, size, kernel, stride, dilation, op)
        out = tuple(
            (m - 1) * s - sum(p) + extent(k, d) + e
            for m, s, p, k, d, e in zip(size, stride, pads, kernel, dilation, extra)
        )
        if min(out) < 1:
            raise ShapeError(f"{op}: padding {pads} leaves nothing of the output, whose size would be {out}")
        # the convolution must map this size to the size of x: whole strides of output_padding are no pixels of its border
        pads = tuple((p[0], p[1] - e // s * s) for p, e, s in zip(pads, extra, stride))
    return {"size": out, "stride": stride, "padding": pads, "dilation": dilation, "groups": int(groups)}


def _transposed(n: int, x: Any, weight: Any, bias: Any, *geometry: Any) -> Any:
    try:
        shapes = x.shape, weight.shape, None if bias is None else bias.shape
    except AttributeError:
        raise DTypeError(
            f"conv_transpose{n}d: expected tensors or arrays, got {type(x).__name__} and {type(weight).__name__}"
        ) from None
    try:
        static = _plan(n, *shapes, *geometry)
    except TypeError:  # lists are no keys of a cache
        static = _plan(n, *map(hashable, (*shapes, *geometry)))
    out = FAMILIES[n].input_grad(x, weight, **static)
    return out if bias is None else out + bias.reshape((-1,) + (1,) * n)


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Transposed convolution of sequences: x (N, C, L), weight (C, O / groups, k), bias (O,) or ``None`` -> (N, O, OL).

    ``padding`` is an int, a pair (before, after), ``"same"`` or ``"valid"``; otherwise as :func:`conv_transpose2d`.
    """
    return _transposed(1, x, weight, bias, stride, padding, output_padding, dilation, groups)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Transposed convolution, the adjoint of :func:`conv2d` in its images.

    Shapes: x (N, C, H, W), weight (C, O / groups, kh, kw), bias (O,) or ``None`` -> (N, O, OH, OW) with
    ``OH = (H - 1) * stride - top - bottom + dilation * (kh - 1) + output_padding + 1``.

    ``padding`` crops the result: an int, a pair, ``((top, bottom), (left, right))``, ``"valid"`` (none) or ``"same"``
    (OH = H * stride, the adjoint of a convolution with ``"same"``). ``output_padding`` (int or pair, less than the stride
    or the dilation) adds rows at the bottom and columns at the right, which picks the size among those that the
    convolution would have mapped to (H, W).

    Raises :class:`ShapeError` where channels, groups, bias, padding or output_padding do not fit.
    """
    return _transposed(2, x, weight, bias, stride, padding, output_padding, dilation, groups)


def conv_transpose3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Transposed convolution of volumes: x (N, C, D, H, W), weight (C, O / groups, kd, kh, kw) -> (N, O, OD, OH, OW).

    The geometry is that of :func:`conv_transpose2d` with three numbers (depth, vertical, horizontal) in place of two.
    """
    return _transposed(3, x, weight, bias, stride, padding, output_padding, dilation, groups)
