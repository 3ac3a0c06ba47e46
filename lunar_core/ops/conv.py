"""Convolution of images: conv2d, its adjoints, conv1d and conv_transpose2d.

"Convolution" is the field's word for cross-correlation: the kernel is not mirrored. Three ops are closed under
differentiation, so that any order works: the convolution itself, its gradient in the input and its gradient in the
weight; each one's rule is made of the other two. All three are dispatched to kernel providers.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from . import columns
from .common import array, wide
from .windows import (
    Pads,
    Pair,
    channels_first,
    check_images,
    extent,
    hashable,
    padding_of,
    pair,
    tiled,
    window_count,
    window_counts,
)


@functools.lru_cache(maxsize=512)
def _counts(size: Pair, kernel: Pair, stride: Pair, padding: Pads, dilation: Pair) -> Pair:
    (h, w), (kh, kw) = size, kernel
    return (
        window_count(h, kh, stride[0], padding[0], dilation[0]),
        window_count(w, kw, stride[1], padding[1], dilation[1]),
    )


def _together(op: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Both arrays in one floating dtype."""
    if x.dtype == y.dtype and x.dtype.kind != "c":
        return x, y
    dtype = np.result_type(x.dtype, y.dtype)
    if dtype.kind == "c":
        raise DTypeError(f"{op}: complex images are not supported, got {x.dtype} and {y.dtype}")
    return x.astype(dtype), y.astype(dtype)


# -- sums over pixels --------------------------------------------------------------------------------------------------


def sum_channels(xp: Any, x: Any) -> Any:
    """The forward of :data:`channel_sum`, for raw arrays."""
    order = (0, *range(2, x.ndim), 1)
    y = x.transpose(order)
    c = x.shape[1]
    if x.dtype.char not in "fd" or not x.size or not y.flags.c_contiguous:
        if wide(x.dtype):
            return x.sum(axis=order[:-1], dtype=np.float32).astype(x.dtype)
        return x.sum(axis=order[:-1])
    # channels-last: products with ones run at the memory's speed, NumPy's sum over leading axes at a twentieth of it
    rows = y.size // c
    if rows <= 1 << 14:
        return xp.ones(rows, x.dtype).dot(y.reshape(rows, c))
    y = y.reshape(x.shape[0], -1, c)  # image by image, so that rounding does not grow with the batch
    return xp.matmul(xp.ones((1, y.shape[1]), x.dtype), y).sum(axis=(0, 1))


channel_sum = Op(
    "channel_sum",
    sum_channels,
    lambda F, g, shape, need: (F.broadcast_to(g.reshape((1, shape[1]) + (1,) * (len(shape) - 2)), shape),),
    save=Shape(0),
    abstract=lambda x: Spec(x.shape[1:2], x.dtype),
    samples=lambda: [
        Sample((array(0, (3, 2)),), torch=lambda t, x: x.sum(0)),
        Sample((array(1, (2, 3, 4)),), torch=lambda t, x: x.sum((0, 2))),
        Sample((array(2, (2, 3, 2, 2)),), torch=lambda t, x: x.sum((0, 2, 3))),
        Sample((_image(3, (2, 3, 2, 4)),), torch=lambda t, x: x.sum((0, 2, 3))),
    ],
    doc="Sum over all axes but axis 1: (N, C, ...) -> (C,).",
)


# -- the three products ------------------------------------------------------------------------------------------------


def _conv2d_forward(
    xp: Any, x: Any, w: Any, bias: Any, stride: Pair, padding: Pads, dilation: Pair, groups: int
) -> Any:
    x, w = _together("conv2d", x, w)
    counts = _counts(x.shape[2:], w.shape[2:], stride, padding, dilation)
    out = columns.correlate(xp, x, w, stride, padding, dilation, counts, groups)
    if bias is not None:
        if out.flags.c_contiguous and not out.transpose(0, 2, 3, 1).flags.c_contiguous:
            out += bias.reshape(-1, 1, 1)
        else:
            o, oh, ow = out.shape[1:]
            repeats = oh * ow if oh * ow * o <= 1 << 16 else ow
            rows = out.transpose(0, 2, 3, 1).reshape(-1, repeats * o)  # a view: long inner loops for the sum
            rows += tiled(bias, repeats)
    return out


def _conv2d_vjp(F: Any, g: Any, saved: Any, need: Any, **geometry: Any) -> Any:
    x, w, _ = saved
    if not isinstance(g, Tensor):
        g = _densely(g)
    return (
        F.conv2d_input_grad(g, w, size=tuple(x.shape[2:]), **geometry) if need[0] else None,
        F.conv2d_weight_grad(x, g, kernel=tuple(w.shape[2:]), **geometry) if need[1] else None,
        F.channel_sum(g) if need[2] else None,
    )


def _densely(g: Any) -> Any:
    """A raw gradient channels-last in memory, made so once for the two or three products that read it."""
    y = g.transpose(0, 2, 3, 1)
    return g if y.flags.c_contiguous else channels_first(y.copy())


def _conv2d_spec(x: Spec, w: Spec, bias: Any, stride: Pair, padding: Pads, dilation: Pair, groups: int) -> Spec:
    counts = _counts(x.shape[2:], w.shape[2:], stride, padding, dilation)  # type: ignore[arg-type]
    return Spec((x.shape[0], w.shape[0], *counts), np.result_type(x.dtype, w.dtype))


def _input_grad_vjp(F: Any, h: Any, saved: Any, need: Any, size: Pair, **geometry: Any) -> Any:
    g, w = saved
    return (
        _conv2d(h, w, None, **geometry) if need[0] else None,
        F.conv2d_weight_grad(h, g, kernel=tuple(w.shape[2:]), **geometry) if need[1] else None,
    )


def _weight_grad_vjp(F: Any, h: Any, saved: Any, need: Any, kernel: Pair, **geometry: Any) -> Any:
    x, g = saved
    return (
        F.conv2d_input_grad(g, h, size=tuple(x.shape[2:]), **geometry) if need[0] else None,
        _conv2d(x, h, None, **geometry) if need[1] else None,
    )


def _input_grad_forward(
    xp: Any, g: Any, w: Any, size: Pair, stride: Pair, padding: Pads, dilation: Pair, groups: int
) -> Any:
    g, w = _together("conv2d_input_grad", g, w)
    return columns.input_gradient(xp, g, w, size, stride, padding, dilation, groups)


def _weight_grad_forward(
    xp: Any, x: Any, g: Any, kernel: Pair, stride: Pair, padding: Pads, dilation: Pair, groups: int
) -> Any:
    x, g = _together("conv2d_weight_grad", x, g)
    return columns.weight_gradient(xp, x, g, kernel, stride, padding, dilation, groups)


# -- samples -----------------------------------------------------------------------------------------------------------


def _image(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """An NCHW-shaped array that lies channels-last in memory."""
    n, c, h, w = shape
    return channels_first(array(seed, (n, h, w, c)))


# (images, weight, stride, padding, dilation, groups): every path of the reference kernels at a small size
_CASES: list[tuple[tuple[int, ...], tuple[int, ...], Pair, Pads, Pair, int]] = [
    ((2, 2, 4, 4), (3, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((2, 1, 3, 9), (2, 1, 2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 2, 5, 4), (2, 2, 3, 2), (2, 1), ((1, 0), (0, 1)), (1, 1), 1),
    ((1, 2, 6, 5), (2, 2, 2, 3), (1, 1), ((2, 2), (1, 0)), (2, 2), 1),
    ((2, 4, 4, 3), (6, 2, 2, 2), (1, 1), ((0, 1), (1, 0)), (1, 1), 2),
    ((1, 4, 5, 4), (4, 2, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 2),
    ((2, 3, 4, 4), (3, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    ((1, 2, 5, 5), (4, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 2),
    ((1, 2, 4, 5), (4, 1, 2, 3), (1, 1), ((1, 0), (0, 1)), (1, 1), 2),
    ((2, 3, 2, 3), (2, 3, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 2, 4, 4), (3, 2, 2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 2, 5, 5), (2, 2, 1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
]


def _torch_conv(case: Any, with_bias: bool) -> Any:
    _, _, stride, ((top, bottom), (left, right)), dilation, groups = case

    def call(t: Any, x: Any, w: Any, b: Any = None) -> Any:
        x = t.nn.functional.pad(x, (left, right, top, bottom))
        return t.nn.functional.conv2d(x, w, b, stride=stride, dilation=dilation, groups=groups)

    return call


def _geometry(case: Any) -> dict[str, Any]:
    _, _, stride, padding, dilation, groups = case
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _conv2d_samples() -> list[Sample]:
    samples = []
    for i, case in enumerate(_CASES):
        x = array(i, case[0]) if i % 2 else _image(i, case[0])
        bias = array(i + 90, case[1][:1]) if i % 3 else None
        samples.append(
            Sample((x, array(i + 40, case[1]), bias), _geometry(case), torch=_torch_conv(case, bias is not None))
        )
    return samples


def _output_shape(case: Any) -> tuple[int, ...]:
    (n, _, h, w), (o, _, kh, kw), stride, padding, dilation, _ = case
    return (n, o, *_counts((h, w), (kh, kw), stride, padding, dilation))


def _input_grad_samples() -> list[Sample]:
    return [
        Sample((array(i, _output_shape(case)), array(i + 40, case[1])), {"size": case[0][2:], **_geometry(case)})
        for i, case in enumerate(_CASES)
    ]


def _weight_grad_samples() -> list[Sample]:
    return [
        Sample((_image(i, case[0]), array(i + 40, _output_shape(case))), {"kernel": case[1][2:], **_geometry(case)})
        for i, case in enumerate(_CASES)
    ]


_conv2d = Op(
    "conv2d",
    _conv2d_forward,
    _conv2d_vjp,
    save=(0, 1, Shape(2)),
    heavy=True,
    abstract=_conv2d_spec,
    samples=_conv2d_samples,
    doc="Cross-correlation of images with a kernel, plus a bias.",
)
conv2d_input_grad = Op(
    "conv2d_input_grad",
    _input_grad_forward,
    _input_grad_vjp,
    save=(0, 1),
    heavy=True,
    abstract=lambda g, w, size, stride, padding, dilation, groups: Spec(
        (g.shape[0], w.shape[1] * groups, *size), np.result_type(g.dtype, w.dtype)
    ),
    samples=_input_grad_samples,
    doc="The adjoint of conv2d in its images: gradients of the output back to images of ``size``.",
)
conv2d_weight_grad = Op(
    "conv2d_weight_grad",
    _weight_grad_forward,
    _weight_grad_vjp,
    save=(0, 1),
    heavy=True,
    abstract=lambda x, g, kernel, stride, padding, dilation, groups: Spec(
        (g.shape[1], x.shape[1] // groups, *kernel), np.result_type(x.dtype, g.dtype)
    ),
    samples=_weight_grad_samples,
    doc="The adjoint of conv2d in its weight: images and gradients of the output to the gradient of a ``kernel``.",
)


# -- what a user calls -------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=512)
def _plan(
    x: tuple[int, ...], w: tuple[int, ...], bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> dict[str, Any]:
    """The checked and normalised geometry of a call, decided once for each set of shapes."""
    check_images(x, "conv2d")
    if len(w) != 4:
        raise ShapeError(f"conv2d: weight must have shape (O, C / groups, kh, kw), got {w}")
    if not isinstance(groups, int) or groups < 1:
        raise ShapeError(f"conv2d: groups must be a positive int, got {groups!r}")
    o, per_group, kh, kw = w
    if x[1] % groups or o % groups:
        raise ShapeError(f"conv2d: groups={groups} must divide the {x[1]} input channels and the {o} output channels")
    if x[1] != per_group * groups:
        group_text = f" in {groups} groups" if groups > 1 else ""
        raise ShapeError(
            f"conv2d: weight of shape {w} takes images of {per_group * groups} channels{group_text}, got {x}"
        )
    if bias is not None and bias != (o,):
        raise ShapeError(f"conv2d: bias must have shape ({o},), one number for each output channel, got {bias}")
    stride, dilation = pair(stride, "stride", "conv2d"), pair(dilation, "dilation", "conv2d")
    pads = padding_of(padding, x[2:], (kh, kw), stride, dilation, "conv2d")  # type: ignore[arg-type]
    window_counts(x[2:], (kh, kw), stride, pads, dilation, "conv2d")  # type: ignore[arg-type]
    return {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups}


_apply_conv2d = _conv2d.applier(3)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """2-D convolution (cross-correlation) of images.

    Shapes: x (N, C, H, W), weight (O, C / groups, kh, kw), bias (O,) or ``None`` -> (N, O, OH, OW) with
    ``OH = (H + top + bottom - dilation * (kh - 1) - 1) // stride + 1``. The result lies channels-last in memory, except
    for a 1x1 kernel over images that do not.

    ``stride`` and ``dilation`` are ints or pairs (vertical, horizontal). ``padding`` is an int, a pair,
    ``((top, bottom), (left, right))``, ``"valid"`` (none) or ``"same"`` (OH = ceil(H / stride); an odd total has the
    extra row at the bottom, the extra column at the right). ``groups`` splits input and output channels into independent
    convolutions; ``groups == C`` is depthwise.

    Raises :class:`ShapeError` where channels, groups, bias or kernel do not fit the images.
    """
    try:
        static = _plan(x.shape, weight.shape, None if bias is None else bias.shape, stride, padding, dilation, groups)
    except TypeError:  # lists are no keys of a cache
        shapes = tuple(x.shape), tuple(weight.shape), None if bias is None else tuple(bias.shape)
        static = _plan(*shapes, hashable(stride), hashable(padding), hashable(dilation), groups)
    return _apply_conv2d(x, weight, bias, **static)


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: int = 1, padding: Any = 0, dilation: int = 1, groups: int = 1
) -> Any:
    """1-D convolution of sequences: x (N, C, L), weight (O, C / groups, k), bias (O,) or ``None`` -> (N, O, OL).

    ``padding`` is an int, a pair (before, after), ``"same"`` or ``"valid"``; otherwise as :func:`conv2d`, which
    computes it.
    """
    if x.ndim != 3 or weight.ndim != 3:
        raise ShapeError(
            f"conv1d expects x (N, C, L) and weight (O, C / groups, k), got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    if not isinstance(padding, str):
        padding = ((0, 0), (padding, padding) if isinstance(padding, int) else tuple(padding))
    x, weight = x.reshape((*x.shape[:2], 1, x.shape[2])), weight.reshape((*weight.shape[:2], 1, weight.shape[2]))
    out = conv2d(x, weight, bias, (1, stride), padding, (1, dilation), groups)
    return out.reshape((*out.shape[:2], out.shape[3]))


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
    ``padding`` crops the result: an int, a pair or ``((top, bottom), (left, right))``. ``output_padding`` (int or pair,
    less than the stride) picks the size among those that the convolution would have mapped to (H, W).
    """
    check_images(x.shape, "conv_transpose2d")
    if weight.ndim != 4 or weight.shape[0] != x.shape[1] or x.shape[1] % groups:
        raise ShapeError(
            f"conv_transpose2d: weight of shape {tuple(weight.shape)} does not fit images {tuple(x.shape)} in {groups} "
            "groups; expected (C, O / groups, kh, kw) with groups dividing C"
        )
    stride, dilation = (
        pair(hashable(stride), "stride", "conv_transpose2d"),
        pair(hashable(dilation), "dilation", "conv_transpose2d"),
    )
    extra = pair(hashable(output_padding), "output_padding", "conv_transpose2d", 0)
    kernel = tuple(weight.shape[2:])
    pads = padding_of(hashable(padding), x.shape[2:], kernel, stride, dilation, "conv_transpose2d")
    if any(e >= s for e, s in zip(extra, stride)):
        raise ShapeError(f"conv_transpose2d: output_padding {extra} must be less than the stride {stride}")
    size = tuple(
        (n - 1) * s - sum(p) + extent(k, d) + e
        for n, s, p, k, d, e in zip(x.shape[2:], stride, pads, kernel, dilation, extra)
    )
    if min(size) < 1:
        raise ShapeError(f"conv_transpose2d: padding {pads} leaves nothing of the output, whose size would be {size}")
    out = conv2d_input_grad(x, weight, size=size, stride=stride, padding=pads, dilation=dilation, groups=groups)
    return out if bias is None else out + bias.reshape((-1, 1, 1))
