"""Windows of images as columns of a matrix, and the sum of such columns back into images: each other's adjoints."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..op import Op, Sample, Shape, Spec
from .columns import strided
from .common import array, wide
from .windows import Ints, Pads, channels_first, hashable, ints, padded, padding_of, tap, window_count, window_counts


def _unfold_forward(xp: Any, x: Any, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, counts: Ints) -> Any:
    n, c, *size = x.shape
    source = padded(xp, x.reshape(n * c, *size, 1), padding)[..., 0]
    steps = [x.itemsize]
    for m in source.shape[:0:-1]:
        steps.insert(0, steps[0] * m)
    image, *axes = steps
    shape = (n * c, *kernel, *counts)
    strides = (image, *(d * a for d, a in zip(dilation, axes)), *(s * a for s, a in zip(stride, axes)))
    out = xp.empty((n, c * math.prod(kernel), math.prod(counts)), x.dtype)
    out.reshape(shape)[...] = strided(xp, source, shape, strides)
    return out


def _fold_forward(
    xp: Any, columns: Any, size: Ints, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, counts: Ints
) -> Any:
    if wide(columns.dtype):
        single = columns.astype(np.float32)
        return _fold_forward(xp, single, size, kernel, stride, padding, dilation, counts).astype(columns.dtype)
    n, rows = columns.shape[:2]
    c, taps = rows // math.prod(kernel), math.prod(kernel)
    parts = columns.reshape(n, c, taps, *counts)
    out = xp.zeros((n, c, *size), columns.dtype)
    lines = [
        [tap(i * d - p[0], s, m, o) for i in range(k)]
        for k, d, p, s, m, o in zip(kernel, dilation, padding, stride, size, counts)
    ]
    for number, ways in enumerate(itertools.product(*lines)):
        target = out[(..., *(pixels for _, pixels in ways))]
        target += parts[(slice(None), slice(None), number, *(outputs for outputs, _ in ways))]
    return out


_CASES: list[tuple[tuple[int, ...], Ints, Ints, Pads, Ints]] = [
    ((2, 2, 4, 5), (2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((1, 3, 5, 4), (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 1)),
    ((2, 1, 6, 6), (2, 2), (2, 3), ((1, 1), (2, 2)), (2, 1)),
    ((1, 2, 3, 3), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
]


def _static(case: Any) -> dict[str, Any]:
    shape, kernel, stride, padding, dilation = case
    counts = tuple(window_count(*axis) for axis in zip(shape[2:], kernel, stride, padding, dilation))
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "counts": counts}


def _torch_arguments(case: Any) -> tuple[Any, ...]:
    _, kernel, stride, padding, dilation = case
    return kernel, dilation, tuple(p[0] for p in padding), stride


def _unfold_samples() -> list[Sample]:
    def call(t: Any, x: Any, case: Any) -> Any:
        return t.nn.functional.unfold(x, *_torch_arguments(case))

    samples = [
        Sample((array(i, case[0]),), _static(case), torch=functools.partial(call, case=case))
        for i, case in enumerate(_CASES)
    ]
    last = np.asarray(channels_first(array(9, (2, 4, 5, 2))))  # channels-last in memory
    return [*samples, Sample((last,), _static(_CASES[0]), torch=functools.partial(call, case=_CASES[0]))]


def _fold_samples() -> list[Sample]:
    def call(t: Any, columns: Any, case: Any) -> Any:
        return t.nn.functional.fold(columns, case[0][2:], *_torch_arguments(case))

    samples = []
    for i, case in enumerate(_CASES):
        static = _static(case)
        shape = (case[0][0], case[0][1] * math.prod(case[1]), math.prod(static["counts"]))
        torch = functools.partial(call, case=case)
        samples.append(Sample((array(i, shape),), {"size": case[0][2:], **static}, torch=torch))
    return samples


_unfold: Op = Op(
    "unfold",
    _unfold_forward,
    lambda F, g, shape, need, **static: (_fold(g, size=tuple(shape[2:]), **static),),
    save=Shape(0),
    jvp="linear",
    abstract=lambda x, kernel, counts, **_: Spec(
        (x.shape[0], x.shape[1] * math.prod(kernel), math.prod(counts)), x.dtype
    ),
    samples=_unfold_samples,
    doc="The windows of images as columns.",
)
_fold: Op = Op(
    "fold",
    _fold_forward,
    lambda F, h, saved, need, size, **static: (_unfold(h, **static),),
    jvp="linear",
    abstract=lambda g, size, kernel, **_: Spec((g.shape[0], g.shape[1] // math.prod(kernel), *size), g.dtype),
    samples=_fold_samples,
    doc="Columns added up into images, where the windows lie.",
)


@functools.lru_cache(maxsize=256)
def _plan(op: str, size: Ints, kernel: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, Any]:
    n = len(size)
    kernel, stride, dilation = (
        ints(kernel, n, "kernel", op),
        ints(stride, n, "stride", op),
        ints(dilation, n, "dilation", op),
    )
    pads = padding_of(padding, size, kernel, stride, dilation, op)
    counts = window_counts(size, kernel, stride, pads, dilation, op)
    return {"kernel": kernel, "stride": stride, "padding": pads, "dilation": dilation, "counts": counts}


def unfold(x: Any, kernel: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The windows of images as columns: x (N, C, H, W) -> (N, C * kh * kw, L), L = OH * OW windows in row-major order.

    A column holds its window channel by channel, each row by row, as a weight (O, C, kh, kw) flattened to a row does, so
    ``weight.reshape((O, -1)) @ unfold(x, kernel)`` is a convolution. Images without a batch axis (C, H, W) give
    (C * kh * kw, L). ``kernel``, ``dilation``, ``padding`` and ``stride`` are ints or pairs (vertical, horizontal), in PyTorch's
    order; ``padding`` may be what :func:`conv2d` takes. Also for volumes (N, C, D, H, W).

    Raises :class:`ShapeError` where kernel and images do not fit.
    """
    shape = _shape(x, "unfold")
    if len(shape) not in (3, 4, 5):
        raise ShapeError(f"unfold expects images of shape (N, C, H, W) or (C, H, W), got {shape}")
    batched = len(shape) > 3
    static = _plan("unfold", shape[2 if batched else 1 :], *map(hashable, (kernel, dilation, padding, stride)))
    if batched:
        return _unfold(x, **static)
    return _unfold(x.reshape((1, *shape)), **static)[0]


def fold(columns: Any, output_size: Any, kernel: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Columns (N, C * kh * kw, L) added up into images (N, C, H, W): the adjoint of :func:`unfold`.

    ``output_size`` is (H, W) or one int for both; where windows overlap their values add up, what lies in the padding is
    dropped. Columns without a batch axis (C * kh * kw, L) give (C, H, W). Half precision accumulates in float32.

    Raises :class:`ShapeError` where the columns are not those of windows of such images.
    """
    shape = _shape(columns, "fold")
    if len(shape) not in (2, 3):
        raise ShapeError(f"fold expects columns of shape (N, C * kh * kw, L) or (C * kh * kw, L), got {shape}")
    output_size = hashable(output_size)
    size = ints(output_size, len(output_size) if isinstance(output_size, tuple) else 2, "output_size", "fold")
    static = _plan("fold", size, *map(hashable, (kernel, dilation, padding, stride)))
    taps, windows = math.prod(static["kernel"]), math.prod(static["counts"])
    if shape[-2] % taps or shape[-1] != windows:
        raise ShapeError(
            f"fold: images of {size} have {static['counts']} windows of {static['kernel']}, so columns must have shape "
            f"(N, C * {taps}, {windows}), got {shape}"
        )
    if len(shape) == 3:
        return _fold(columns, size=size, **static)
    return _fold(columns.reshape((1, *shape)), size=size, **static)[0]


def _shape(x: Any, op: str) -> tuple[int, ...]:
    if not hasattr(x, "shape"):
        raise DTypeError(f"{op}: expected a tensor or an array, got {type(x).__name__}")
    return tuple(x.shape)
