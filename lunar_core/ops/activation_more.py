"""More activations: bounded and shrinking piecewise-linear ones, PReLU, SELU, CELU, mish, log-sigmoid, sparsemax.

Each op here has a rule of its own because that keeps one array for the backward pass where the formula spelled out
would keep several, or because it is exact where the formula cancels. At a kink the slope is PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import HyperparameterError, ShapeError
from ..op import OUTPUT, Op, Sample, Spec
from .activation import sigmoid
from .common import array, elementwise_spec, keeps_half, normalize_axis, unary
from .elementwise import multiply
from .shape import split

_FLOAT = elementwise_spec(np.exp)  # integers become floats


def _rows(low: float, high: float, avoid: tuple[float, ...], settings: list[tuple[dict[str, Any], Any]]) -> Any:
    """Samples of an elementwise op for each of its settings: (static arguments, PyTorch's call)."""
    return lambda: [
        Sample(s.args, static, torch=call) for static, call in settings for s in unary(low, high, avoid=avoid)()
    ]


# -- piecewise linear --------------------------------------------------------------------------------------------------

_hardtanh = Op(
    "hardtanh",
    keeps_half(lambda xp, x, low, high: xp.clip(x, low, high)),
    lambda F, g, y, need, low, high: (g * F.logical_and(y > low, y < high),),
    save=OUTPUT,
    elementwise=True,
    abstract=lambda x, low, high: _FLOAT(x),
    samples=_rows(
        -4,
        7,
        (-1, 0, 1, 2, 6),
        [
            ({"low": -1.0, "high": 1.0}, lambda t, x: t.nn.functional.hardtanh(x)),
            ({"low": 0.0, "high": 6.0}, lambda t, x: t.nn.functional.relu6(x)),
            ({"low": -1.0, "high": 2.0}, lambda t, x: t.nn.functional.hardtanh(x, -1.0, 2.0)),
        ],
    ),
    doc="``x`` limited to [low, high]; unlike clip, the slope at the bounds is 0.",
)


def hardtanh(x: Any, low: float = -1.0, high: float = 1.0) -> Any:
    """``x`` limited to ``[low, high]``. The slope is 1 strictly inside, 0 at the bounds and outside."""
    if not low < high:
        raise HyperparameterError(f"hardtanh: low must be less than high, got {low!r} and {high!r}")
    return _hardtanh(x, low=float(low), high=float(high))


def relu6(x: Any) -> Any:
    """``min(max(x, 0), 6)``. The slope is 0 at both kinks."""
    return _hardtanh(x, low=0.0, high=6.0)


hardsigmoid = Op(
    "hardsigmoid",
    keeps_half(lambda xp, x: xp.clip(x + 3.0, 0.0, 6.0) / 6.0),
    lambda F, g, y, need: (g * F.logical_and(y > 0, y < 1) * (1 / 6),),
    save=OUTPUT,
    elementwise=True,
    abstract=_FLOAT,
    # spelled out, as the gradient of PyTorch's own rounds 1/6 to float32, also in float64
    samples=unary(-5, 5, avoid=(-3, 3), torch=lambda t, x: t.nn.functional.relu6(x + 3) / 6),
    doc="``min(max(x + 3, 0), 6) / 6``, a piecewise linear sigmoid; the slope is 0 at both kinks.",
)


def _hardswish_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    between = F.logical_and(x > -3, x < 3)
    return (g * (between * (x * (1 / 3) + 0.5) + (x >= 3)),)


hardswish = Op(
    "hardswish",
    keeps_half(lambda xp, x: x * (xp.clip(x + 3.0, 0.0, 6.0) / 6.0)),
    _hardswish_vjp,
    save=0,
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-5, 5, avoid=(-3, 3), torch=lambda t, x: t.nn.functional.hardswish(x)),
    doc="``x * hardsigmoid(x)``; the slope is 0 at -3 and 1 at 3.",
)


def _check_lambd(op: str, lambd: float) -> float:
    if not lambd >= 0:
        raise HyperparameterError(f"{op}: lambd must be >= 0, got {lambd!r}")
    return float(lambd)


def _kept(F: Any, g: Any, y: Any, need: Any, lambd: float) -> Any:
    return (g * (y != 0),)


def _shrink(name: str, forward: Any, doc: str) -> Op:
    def call(value: float) -> Any:
        return lambda t, x: getattr(t.nn.functional, name)(x, value)

    return Op(
        name,
        keeps_half(forward),
        _kept,
        save=OUTPUT,
        elementwise=True,
        abstract=lambda x, lambd: _FLOAT(x),
        samples=_rows(-3, 3, (-1, -0.5, 0.5, 1), [({"lambd": v}, call(v)) for v in (0.5, 1.0)]),
        doc=doc,
    )


_softshrink = _shrink(
    "softshrink",
    lambda xp, x, lambd: x - xp.clip(x, -lambd, lambd),
    "``x`` moved towards 0 by ``lambd``; 0 where that passes 0.",
)
_hardshrink = _shrink(
    "hardshrink",
    lambda xp, x, lambd: x * (abs(x) > lambd),
    "``x`` where ``|x| > lambd``, else 0.",
)


def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """``x - lambd`` above ``lambd``, ``x + lambd`` below ``-lambd``, 0 between; the slope is 0 at both kinks."""
    return _softshrink(x, lambd=_check_lambd("softshrink", lambd))


def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """``x`` where ``|x| > lambd``, else 0; it jumps at ``+-lambd``, where both the value and the slope are 0."""
    return _hardshrink(x, lambd=_check_lambd("hardshrink", lambd))


def _prelu_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, slope = saved
    positive = x > 0
    return (
        F.where(positive, g, g * slope) if need[0] else None,
        F.where(positive, 0.0, g * x) if need[1] else None,
    )


def _prelu_samples() -> list[Sample]:
    def call(t: Any, x: Any, slope: Any) -> Any:
        return t.nn.functional.prelu(x, slope.reshape(-1))

    def by_hand(t: Any, x: Any, slope: Any) -> Any:
        return t.where(x > 0, x, slope * x)

    return [
        Sample((array(0, (4, 3)), array(10, (3,), 0.1, 0.6)), torch=call),
        Sample((array(1, (2, 3, 2, 2)), array(11, (3, 1, 1), -0.5, 1.5)), torch=call),
        Sample((array(2, (5,)), array(12, (1,))), torch=call),
        Sample((array(3, (2, 0, 3)), array(13, (1,))), torch=call),
        Sample((array(4, (2, 3)), array(14, (2, 3), 0.1, 0.4)), torch=by_hand),
    ]


prelu = Op(
    "prelu",
    lambda xp, x, slope: xp.where(x > 0, x, x * slope),
    _prelu_vjp,
    save=(0, 1),
    broadcasts=True,
    elementwise=True,
    abstract=elementwise_spec(np.multiply),
    samples=_prelu_samples,
    doc="``x`` where positive, else ``slope * x``; the slope is an array that broadcasts to ``x`` and gets a gradient.",
)

# -- exponential -------------------------------------------------------------------------------------------------------

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def _scaled_elu_forward(xp: Any, x: Any, alpha: float, scale: float, steepness: float) -> Any:
    negative = xp.expm1(xp.minimum(x, 0) * steepness)
    out = negative * alpha + xp.maximum(x, 0)
    return out if scale == 1 else out * scale


def _scaled_elu_vjp(F: Any, g: Any, y: Any, need: Any, alpha: float, scale: float, steepness: float) -> Any:
    positive = g * (y > 0)
    return (positive * scale + (g - positive) * ((y + scale * alpha) * steepness),)


_scaled_elu = Op(
    "scaled_elu",
    keeps_half(_scaled_elu_forward),
    _scaled_elu_vjp,
    save=OUTPUT,
    elementwise=True,
    abstract=lambda x, **static: _FLOAT(x),
    samples=_rows(
        -3,
        3,
        (0,),
        [
            (
                {"alpha": SELU_ALPHA, "scale": SELU_SCALE, "steepness": 1.0},
                lambda t, x: t.nn.functional.selu(x),
            ),
            ({"alpha": 1.0, "scale": 1.0, "steepness": 1.0}, lambda t, x: t.nn.functional.celu(x)),
            # PyTorch's gradient rounds 1 / alpha to float32, also in float64: an alpha that this does not touch
            ({"alpha": 0.5, "scale": 1.0, "steepness": 2.0}, lambda t, x: t.nn.functional.celu(x, 0.5)),
            (
                {"alpha": 0.4, "scale": 1.5, "steepness": 2.5},
                lambda t, x: 1.5 * t.where(x > 0, x, 0.4 * t.expm1(2.5 * x)),
            ),
        ],
    ),
    doc="``scale * x`` where positive, else ``scale * alpha * (exp(steepness * x) - 1)``.",
)


def selu(x: Any) -> Any:
    """``scale * elu(x, alpha)`` with the constants that make mean 0 and variance 1 a fixed point (arXiv:1706.02515)."""
    return _scaled_elu(x, alpha=SELU_ALPHA, scale=SELU_SCALE, steepness=1.0)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``, with a slope that is continuous (arXiv:1704.07483)."""
    if not alpha > 0:
        raise HyperparameterError(f"celu: alpha must be > 0, got {alpha!r}")
    return _scaled_elu(x, alpha=float(alpha), scale=1.0, steepness=1.0 / alpha)


def _mish_forward(xp: Any, x: Any) -> Any:
    # tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2), which never cancels; beyond the bound it rounds to 1
    e = xp.exp(xp.minimum(x, 5.0 if x.dtype == np.float16 else 20.0))
    n = e * (e + 2)
    return x * (n / (n + 2))


def _mish_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    t = F.tanh(F.softplus(x))
    return (g * (t + x * (1 - t * t) * F.sigmoid(x)),)


mish = Op(
    "mish",
    keeps_half(_mish_forward),
    _mish_vjp,
    save=0,
    cast="float32",
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-4, 4, torch=lambda t, x: t.nn.functional.mish(x)),
    doc="``x * tanh(log(1 + exp(x)))`` (arXiv:1908.08681).",
)

log_sigmoid = Op(
    "log_sigmoid",
    lambda xp, x: xp.minimum(x, 0) - xp.log1p(xp.exp(-abs(x))),
    lambda F, g, x, need: (g * F.sigmoid(-x),),
    save=0,
    cast="float32",
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-6, 6, torch=lambda t, x: t.nn.functional.logsigmoid(x)),
    doc="``log(1 / (1 + exp(-x)))`` without overflow: close to ``x`` where that is very negative.",
)

# -- rational and hyperbolic -------------------------------------------------------------------------------------------


def _softsign_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    size = F.absolute(x) + 1
    if x.dtype.kind != "c":
        return (g / (size * size),)
    return (g / size - F.sign(x) * F.real(F.conjugate(g) * x) / (size * size),)


softsign = Op(
    "softsign",
    lambda xp, x: x / (abs(x) + 1),
    _softsign_vjp,
    save=0,
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-4, 4, avoid=(0,), torch=lambda t, x: t.nn.functional.softsign(x)),
    doc="``x / (1 + |x|)``; the slope at 0 is 1, that of the slope 0.",
)


def _tanhshrink_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    t = F.tanh(x)
    slope = t * t
    return (g * (F.conjugate(slope) if slope.dtype.kind == "c" else slope),)


tanhshrink = Op(
    "tanhshrink",
    lambda xp, x: x - xp.tanh(x),
    _tanhshrink_vjp,
    save=0,
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-3, 3, torch=lambda t, x: t.nn.functional.tanhshrink(x)),
    doc="``x - tanh(x)``, to the rounding of ``x``.",
)

# -- sparsemax ---------------------------------------------------------------------------------------------------------


def _sparsemax_forward(xp: Any, x: Any, axis: int) -> Any:
    size = x.shape[axis]
    if not x.size:
        return x * 1.0
    z = x - x.max(axis=axis, keepdims=True)
    ordered = xp.flip(xp.sort(z, axis=axis), axis)
    sums = xp.cumsum(ordered, axis=axis) - 1
    shape = (1,) * axis + (size,) + (1,) * (x.ndim - 1 - axis)
    counts = xp.arange(1, size + 1).astype(z.dtype).reshape(shape)
    # the support is a prefix of the order, so its size is a count
    support = (counts * ordered > sums).sum(axis=axis, keepdims=True)
    tau = xp.take_along_axis(sums, support - 1, axis) / support.astype(z.dtype)
    return xp.maximum(z - tau, 0)


def _sparsemax_vjp(F: Any, g: Any, y: Any, need: Any, axis: int) -> Any:
    inside = F.cast(y > 0, dtype=y.dtype)
    mean = F.sum(g * inside, axis=axis, keepdims=True) / F.sum(inside, axis=axis, keepdims=True)
    return (inside * (g - mean),)


def _sparsemax_samples() -> list[Sample]:
    def by_threshold(axis: int) -> Any:
        def call(t: Any, x: Any) -> Any:
            # the same threshold by bisection; autograd sees it as the mean that it is on the support
            low, high = x.detach().amax(axis, keepdim=True) - 1, x.detach().amax(axis, keepdim=True)
            for _ in range(200):
                middle = (low + high) / 2
                above = (x.detach() - middle).clamp(min=0).sum(axis, keepdim=True) > 1
                low, high = t.where(above, middle, low), t.where(above, high, middle)
            support = (x.detach() > high).to(x.dtype)
            tau = ((x * support).sum(axis, keepdim=True) - 1) / support.sum(axis, keepdim=True)
            return (x - tau) * support

        return call

    table: list[tuple[tuple[int, ...], int]] = [((4,), 0), ((3, 5), 1), ((3, 5), 0), ((2, 4, 3), 1), ((5, 1), 1)]
    return [
        Sample((array(i, shape, -1.5, 1.5),), {"axis": axis}, torch=by_threshold(axis))
        for i, (shape, axis) in enumerate(table)
    ]


_sparsemax = Op(
    "sparsemax",
    _sparsemax_forward,
    _sparsemax_vjp,
    save=OUTPUT,
    cast="float32",
    abstract=lambda x, axis: Spec(x.shape, _FLOAT(x).dtype),
    samples=_sparsemax_samples,
    doc="The point of the probability simplex that is nearest to ``x``, along an axis.",
)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """Euclidean projection of ``x`` onto the probability simplex along ``axis``: sums to 1, with exact zeros.

    The gradient is that of the linear map on the support; an entry that has just reached 0 has slope 0
    (A. Martins and R. Astudillo, arXiv:1602.02068, algorithm 1 and equation 14).
    """
    if not x.ndim:
        raise ShapeError("sparsemax: expected at least one axis, got a number")
    return _sparsemax(x, axis=normalize_axis(axis, x.ndim, "sparsemax")[0])


def glu(x: Any, axis: int = -1) -> Any:
    """``a * sigmoid(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis``, which has an even size (arXiv:1612.08083)."""
    axis = normalize_axis(axis, x.ndim, "glu")[0]
    if x.shape[axis] % 2:
        raise ShapeError(f"glu: axis {axis} must have an even size, got {x.shape[axis]} in {tuple(x.shape)}")
    a, b = split(x, 2, axis)
    return multiply(a, sigmoid(b))
