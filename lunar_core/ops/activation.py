"""Activations: relu and its kin, sigmoid, softplus, silu, erf, gelu.

All are elementwise and keep the memory order of their input. What they do at infinity and to NaN is what their
formula's limit is: ``relu(nan)`` is NaN, ``sigmoid(-inf)`` is 0, ``softplus(inf)`` is infinity.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import HyperparameterError
from ..op import OUTPUT, Op, Sample, Spec
from ..tensor import Tensor
from .common import array, elementwise_spec, keeps_half, unary

_FLOAT = elementwise_spec(np.exp)  # integers become floats
_CHUNK = 1 << 15  # elements at a time where a formula has twenty steps or more: they stay in the core's cache


def _flat(x: np.ndarray) -> np.ndarray | None:
    """The elements in the order of memory as a view; ``None`` where they do not lie densely."""
    flat = x.ravel(order="K")
    return flat if flat.size == x.size and np.may_share_memory(flat, x) else None


def _in_chunks(compute: Callable[..., Any], *arrays: Any, into: Any = None) -> Any:
    """``compute(*arrays)``, elementwise with many steps, over pieces whose intermediate results stay in the cache.

    Large NumPy arrays of one layout are cut; all else, Tensors too, is computed as a whole. ``into`` may be the first of the
    arrays, which then takes the results.
    """
    x = arrays[0]
    if (
        type(x) is not np.ndarray
        or x.size <= _CHUNK
        or any(a.strides != x.strides or a.shape != x.shape for a in arrays)
    ):
        return compute(*arrays)
    flats = [_flat(a) for a in arrays]
    if any(flat is None for flat in flats):
        return compute(*arrays)
    first = compute(*[flat[:_CHUNK] for flat in flats])  # type: ignore[index]
    out = np.empty_like(x, dtype=first.dtype) if into is None or into.dtype != first.dtype else into
    result = out.ravel(order="K")
    result[:_CHUNK] = first
    for start in range(_CHUNK, x.size, _CHUNK):
        piece = slice(start, start + _CHUNK)
        result[piece] = compute(*[flat[piece] for flat in flats])  # type: ignore[index]
    return out


# -- relu and its kin --------------------------------------------------------------------------------------------------


def _relu_forward(xp: Any, x: Any) -> Any:
    if xp is np and x.size > 1024 and x.dtype.kind == "f":
        return x.clip(0, np.inf)  # NumPy's clip is vectorised for numbers, its maximum is not
    return xp.maximum(x, 0)


def _relu_vjp(F: Any, g: Any, y: Any, need: Any, into: Any = None) -> Any:
    if type(g) is np.ndarray and g.size > _CHUNK:  # the mask stays in the cache, and no memory is taken for it
        return (_in_chunks(lambda g, y: g * (y > 0), g, y, into=into),)
    return (g * (y > 0),)


relu = Op(
    "relu",
    _relu_forward,
    _relu_vjp,
    save=OUTPUT,
    elementwise=True,
    overwrites=True,
    abstract=elementwise_spec(np.positive),
    samples=lambda: [*unary(-3, 3, avoid=(0,))(), Sample((_big(),), torch=lambda t, x: t.relu(x))],
    doc="``max(x, 0)``; the slope at 0 is 0.",
)


def _big() -> np.ndarray:
    """Enough elements for the vectorised path, without a kink, in a memory order of its own."""
    x = array(7, (2, 20, 30), -3, 3)
    return np.where(np.abs(x) < 0.05, x + 0.1, x).transpose(0, 2, 1)


def _leaky_relu_forward(xp: Any, x: Any, slope: float) -> Any:
    scaled = x * slope
    return xp.maximum(x, scaled) if 0 < slope <= 1 else xp.where(x > 0, x, scaled)


def _leaky_relu_vjp(F: Any, g: Any, x: Any, need: Any, slope: float) -> Any:
    positive = g * (x > 0)
    return (positive * (1 - slope) + g * slope,)


_leaky_relu = Op(
    "leaky_relu",
    keeps_half(_leaky_relu_forward),
    _leaky_relu_vjp,
    save=0,
    elementwise=True,
    abstract=lambda x, slope: _FLOAT(x),
    samples=lambda: [
        Sample(s.args, {"slope": slope}, torch=lambda t, x, a=slope: t.nn.functional.leaky_relu(x, a))
        for slope in (0.01, 0.0, 1.5)
        for s in unary(-3, 3, avoid=(0,))()
    ],
    doc="``x`` where positive, else ``slope * x``.",
)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """``x`` where ``x > 0``, else ``negative_slope * x``. At 0 the slope is ``negative_slope``."""
    return _leaky_relu(x, slope=float(negative_slope))


def _elu_vjp(F: Any, g: Any, saved: Any, need: Any, alpha: float) -> Any:
    x, y = saved
    if alpha == 1:
        return (g * (F.minimum(y, 0) + 1),)
    positive = g * (x > 0)
    return (positive + (g - positive) * (y + alpha),)


_elu = Op(
    "elu",
    keeps_half(lambda xp, x, alpha: xp.maximum(x, 0) + alpha * xp.expm1(xp.minimum(x, 0))),
    _elu_vjp,
    save=(0, OUTPUT),
    elementwise=True,
    abstract=lambda x, alpha: _FLOAT(x),
    samples=lambda: [
        Sample(s.args, {"alpha": alpha}, torch=lambda t, x, a=alpha: t.nn.functional.elu(x, a))
        for alpha in (1.0, 0.7)
        for s in unary(-3, 3, avoid=(0,))()
    ],
    doc="``x`` where positive, else ``alpha * (exp(x) - 1)``.",
)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """Exponential linear unit: ``x`` where ``x > 0``, else ``alpha * (exp(x) - 1)`` (arXiv:1511.07289)."""
    return _elu(x, alpha=float(alpha))


# -- sigmoid and its kin -----------------------------------------------------------------------------------------------


def _sigmoid_forward(xp: Any, x: Any) -> Any:
    # exact to the last digits also where the result is tiny; the exponential of a large -x is infinity, 1 / inf is 0
    with np.errstate(over="ignore"):
        out = xp.exp(-x)
    if not x.ndim or x.dtype.kind != "f":
        return 1 / (1 + out)
    out += 1
    return xp.reciprocal(out, out=out)


def _sigmoid_vjp(F: Any, g: Any, y: Any, need: Any) -> Any:
    slope = y * (1 - y)
    return (g * (F.conjugate(slope) if slope.dtype.kind == "c" else slope),)


sigmoid = Op(
    "sigmoid",
    _sigmoid_forward,
    _sigmoid_vjp,
    save=OUTPUT,
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-4, 4),
    doc="``1 / (1 + exp(-x))``.",
)


def _softplus_forward(xp: Any, x: Any, beta: float) -> Any:
    scaled = x if beta == 1 else x * beta
    out = xp.log1p(xp.exp(-abs(scaled))) + _relu_forward(xp, scaled)
    return out if beta == 1 else out / beta


_softplus = Op(
    "softplus",
    keeps_half(_softplus_forward),
    lambda F, g, x, need, beta: (g * F.sigmoid(x if beta == 1 else x * beta),),
    save=0,
    cast="float32",
    elementwise=True,
    abstract=lambda x, beta: _FLOAT(x),
    samples=lambda: [
        Sample(s.args, {"beta": beta}, torch=lambda t, x, b=beta: t.nn.functional.softplus(x, b, 1e9))
        for beta in (1.0, 2.5)
        for s in unary(-4, 4)()
    ],
    doc="``log(1 + exp(beta x)) / beta``.",
)


def softplus(x: Any, beta: float = 1.0) -> Any:
    """``log(1 + exp(beta * x)) / beta``, a smooth relu, without overflow.

    PyTorch returns ``x`` itself where ``beta * x > 20``; here the formula holds everywhere, 2e-9 away at most.
    """
    return _softplus(x, beta=float(beta))


def _silu_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    s = F.sigmoid(x)
    return (g * (s * (1 + x * (1 - s))),)


silu = Op(
    "silu",
    lambda xp, x: x * _sigmoid_forward(xp, x),
    _silu_vjp,
    save=0,
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-4, 4, torch=lambda t, x: t.nn.functional.silu(x)),
    doc="``x * sigmoid(x)``, also called swish (arXiv:1606.08415, 1710.05941).",
)

# -- erf and gelu ------------------------------------------------------------------------------------------------------

# erf(x) = x P(x^2) / Q(x^2) for |x| <= 3.925, beyond which float32 has only +-1; the best relative fit of its degrees
_P32 = (2.0460439529e-6, 2.8484330113690644e-4, 3.7725085404e-3, 5.2769159293e-2, 0.19059268072823338, 1.12837914578385)
_Q32 = (3.8047933120e-5, 1.1638490585722e-3, 1.4983109595357e-2, 0.11418226996321526, 0.5022410503720488, 1.0)

# W. J. Cody, Rational Chebyshev approximations for the error function, Mathematics of Computation 23 (1969), 631-637
_A = (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3)
_B = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_C = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
    8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
)  # fmt: skip
_D = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip


_DENSITY = 1 / math.sqrt(2 * math.pi)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Horner's scheme, the highest power first."""
    out = x * coefficients[0]
    out += coefficients[1]
    for c in coefficients[2:]:
        out *= x
        out += c
    return out


def _erf32(xp: Any, x: Any) -> Any:
    x = xp.clip(x, -3.925, 3.925)
    square = x * x
    out = _polynomial(_P32, square)
    out *= x
    out /= _polynomial(_Q32, square)
    return xp.clip(out, -1, 1, out=out)


def _erf64(xp: Any, x: Any) -> Any:
    """Cody's first two intervals; erf(x) is 1 in double precision from 5.93 on, where the second one still holds."""
    size = abs(x)
    small = xp.minimum(size, 0.5)
    square = small * small
    inner = small * _polynomial(_A, square) / _polynomial(_B, square)
    large = xp.clip(size, 0.46875, 6.0)
    outer = 1 - xp.exp(-large * large) * _polynomial(_C, large) / _polynomial(_D, large)
    return xp.copysign(xp.where(size <= 0.46875, inner, outer), x)


def _erf_forward(xp: Any, x: Any) -> Any:
    if getattr(xp, "__name__", "") == "cupy":
        return importlib.import_module("cupyx.scipy.special").erf(x)
    single = x.dtype.char == "f"
    if not single and x.dtype.char != "d":
        narrow = x.dtype if x.dtype.kind == "V" else np.result_type(x.dtype, np.float16)  # bfloat16 stays
        return _erf_forward(xp, x.astype(np.float32 if narrow.itemsize <= 2 else np.float64)).astype(narrow)
    compute = _erf32 if single else _erf64
    if not x.ndim:
        return compute(xp, x.reshape(1)).reshape(())
    return _in_chunks(lambda x: compute(xp, x), x)


erf = Op(
    "erf",
    _erf_forward,
    lambda F, g, x, need: (g * (F.exp(-(x * x)) * (2 / math.sqrt(math.pi))),),
    save=0,
    elementwise=True,
    abstract=lambda x: Spec(x.shape, np.result_type(x.dtype, np.float16)),
    samples=unary(-3, 3),
    doc="The error function; 0 at 0, 1 at infinity. Relative error below 1e-15 in float64, 1e-6 in float32.",
)


# P(Z > a) = exp(-a^2 / 2) P(a) / Q(a) for the normal Z, relative error 4e-7 on [0, 14]: without the cancellation of
# 1 + erf in the left tail, which float32 would feel
_TAIL_P = (0.0170474535, 0.119530767, 0.361969825, 0.499999811)
_TAIL_Q = (0.0427366307, 0.299416551, 0.953435719, 1.52180539, 1.0)


def _tail(F: Any, x: Any) -> tuple[Any, Any, Any]:
    """``|x|``, at most 14, ``exp(-x^2 / 2)`` and the probability beyond ``|x|``, for float32 arrays."""
    a = F.clip(abs(x), 0, 14)
    e = F.exp(a * a * -0.5)
    q = _polynomial(_TAIL_P, a)
    q /= _polynomial(_TAIL_Q, a)
    q *= e
    return a, e, q


def _gelu_forward(xp: Any, x: Any) -> Any:
    if x.dtype.char != "f" or not x.ndim:
        return (_erf_forward(xp, x * math.sqrt(0.5)) + 1) * x * 0.5

    def compute(x: Any) -> Any:
        a, _, q = _tail(xp, x)
        q *= a
        out = xp.clip(x, 0, np.inf)
        out -= q
        return out

    return _in_chunks(compute, x)


def _gelu_grad_forward(xp: Any, g: Any, x: Any) -> Any:
    if x.dtype.char != "f" or not x.ndim:
        distribution = (_erf_forward(xp, x * math.sqrt(0.5)) + 1) * 0.5
        return g * (distribution + x * xp.exp(x * x * -0.5) * _DENSITY)

    def compute(g: Any, x: Any) -> Any:
        _, e, q = _tail(xp, x)
        slope = (1 - 2 * q) * (x > 0)  # the distribution function is q or 1 - q
        slope += q
        e *= _DENSITY
        e *= x
        slope += e
        slope *= g
        return slope

    return _in_chunks(compute, g, x)


def _gelu_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    if not isinstance(g, Tensor):
        return (F.gelu_grad(g, x),)
    distribution = (F.erf(x * math.sqrt(0.5)) + 1) * 0.5
    return (g * (distribution + x * F.exp(x * x * -0.5) * _DENSITY),)


_gelu = Op(
    "gelu",
    keeps_half(_gelu_forward),
    _gelu_vjp,
    save=0,
    heavy=True,
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-4, 4, torch=lambda t, x: t.nn.functional.gelu(x)),
    doc="``x Phi(x)`` with the normal distribution function, by erf.",
)
gelu_grad = Op(
    "gelu_grad",
    _gelu_grad_forward,
    None,
    heavy=True,
    abstract=lambda g, x: x,
    samples=lambda: [Sample((array(seed, (3, 4)), array(seed + 9, (3, 4), -4, 4)), grad=False) for seed in (0, 1)],
    doc="The gradient of gelu; without a rule of its own: where a graph of it is wanted, it is spelled out in plain ops.",
)

_K = math.sqrt(2 / math.pi)


def _tanh_of(F: Any, x: Any) -> Any:
    return F.tanh((x * x * 0.044715 + 1) * x * _K)


def _gelu_tanh_slope(F: Any, x: Any) -> Any:
    t = _tanh_of(F, x)
    inner = (x * x * (3 * 0.044715) + 1) * _K
    return (t + 1) * 0.5 + x * (1 - t * t) * inner * 0.5


_gelu_tanh = Op(
    "gelu_tanh",
    keeps_half(lambda xp, x: x * (_tanh_of(xp, x) + 1) * 0.5),
    lambda F, g, x, need: (g * _gelu_tanh_slope(F, x) if isinstance(g, Tensor) else F.gelu_tanh_grad(g, x),),
    save=0,
    heavy=True,
    elementwise=True,
    abstract=_FLOAT,
    samples=unary(-4, 4, torch=lambda t, x: t.nn.functional.gelu(x, approximate="tanh")),
    doc="The tanh approximation of gelu.",
)
gelu_tanh_grad = Op(
    "gelu_tanh_grad",
    lambda xp, g, x: g * _gelu_tanh_slope(xp, x),
    None,
    heavy=True,
    abstract=lambda g, x: x,
    samples=lambda: [Sample((array(seed, (3, 4)), array(seed + 9, (3, 4), -4, 4)), grad=False) for seed in (0, 1)],
    doc="The gradient of gelu_tanh, without a rule of its own.",
)


def gelu(x: Any, approximate: str = "none") -> Any:
    """Gaussian error linear unit, ``x * Phi(x)`` (arXiv:1606.08415).

    ``approximate="none"`` is the exact one, by erf. ``"tanh"`` is
    ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))``, which GPT-2 uses and which differs by up to 5e-4.
    """
    if approximate == "none":
        return _gelu(x)
    if approximate == "tanh":
        return _gelu_tanh(x)
    raise HyperparameterError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
