"""Convolution of sequences, images and volumes, and its adjoints.

"Convolution" is the field's word for cross-correlation: the kernel is not mirrored. For each number of spatial axes there
are three ops, closed under differentiation, so that any order works: the convolution itself, its gradient in the input and
its gradient in the weight; each one's rule is made of the other two. All are dispatched to kernel providers. One text makes
the ops of every dimension; those of sequences are computed as images of one row, by whichever kernel the images have.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from . import columns
from . import conv_samples as cases
from .common import array, wide
from .windows import (
    IMAGES,
    Ints,
    Pads,
    channels_first,
    check_images,
    hashable,
    ints,
    is_int,
    moved_last,
    padding_of,
    tiled,
    window_count,
    window_counts,
)

KERNEL = {1: "k", 2: "kh, kw", 3: "kd, kh, kw"}


@functools.lru_cache(maxsize=512)
def _counts(size: Ints, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints) -> Ints:
    return tuple(window_count(*axis) for axis in zip(size, kernel, stride, padding, dilation))


def _computed(op: str, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Both arrays in the floating dtype to compute in, and the dtype of the result: half precision adds up in float32."""
    dtype = x.dtype
    if dtype != y.dtype or dtype.kind == "c":
        dtype = np.result_type(dtype, y.dtype)
        if dtype.kind == "c":
            raise DTypeError(f"{op}: complex images are not supported, got {x.dtype} and {y.dtype}")
        x, y = x.astype(dtype), y.astype(dtype)
    single = wide(dtype)
    return (x, y, dtype) if single is None else (x.astype(single), y.astype(single), dtype)


# -- sums over pixels --------------------------------------------------------------------------------------------------


def sum_channels(xp: Any, x: Any) -> Any:
    """The forward of :data:`channel_sum`, for raw arrays."""
    y = moved_last(x)
    c = x.shape[1]
    if x.dtype.char not in "fd" or not x.size or not y.flags.c_contiguous:
        axes = (0, *range(2, x.ndim))
        if wide(x.dtype):
            return x.sum(axis=axes, dtype=np.float32).astype(x.dtype)
        return x.sum(axis=axes)
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
    jvp="linear",
    abstract=lambda x: Spec(x.shape[1:2], x.dtype),
    samples=lambda: [
        Sample((array(0, (3, 2)),), torch=lambda t, x: x.sum(0)),
        Sample((array(1, (2, 3, 4)),), torch=lambda t, x: x.sum((0, 2))),
        Sample((array(2, (2, 3, 2, 2)),), torch=lambda t, x: x.sum((0, 2, 3))),
        Sample((cases.images(3, (2, 3, 2, 4)),), torch=lambda t, x: x.sum((0, 2, 3))),
        Sample((cases.images(4, (2, 3, 2, 2, 3)),), torch=lambda t, x: x.sum((0, 2, 3, 4))),
    ],
    doc="Sum over all axes but axis 1: (N, C, ...) -> (C,).",
)


# -- the three products ------------------------------------------------------------------------------------------------


def _add_bias(out: Any, bias: Any) -> None:
    y = moved_last(out)
    if out.flags.c_contiguous and not y.flags.c_contiguous:
        out += bias.reshape(-1, *(1,) * (out.ndim - 2))
        return
    o, width = y.shape[-1], y.shape[-2]
    pixels = y[0].size // max(1, o) if len(y) else width
    repeats = pixels if pixels * o <= 1 << 16 else width
    rows = y.reshape(-1, repeats * o)  # a view: long inner loops for the sum
    rows += tiled(bias, repeats)


def _densely(g: Any) -> Any:
    """A raw gradient channels-last in memory, made so once for the two or three products that read it."""
    y = moved_last(g)
    return g if y.flags.c_contiguous else channels_first(y.copy())


def _row(a: Any) -> Any:
    """A sequence as an image of one row."""
    return a[:, :, None]


def _row_geometry(geometry: dict[str, Any]) -> dict[str, Any]:
    """The static arguments of one axis as those of images of one row."""
    filler: dict[str, Any] = {"padding": (0, 0)}
    return {k: v if k == "groups" else (filler.get(k, 1), *v) for k, v in geometry.items()}


class Family(NamedTuple):
    """The ops of one number of spatial axes."""

    convolve: Op
    input_grad: Op
    weight_grad: Op


def _family(n: int) -> Family:
    name = f"conv{n}d"

    def forward(xp: Any, x: Any, w: Any, bias: Any, stride: Ints, padding: Pads, dilation: Ints, groups: int) -> Any:
        x, w, dtype = _computed(name, x, w)
        counts = _counts(x.shape[2:], w.shape[2:], stride, padding, dilation)
        out = columns.correlate(xp, x, w, stride, padding, dilation, counts, groups)
        if bias is not None:
            _add_bias(out, bias)
        return out if out.dtype == dtype else out.astype(dtype)

    def input_grad_forward(
        xp: Any, g: Any, w: Any, size: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
    ) -> Any:
        g, w, dtype = _computed(f"{name}_input_grad", g, w)
        out = columns.input_gradient(xp, g, w, size, stride, padding, dilation, groups)
        return out if out.dtype == dtype else out.astype(dtype)

    def weight_grad_forward(
        xp: Any, x: Any, g: Any, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
    ) -> Any:
        x, g, dtype = _computed(f"{name}_weight_grad", x, g)
        out = columns.weight_gradient(xp, x, g, kernel, stride, padding, dilation, groups)
        return out if out.dtype == dtype else out.astype(dtype)

    def of_rows(which: int) -> Any:
        """A forward for sequences: that of images, through the images' kernel providers."""

        def run(xp: Any, a: Any, b: Any, *bias: Any, **geometry: Any) -> Any:
            function = FAMILIES[2][which].bound(type(a))
            return function(_row(a), _row(b), *bias, **_row_geometry(geometry))[:, :, 0]

        return run

    def vjp(F: Any, g: Any, saved: Any, need: Any, **geometry: Any) -> Any:
        x, w, _ = saved
        if not isinstance(g, Tensor):
            g = _densely(g)
        return (
            getattr(F, f"{name}_input_grad")(g, w, size=tuple(x.shape[2:]), **geometry) if need[0] else None,
            getattr(F, f"{name}_weight_grad")(x, g, kernel=tuple(w.shape[2:]), **geometry) if need[1] else None,
            F.channel_sum(g) if need[2] else None,
        )

    def input_grad_vjp(F: Any, h: Any, saved: Any, need: Any, size: Ints, **geometry: Any) -> Any:
        g, w = saved
        return (
            convolve(h, w, None, **geometry) if need[0] else None,
            getattr(F, f"{name}_weight_grad")(h, g, kernel=tuple(w.shape[2:]), **geometry) if need[1] else None,
        )

    def weight_grad_vjp(F: Any, h: Any, saved: Any, need: Any, kernel: Ints, **geometry: Any) -> Any:
        x, g = saved
        return (
            getattr(F, f"{name}_input_grad")(g, h, size=tuple(x.shape[2:]), **geometry) if need[0] else None,
            convolve(x, h, None, **geometry) if need[1] else None,
        )

    def spec(x: Spec, w: Spec, bias: Any, stride: Ints, padding: Pads, dilation: Ints, groups: int) -> Spec:
        counts = _counts(x.shape[2:], w.shape[2:], stride, padding, dilation)
        return Spec((x.shape[0], w.shape[0], *counts), np.result_type(x.dtype, w.dtype))

    one = n == 1
    convolve = Op(
        name,
        of_rows(0) if one else forward,
        vjp,
        save=(0, 1, Shape(2)),
        heavy=True,
        jvp="bilinear",
        cast="low",
        abstract=spec,
        samples=functools.partial(cases.convolutions, n),
        doc=f"Cross-correlation of {IMAGES[n]} with a kernel, plus a bias.",
    )
    input_grad = Op(
        f"{name}_input_grad",
        of_rows(1) if one else input_grad_forward,
        input_grad_vjp,
        save=(0, 1),
        heavy=True,
        jvp="bilinear",
        cast="low",
        abstract=lambda g, w, size, groups, **_: Spec(
            (g.shape[0], w.shape[1] * groups, *size), np.result_type(g.dtype, w.dtype)
        ),
        samples=functools.partial(cases.input_gradients, n),
        doc=f"The adjoint of {name} in its images: gradients of the output back to images of ``size``.",
    )
    weight_grad = Op(
        f"{name}_weight_grad",
        of_rows(2) if one else weight_grad_forward,
        weight_grad_vjp,
        save=(0, 1),
        heavy=True,
        jvp="bilinear",
        cast="low",
        abstract=lambda x, g, kernel, groups, **_: Spec(
            (g.shape[1], x.shape[1] // groups, *kernel), np.result_type(x.dtype, g.dtype)
        ),
        samples=functools.partial(cases.weight_gradients, n),
        doc=f"The adjoint of {name} in its weight: images and gradients of the output to the gradient of a ``kernel``.",
    )
    return Family(convolve, input_grad, weight_grad)


FAMILIES: dict[int, Family] = {}
for _n in (1, 2, 3):
    FAMILIES[_n] = _family(_n)
_, conv1d_input_grad, conv1d_weight_grad = FAMILIES[1]
_, conv2d_input_grad, conv2d_weight_grad = FAMILIES[2]
_, conv3d_input_grad, conv3d_weight_grad = FAMILIES[3]


# -- what a user calls -------------------------------------------------------------------------------------------------


def check_groups(op: str, groups: Any, inputs: int, outputs: int) -> None:
    """Refuse ``groups`` that do not divide the channels."""
    if not is_int(groups) or groups < 1:
        raise ShapeError(f"{op}: groups must be a positive int, got {groups!r}")
    if inputs % groups or outputs % groups:
        raise ShapeError(
            f"{op}: groups={groups} must divide the {inputs} input channels and the {outputs} output channels"
        )


def check_bias(op: str, bias: Any, outputs: int) -> None:
    if bias is not None and bias != (outputs,):
        raise ShapeError(
            f"{op}: bias must have shape ({outputs},), one number for each output channel, got {tuple(bias)}"
        )


@functools.lru_cache(maxsize=512)
def _plan(
    n: int, x: tuple[int, ...], w: tuple[int, ...], bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> dict[str, Any]:
    """The checked and normalised geometry of a call, decided once for each set of shapes."""
    op = f"conv{n}d"
    check_images(x, n, op)
    if len(w) != n + 2:
        raise ShapeError(f"{op}: weight must have shape (O, C / groups, {KERNEL[n]}), got {w}")
    if min(w[2:]) < 1:
        raise ShapeError(f"{op}: the kernel of weight {w} is empty")
    check_groups(op, groups, x[1], w[0])
    if x[1] != w[1] * groups:
        group_text = f" in {groups} groups" if groups > 1 else ""
        raise ShapeError(f"{op}: weight of shape {w} takes images of {w[1] * groups} channels{group_text}, got {x}")
    check_bias(op, bias, w[0])
    stride, dilation = ints(stride, n, "stride", op), ints(dilation, n, "dilation", op)
    pads = padding_of(padding, x[2:], w[2:], stride, dilation, op)
    window_counts(x[2:], w[2:], stride, pads, dilation, op)
    return {"stride": stride, "padding": pads, "dilation": dilation, "groups": int(groups)}


_apply = {n: FAMILIES[n].convolve.applier(3) for n in FAMILIES}


def _convolution(n: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    try:
        shapes = x.shape, weight.shape, None if bias is None else bias.shape
    except AttributeError:
        raise DTypeError(
            f"conv{n}d: expected tensors or arrays, got {type(x).__name__} and {type(weight).__name__}"
        ) from None
    try:
        static = _plan(n, *shapes, stride, padding, dilation, groups)
    except TypeError:  # lists are no keys of a cache
        static = _plan(n, *map(hashable, (*shapes, stride, padding, dilation, groups)))
    return _apply[n](x, weight, bias, **static)


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """1-D convolution (cross-correlation) of sequences.

    Shapes: x (N, C, L), weight (O, C / groups, k), bias (O,) or ``None`` -> (N, O, OL) with
    ``OL = (L + before + after - dilation * (k - 1) - 1) // stride + 1``.

    ``padding`` is an int, a pair (before, after), ``"same"`` or ``"valid"``; otherwise as :func:`conv2d`.
    """
    return _convolution(1, x, weight, bias, stride, padding, dilation, groups)


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
    convolutions; ``groups == C`` is depthwise. Half precision accumulates in float32.

    Raises :class:`ShapeError` where channels, groups, bias or kernel do not fit the images, :class:`DTypeError` for
    complex images.
    """
    return _convolution(2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """3-D convolution (cross-correlation) of volumes.

    Shapes: x (N, C, D, H, W), weight (O, C / groups, kd, kh, kw), bias (O,) or ``None`` -> (N, O, OD, OH, OW).
    ``stride`` and ``dilation`` are ints or three of them (depth, vertical, horizontal), ``padding`` is that, three pairs
    (before, after), ``"same"`` or ``"valid"``; otherwise as :func:`conv2d`.
    """
    return _convolution(3, x, weight, bias, stride, padding, dilation, groups)
