"""Average and LP pooling, and the adjoint of the average: sums over windows along one axis after the other."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import wide
from .elementwise import where
from .pooling import CASES, Case, as_row, beside, case_counts, laid_out, plan, pooled_spec
from .windows import IMAGES, Ints, empty_like_images, is_int, moved_last, tap


def _shares(
    size: Ints, kernel: Ints, stride: Ints, padding: Ints, counts: Ints, count_include_pad: bool
) -> float | np.ndarray:
    """One over the number of pixels in each window: a number where all are alike, else (OH, OW)."""
    if count_include_pad and all(
        (o - 1) * s + k <= n + 2 * p for o, s, k, n, p in zip(counts, stride, kernel, size, padding)
    ):
        return 1.0 / math.prod(kernel)
    return _share_map(size, kernel, stride, padding, counts, count_include_pad)


@functools.lru_cache(maxsize=64)
def _share_map(
    size: Ints, kernel: Ints, stride: Ints, padding: Ints, counts: Ints, count_include_pad: bool
) -> np.ndarray:
    pixels = np.ones(())
    for n, k, s, p, o in zip(size, kernel, stride, padding, counts):
        start = np.arange(o) * s - p
        stop = np.minimum(start + k, n + p)  # what hangs over the padded end never counts
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        pixels = pixels[..., None] * (stop - start)
    return np.asarray(1.0 / pixels)


def _scaled(y: Any, shares: Any) -> Any:
    return y * (shares if isinstance(shares, float) else beside(y, shares, y.dtype))


def _forward(xp: Any, x: Any, kernel: Ints, stride: Ints, padding: Ints, counts: Ints, count_include_pad: bool) -> Any:
    if wide(x.dtype):
        single = x.astype(np.float32)
        return _forward(xp, single, kernel, stride, padding, counts, count_include_pad).astype(x.dtype)
    size = x.shape[2:]
    shares = _shares(size, kernel, stride, padding, counts, count_include_pad)
    if kernel == size and not any(padding) and math.prod(counts) == 1:
        y = moved_last(x)
        if x.dtype.char not in "fd" or not y.flags.c_contiguous:
            return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True, dtype=x.dtype)
        (n, c), pixels = x.shape[:2], math.prod(size)
        mean = xp.matmul(xp.full((1, pixels), shares, x.dtype), y.reshape(n, pixels, c))
        return mean.reshape(n, c, *(1,) * len(size))
    # the sum over a window is a sum over its rows of sums over columns; rows first, for their longer inner loops
    out = x
    for axis, (k, s, p, o) in enumerate(zip(kernel, stride, padding, counts), 2):
        out = _box(xp, out, axis, k, s, p, o)
    if out is x:
        return _scaled(x, shares)
    out *= shares if isinstance(shares, float) else beside(x, shares, x.dtype)
    return out


def _box(xp: Any, x: Any, axis: int, kernel: int, stride: int, padding: int, count: int) -> Any:
    """Sums over windows along one axis."""
    size = x.shape[axis]
    if kernel == 1 and stride == 1 and not padding:
        return x
    before = (slice(None),) * axis
    if not padding and (count - 1) * stride + kernel <= size and kernel > 1:

        def at(i: int) -> Any:
            return x[(*before, slice(i, i + (count - 1) * stride + 1, stride))]

        out = at(0) + at(1)
        for i in range(2, kernel):
            out += at(i)
        return out
    shape = list(x.shape)
    shape[axis] = count
    out = empty_like_images(xp, x, tuple(shape), x.dtype)
    out[...] = 0
    for i in range(kernel):
        o, pixels = tap(i - padding, stride, size, count)
        target = out[(*before, o)]
        target += x[(*before, pixels)]
    return out


def _grad_forward(
    xp: Any, g: Any, size: Ints, kernel: Ints, stride: Ints, padding: Ints, counts: Ints, count_include_pad: bool
) -> Any:
    if wide(g.dtype):
        single = g.astype(np.float32)
        return _grad_forward(xp, single, size, kernel, stride, padding, counts, count_include_pad).astype(g.dtype)
    out = _scaled(g, _shares(size, kernel, stride, padding, counts, count_include_pad))
    for axis in reversed(range(len(size))):  # columns first: what is still small is spread along the worse axis
        out = _spread(xp, out, axis + 2, size[axis], kernel[axis], stride[axis], padding[axis])
    return out


def _spread(xp: Any, g: Any, axis: int, size: int, kernel: int, stride: int, padding: int) -> Any:
    """The adjoint of :func:`_box`."""
    count = g.shape[axis]
    if kernel == 1 and stride == 1 and not padding:
        return g
    shape = list(g.shape)
    shape[axis] = size
    out = empty_like_images(xp, g, tuple(shape), g.dtype)
    before = (slice(None),) * axis
    covered = not padding and kernel == stride and count * stride == size
    if not covered:
        out[...] = 0
    for i in range(kernel):
        o, pixels = tap(i - padding, stride, size, count)
        target = out[(*before, pixels)]
        if covered:
            target[...] = g[(*before, o)]
        else:
            target += g[(*before, o)]
    return out


# -- samples -----------------------------------------------------------------------------------------------------------


def _cases(n: int) -> list[tuple[Case, dict[str, Any]]]:
    cases = []
    for case in CASES[n]:
        _, kernel, stride, padding, dilation, _ = case
        if math.prod(dilation) != 1:
            continue
        for include in (True, False):
            static = {"kernel": kernel, "stride": stride, "padding": padding, "counts": case_counts(case)}
            cases.append((case, {**static, "count_include_pad": include}))
    return cases


def _torch_pool(case: Case, include: bool) -> Any:
    _, kernel, stride, padding, _, ceil = case

    def call(t: Any, x: Any) -> Any:
        return getattr(t.nn.functional, f"avg_pool{len(kernel)}d")(x, kernel, stride, padding, ceil, include)

    return call


def _samples(n: int) -> list[Sample]:
    return [
        Sample((laid_out(i, case[0]),), static, torch=_torch_pool(case, static["count_include_pad"]))
        for i, (case, static) in enumerate(_cases(n))
    ]


def _grad_samples(n: int) -> list[Sample]:
    return [
        Sample((laid_out(i, (*case[0][:2], *static["counts"])),), {"size": case[0][2:], **static})
        for i, (case, static) in enumerate(_cases(n))
    ]


# -- ops ---------------------------------------------------------------------------------------------------------------


class Family(NamedTuple):
    """The ops of one number of spatial axes."""

    pool: Op
    grad: Op


def _of_rows(name: str) -> Any:
    """A forward for sequences: that of images of one row, through the images' kernel providers."""

    def run(xp: Any, a: Any, **geometry: Any) -> Any:
        return getattr(FAMILIES[2], name).bound(type(a))(a[:, :, None], **as_row(geometry))[:, :, 0]

    return run


def _family(n: int) -> Family:
    name = f"avg_pool{n}d"

    def vjp(F: Any, g: Any, shape: Any, need: Any, **static: Any) -> Any:
        return (getattr(F, f"{name}_grad")(g, size=tuple(shape[2:]), **static),)

    def grad_vjp(F: Any, h: Any, saved: Any, need: Any, size: Ints, **static: Any) -> Any:
        return (pool(h, **static),)

    pool = Op(
        name,
        _of_rows("pool") if n == 1 else _forward,
        vjp,
        save=Shape(0),
        heavy=True,
        jvp="linear",
        abstract=pooled_spec,
        samples=functools.partial(_samples, n),
        doc=f"The mean of each window of {IMAGES[n]}.",
    )
    grad = Op(
        f"{name}_grad",
        _of_rows("grad") if n == 1 else _grad_forward,
        grad_vjp,
        heavy=True,
        jvp="linear",
        abstract=lambda g, size, **_: Spec((*g.shape[:2], *size), g.dtype),
        samples=functools.partial(_grad_samples, n),
        doc=f"Each window's gradient shared among its pixels: the adjoint of {name}.",
    )
    return Family(pool, grad)


FAMILIES: dict[int, Family] = {}
for _n in (1, 2, 3):
    FAMILIES[_n] = _family(_n)
avg_pool1d_grad, avg_pool2d_grad, avg_pool3d_grad = (FAMILIES[n].grad for n in (1, 2, 3))


# -- what a user calls -------------------------------------------------------------------------------------------------


def _avg_pool(
    n: int, x: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, include: bool, divisor: Any = None
) -> Any:
    op = f"avg_pool{n}d"
    static = dict(plan(op, n, x, kernel, stride, padding, 1, ceil_mode))
    del static["dilation"]
    static["count_include_pad"] = bool(include) or divisor is not None
    out = FAMILIES[n].pool(x, **static)
    if divisor is None:
        return out
    if not is_int(divisor) or divisor == 0:
        raise ShapeError(f"{op}: divisor_override must be an int other than 0 or None, got {divisor!r}")
    shares = _shares(tuple(x.shape[2:]), **static)  # a mean over these is a sum
    if isinstance(shares, float):
        return out * (math.prod(static["kernel"]) / divisor)
    raw = out.data if isinstance(out, Tensor) else out
    return out * beside(raw, 1.0 / shares / divisor, raw.dtype)


def avg_pool1d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Any:
    """The mean of each window of sequences: x (N, C, L) -> (N, C, OL); otherwise as :func:`avg_pool2d`."""
    return _avg_pool(1, x, kernel, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window: x (N, C, H, W) -> (N, C, OH, OW).

    ``kernel``, ``stride`` (default: the kernel) and ``padding`` are ints or pairs (vertical, horizontal). With
    ``count_include_pad`` the zeros of the padding count as pixels. What hangs over the padded end under ``ceil_mode``
    never counts. A kernel of the images' size is the global average. With ``divisor_override`` each window's sum is divided
    by that number instead of by its pixels. Half precision accumulates in float32.

    Raises :class:`ShapeError` where kernel, padding or images do not fit.
    """
    return _avg_pool(2, x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window of volumes: x (N, C, D, H, W) -> (N, C, OD, OH, OW).

    Otherwise as :func:`avg_pool2d`, with three numbers (depth, vertical, horizontal) in place of two.
    """
    return _avg_pool(3, x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _lp_pool(n: int, x: Any, p: Any, kernel: Any, stride: Any, ceil_mode: bool) -> Any:
    op = f"lp_pool{n}d"
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 < p < math.inf:
        raise ShapeError(f"{op}: the exponent must be a finite number above 0, got {p!r}")
    static = plan(op, n, x, kernel, stride, 0, 1, ceil_mode)
    powers = _avg_pool(n, x**p, static["kernel"], static["stride"], 0, ceil_mode, True) * math.prod(static["kernel"])
    empty = powers == 0
    if isinstance(empty, Tensor):
        empty = empty.detach()
    root = where(empty, 1.0, powers) ** (1.0 / p)  # the root's slope at 0 is infinite; here it counts as 0
    return where(empty, 0.0, root)


def lp_pool1d(x: Any, p: float, kernel: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The p-th root of the sum of p-th powers of each window: x (N, C, L) -> (N, C, OL); as :func:`lp_pool2d`."""
    return _lp_pool(1, x, p, kernel, stride, ceil_mode)


def lp_pool2d(x: Any, p: float, kernel: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The p-th root of the sum of p-th powers of each window, ``(sum x ** p) ** (1 / p)``: (N, C, H, W) -> (N, C, OH, OW).

    ``p = 1`` is the sum, ``p = 2`` the Euclidean norm; as in PyTorch no absolute values are taken, so that odd ``p`` is meant for
    inputs >= 0. Under ``ceil_mode`` a window that hangs over the end is scaled up to a whole window, also as in PyTorch.
    ``kernel`` and ``stride`` (default: the kernel) are ints or pairs. A window of sum 0 has gradient 0.

    Raises :class:`ShapeError` for an exponent that is not positive and finite, and where the kernel does not fit.
    """
    return _lp_pool(2, x, p, kernel, stride, ceil_mode)


def lp_pool3d(x: Any, p: float, kernel: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    """The p-th root of the sum of p-th powers of each window: x (N, C, D, H, W) -> (N, C, OD, OH, OW).

    Otherwise as :func:`lp_pool2d`, with three numbers (depth, vertical, horizontal) in place of two.
    """
    return _lp_pool(3, x, p, kernel, stride, ceil_mode)
