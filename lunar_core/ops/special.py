"""Special functions: erfc, erfinv, lgamma, digamma, polygamma, without a library of special functions.

All compute in float64 and round to the dtype of the input. Methods and accuracy in float64:

erfc       Cody's rational fits (1969) with the exponent split in two; relative error below 1e-15 down to the smallest
           normal number.
erfinv     Wichura's AS241 (1988), a rational fit of degree 7 in three intervals; relative error below 1e-15.
lgamma     a polynomial fit of lgamma(2 + t) / t on [-1/2, 1/2], the recurrence up to 7, Stirling's series beyond, the
           reflection formula below 0; relative error below 1e-15 for x > 0; below 0 the error is that relative to the
           larger of the two terms of the reflection.
digamma    a polynomial fit with the positive root divided out on [1, 2], the recurrence up to 8, the asymptotic series
           beyond, the reflection formula below 0; relative error below 1e-15 for x > 0.
polygamma  the recurrence up to 10 + n and the Euler-Maclaurin series beyond, the reflection formula below 0; relative
           error below 1e-15 for x > 0 (measured up to n = 10).

The polynomial fits interpolate at Chebyshev nodes and were computed with 60 digits.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..op import OUTPUT, Op, Sample, Spec
from .activation import _A, _B, _C, _D, _in_chunks, _polynomial
from .common import array, unary

Region = tuple[Any, Callable[[Any], Any], float]  # where it holds, the formula, a point inside to compute at elsewhere


def _piecewise(xp: Any, x: Any, regions: Sequence[Region]) -> Any:
    """The first formula whose condition holds for each element; NaN where none does.

    On the host each formula sees its own elements only; elsewhere each is computed everywhere, without waiting for the
    device.
    """
    if xp is np:
        out = np.full(x.shape, np.nan)
        left = np.ones(x.shape, bool)
        for condition, formula, _ in regions:
            mine = condition & left
            if mine.all():
                return formula(x)
            if mine.any():
                out[mine] = formula(x[mine])
                left &= ~mine
        return out
    out = x * np.nan
    for condition, formula, inside in reversed(regions):
        out = xp.where(condition, formula(xp.where(condition, x, inside)), out)
    return out


def _forward(name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that computes in float64, in pieces, on the host, and with CuPy's own function on its devices."""

    def forward(xp: Any, x: Any, **static: Any) -> Any:
        if x.dtype.kind == "c":
            raise DTypeError(f"{name}: expected real numbers, got {x.dtype}")
        if getattr(xp, "__name__", "") == "cupy":
            function = getattr(importlib.import_module("cupyx.scipy.special"), {"lgamma": "gammaln"}.get(name, name))
            return function(*map(xp.asarray, static.values()), x)
        wide = x.astype(np.float64).reshape((1,) if not x.ndim else x.shape)
        with np.errstate(all="ignore"):
            out = _in_chunks(lambda part: compute(xp, part, **static), wide)
        return out.reshape(x.shape).astype(_dtype(x.dtype))

    return forward


def _dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of the result: float64 for integers."""
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype


def _spec(x: Spec, **static: Any) -> Spec:
    return Spec(x.shape, _dtype(x.dtype))


# -- erfc and erfinv ---------------------------------------------------------------------------------------------------

_P = (
    1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2,
    6.58749161529837803e-4,
)  # fmt: skip
_Q = (
    1.0,
    2.56852019228982242,
    1.87295284992346047,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)


def _exp_minus_square(xp: Any, x: Any) -> Any:
    """``exp(-x * x)`` without the rounding of ``x * x``: the high part of x is a multiple of 1/16, so its square is exact."""
    high = xp.floor(x * 16) * 0.0625
    return xp.exp(-high * high) * xp.exp(-(x - high) * (x + high))


def _erfc_tail(xp: Any, x: Any) -> Any:
    inverse = 1 / (x * x)
    series = inverse * _polynomial(_P, inverse) / _polynomial(_Q, inverse)
    return _exp_minus_square(xp, x) * (1 / math.sqrt(math.pi) - series) / x


def _erfc_middle(xp: Any, x: Any) -> Any:
    return _exp_minus_square(xp, x) * _polynomial(_C, x) / _polynomial(_D, x)


def _erfc_compute(xp: Any, x: Any) -> Any:
    size = xp.abs(x)

    def inner(x: Any) -> Any:
        square = x * x
        return 1 - x * _polynomial(_A, square) / _polynomial(_B, square)

    return _piecewise(xp, x, [
        (size <= 0.46875, inner, 0.0),
        ((x > 0) & (size <= 4), lambda x: _erfc_middle(xp, x), 1.0),
        (x > 4, lambda x: _erfc_tail(xp, xp.minimum(x, 30.0)), 5.0),
        (size <= 4, lambda x: 2 - _erfc_middle(xp, -x), -1.0),
        (x < -4, lambda x: 2 - _erfc_tail(xp, xp.minimum(-x, 30.0)), -5.0),
    ])  # fmt: skip


erfc = Op(
    "erfc",
    _forward("erfc", _erfc_compute),
    lambda F, g, x, need: (g * (F.exp(-(x * x)) * (-2 / math.sqrt(math.pi))),),
    save=0,
    elementwise=True,
    abstract=_spec,
    samples=unary(-3, 5),
    doc="The complementary error function, ``1 - erf(x)`` without its cancellation for large x.",
)

_CENTRAL = (
    (2.509080928730122672e3, 3.343057558358812810e4, 6.726577092700870085e4, 4.592195393154987145e4, 1.373169376550946112e4,
     1.971590950306551442e3, 1.331416678917843774e2, 3.387132872796366608),
    (5.226495278852854561e3, 2.872908573572194267e4, 3.930789580009271061e4, 2.121379430158659586e4, 5.394196021424751107e3,
     6.871870074920579083e2, 4.231333070160091125e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
     3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def _erfinv_compute(xp: Any, y: Any) -> Any:
    size = xp.abs(y)
    far = math.exp(-25.0)  # where Wichura's third interval begins, as a tail probability

    def central(y: Any) -> Any:
        r = 0.180625 - 0.25 * y * y
        return 0.5 * y * _polynomial(_CENTRAL[0], r) / _polynomial(_CENTRAL[1], r)

    def tail(fit: Any, start: float) -> Callable[[Any], Any]:
        def compute(y: Any) -> Any:
            r = xp.sqrt(-xp.log(0.5 * (1 - xp.abs(y)))) - start
            return xp.copysign(_polynomial(fit[0], r) / _polynomial(fit[1], r), y)

        return compute

    return math.sqrt(0.5) * _piecewise(xp, y, [
        (size <= 0.85, central, 0.0),
        ((size < 1) & (0.5 * (1 - size) >= far), tail(_TAIL, 1.6), 0.9),
        (size < 1, tail(_FAR, 5.0), 1 - 1e-12),
        (size == 1, lambda y: xp.copysign(xp.full_like(y, np.inf), y), 1.0),
    ])  # fmt: skip


erfinv = Op(
    "erfinv",
    _forward("erfinv", _erfinv_compute),
    lambda F, g, x, need: (g * (F.exp(x * x) * (math.sqrt(math.pi) / 2)),),
    save=OUTPUT,
    cast="float32",
    elementwise=True,
    abstract=_spec,
    samples=unary(-0.99, 0.99),
    doc="The inverse of erf: infinite at -1 and 1, NaN beyond.",
)

# -- lgamma and digamma ------------------------------------------------------------------------------------------------

_LGAMMA_2 = (  # lgamma(2 + t) / t on [-1/2, 1/2]
    2.7475390051909663e-07, -5.811277768921246e-07, 9.242852225162277e-07, -1.9743106888421067e-06, 4.3828545383846665e-06,
    -9.45628851510172e-06, 2.050601970174762e-05, -4.4923727564247656e-05, 9.945761692157133e-05, -0.00022315497746292723,
    0.0005096695196526673, -0.0011927539009983087, 0.002890510330865901, -0.007385551028935545, 0.02058080842778338,
    -0.06735230105319563, 0.3224670334241132, 0.42278433509846713,
)  # fmt: skip
_STIRLING = (  # B_2k / (2k (2k - 1))
    -1.3924322169059011, 0.17964437236883057, -0.029550653594771242, 0.00641025641025641, -0.0019175269175269176,
    0.0008417508417508417, -0.0005952380952380953, 0.0007936507936507937, -0.002777777777777778, 0.08333333333333333,
)  # fmt: skip
_DIGAMMA = (  # digamma(x) / (x - root) on [1, 2], by powers of x - 1.5
    0.0002522590506964885, -0.0003783907897248858, 0.00023650171719339814, -0.00035476352053371977, 0.0007184107969046378,
    -0.0010776863967234226, 0.0015580749137213761, -0.002337552647103118, 0.0035187504361950134, -0.005280903066090605,
    0.007926972735646359, -0.011908146513976738, 0.017907250563619775, -0.026975800029253667, 0.0407608338843387,
    -0.06192213319072707, 0.09498872445354183, -0.14840492305485808, 0.24054248424078478, -0.4236274212814573,
    0.9510558760318328,
)  # fmt: skip
_ROOT = (1.4616321449683622, 9.549995429965697e-17)  # digamma's positive root in two parts
_DIGAMMA_SERIES = (  # B_2k / 2k
    -26.456212121212122, 3.0539543302701198, -0.4432598039215686, 0.08333333333333333, -0.021092796092796094,
    0.007575757575757576, -0.004166666666666667, 0.003968253968253968, -0.008333333333333333, 0.08333333333333333,
)  # fmt: skip


def _around_two(t: Any) -> Any:
    """``lgamma(2 + t)`` for t in [-1/2, 1/2]."""
    return t * _polynomial(_LGAMMA_2, t)


def _sin_pi(xp: Any, x: Any) -> Any:
    """``|sin(pi x)|``, exact at the integers and of full accuracy near them."""
    part = x - xp.floor(x)
    return xp.sin(math.pi * xp.minimum(part, 1 - part))


def _lgamma_positive(xp: Any, x: Any) -> Any:
    def between(x: Any) -> Any:  # [2.5, 7): down to [1.5, 2.5) by the recurrence
        product = xp.ones_like(x)
        for _ in range(5):
            large = x >= 2.5
            x = xp.where(large, x - 1, x)
            product = xp.where(large, product * x, product)
        return xp.log(product) + _around_two(x - 2)

    def stirling(x: Any) -> Any:
        inverse = 1 / x
        series = inverse * _polynomial(_STIRLING, inverse * inverse)
        return xp.where(xp.isinf(x), x, (x - 0.5) * (xp.log(x) - 1) + (series + (0.5 * math.log(2 * math.pi) - 0.5)))

    return _piecewise(xp, x, [
        (x >= 7, stirling, 8.0),
        (x >= 2.5, between, 3.0),
        (x >= 1.5, lambda x: _around_two(x - 2), 2.0),
        (x >= 0.5, lambda x: _around_two(x - 1) - xp.log1p(x - 1), 1.0),
        (x > 0, lambda x: _around_two(x) - xp.log1p(x) - xp.log(x), 0.25),
        (x == 0, lambda x: xp.full_like(x, np.inf), 0.0),
    ])  # fmt: skip


def _lgamma_compute(xp: Any, x: Any) -> Any:
    def reflected(x: Any) -> Any:
        out = math.log(math.pi) - xp.log(_sin_pi(xp, x)) - _lgamma_positive(xp, 1 - x)
        return xp.where(xp.isinf(x), np.inf, out)

    return _piecewise(xp, x, [(x >= 0, lambda x: _lgamma_positive(xp, x), 1.0), (x < 0, reflected, -0.5)])


lgamma = Op(
    "lgamma",
    _forward("lgamma", _lgamma_compute),
    lambda F, g, x, need: (g * F.digamma(x),),
    save=0,
    cast="float32",
    elementwise=True,
    abstract=_spec,
    samples=lambda: [*unary(0.2, 9)(), Sample((np.array([-0.3, -2.6, 15.5]),))],
    doc="Logarithm of the magnitude of the gamma function; infinite at 0 and the negative integers.",
)


def _digamma_positive(xp: Any, x: Any) -> Any:
    def near(x: Any) -> Any:
        return ((x - _ROOT[0]) - _ROOT[1]) * _polynomial(_DIGAMMA, x - 1.5)

    def between(x: Any) -> Any:
        total = xp.zeros_like(x)
        for _ in range(6):
            large = x > 2
            x = xp.where(large, x - 1, x)
            total = xp.where(large, total + 1 / x, total)
        return near(x) + total

    def series(x: Any) -> Any:
        inverse = 1 / (x * x)
        return xp.log(x) - 0.5 / x - inverse * _polynomial(_DIGAMMA_SERIES, inverse)

    return _piecewise(xp, x, [
        (x >= 8, series, 9.0),
        (x > 2, between, 3.0),
        (x >= 1, near, 1.5),
        (x > 0, lambda x: near(x + 1) - 1 / x, 0.5),
        (x == 0, lambda x: xp.copysign(xp.full_like(x, np.inf), -x), 0.0),
    ])  # fmt: skip


def _digamma_compute(xp: Any, x: Any) -> Any:
    def reflected(x: Any) -> Any:
        part = x - xp.floor(x)
        part = xp.where(part > 0.5, part - 1, part)  # the tangent has period 1
        slope = math.pi / xp.tan(math.pi * part)
        return xp.where(part == 0, np.nan, _digamma_positive(xp, 1 - x) - slope)

    return _piecewise(xp, x, [(x >= 0, lambda x: _digamma_positive(xp, x), 1.0), (x < 0, reflected, -0.5)])


def _torch_trigamma(t: Any, x: Any) -> Any:
    """PyTorch's own trigamma errs by 5e-10; its zeta function does not."""
    above = t.special.zeta(2.0, t.where(x > 0, x, 1.0))
    return t.where(x > 0, above, (math.pi / t.sin(math.pi * x)) ** 2 - t.special.zeta(2.0, 1 - t.where(x > 0, 0.0, x)))


def _torch_digamma(t: Any, x: Any) -> Any:
    fixed = x.detach()
    return t.digamma(fixed) + (x - fixed) * _torch_trigamma(t, fixed)


digamma = Op(
    "digamma",
    _forward("digamma", _digamma_compute),
    lambda F, g, x, need: (g * F.polygamma(1, x),),
    save=0,
    cast="float32",
    elementwise=True,
    abstract=_spec,
    samples=lambda: [
        *unary(0.3, 9, torch=_torch_digamma)(),
        Sample((np.array([-0.3, -2.6, 15.5]),), torch=_torch_digamma),
    ],
    doc="The slope of lgamma; -infinite at 0, NaN at the negative integers.",
)

# -- polygamma ---------------------------------------------------------------------------------------------------------

_EULER_MACLAURIN = (  # B_2k / (2k)!
    0.08333333333333333, -0.001388888888888889, 3.306878306878307e-05, -8.267195767195768e-07, 2.08767569878681e-08,
    -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13, 8.586062056277845e-15, -2.174868698558062e-16,
    5.5090028283602295e-18, -1.3954464685812522e-19,
)  # fmt: skip


def _zeta(xp: Any, s: int, x: Any) -> Any:
    """Hurwitz's zeta function, the sum of (x + k) ** -s, for s >= 2 and x > 0."""
    total = xp.zeros_like(x)
    limit = 9 + s
    for _ in range(limit):
        small = x < limit
        total = xp.where(small, total + x**-s, total)
        x = xp.where(small, x + 1, x)
    power = x**-s
    total = total + x ** (1 - s) / (s - 1) + 0.5 * power
    factor = float(s)
    term = power / x
    for k, coefficient in enumerate(_EULER_MACLAURIN):
        total = total + coefficient * factor * term
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2)
        term = term / (x * x)
    return total


def _cotangent_slope(xp: Any, n: int, x: Any) -> Any:
    """The ``n``-th derivative of ``pi cot(pi x)``: a polynomial of the cotangent, ``p' -> -(1 + c^2) p'``."""
    coefficients = [0.0, 1.0]
    for _ in range(n):
        slope = [i * c for i, c in enumerate(coefficients)][1:]
        coefficients = [0.0] * (len(slope) + 2)
        for i, c in enumerate(slope):
            coefficients[i] -= c
            coefficients[i + 2] -= c
    part = x - xp.floor(x)
    part = xp.where(part > 0.5, part - 1, part)
    return math.pi ** (n + 1) * _polynomial(tuple(coefficients[::-1]), 1 / xp.tan(math.pi * part))


def _polygamma_compute(xp: Any, x: Any, n: int) -> Any:
    scale = (-1.0) ** (n + 1) * math.factorial(n)

    def reflected(x: Any) -> Any:
        out = (-1.0) ** n * scale * _zeta(xp, n + 1, 1 - x) - _cotangent_slope(xp, n, x)
        return xp.where(x == xp.floor(x), np.inf if n % 2 else np.nan, out)

    return _piecewise(xp, x, [
        (x > 0, lambda x: scale * _zeta(xp, n + 1, x), 1.0),
        (x <= 0, reflected, -0.5),
    ])  # fmt: skip


_polygamma = Op(
    "polygamma",
    _forward("polygamma", _polygamma_compute),
    lambda F, g, x, need, n: (g * F.polygamma(n + 1, x),),
    save=0,
    cast="float32",
    elementwise=True,
    abstract=_spec,
    samples=lambda: [
        *[Sample((array(n, (2, 3), 0.4, 6.0),), {"n": n}, torch=_torch_polygamma(n)) for n in (1, 2, 3)],
        Sample((np.array([-0.4, -2.7, -11.3]),), {"n": 1}, torch=_torch_trigamma),
    ],
    doc="The n-th derivative of digamma.",
)


def _torch_polygamma(n: int) -> Any:
    return lambda t, x: (-1) ** (n + 1) * math.factorial(n) * t.special.zeta(n + 1.0, x)


def polygamma(n: int, x: Any) -> Any:
    """The ``n``-th derivative of :func:`digamma` at ``x``; ``n`` = 1 is the trigamma function.

    At 0 and the negative integers it is infinite for odd ``n`` and NaN for even ``n`` > 0.
    """
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise DTypeError(f"polygamma: the order must be a non-negative int, got {n!r}")
    return _polygamma(x, n=int(n)) if n else digamma(x)


__all__ = ["digamma", "erfc", "erfinv", "lgamma", "polygamma"]
