"""Modified Bessel functions of the first kind, orders 0 and 1: i0, i1 and the scaled i0e, i1e.

Chebyshev series of ``exp(-x) I0(x)`` and ``exp(-x) I1(x) / x`` on [0, 8] and of ``sqrt(x) exp(-x) I(x)`` in 8 / x beyond, as
in Clenshaw's tables (1962); the coefficients were computed with 50 digits. Relative error below 1e-15 in float64, in which
all compute; the result has the dtype of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..op import OUTPUT, Op, Sample
from .common import unary
from .special import _forward, _piecewise, _spec

_I0_SMALL = (
    0.33839763720473803, -0.3046826723431984, 0.17162090152220877, -0.09490109704804764, 0.04930528423967071,
    -0.02373741480589947, 0.010546460394594998, -0.004324309995050576, 0.0016394756169413357, -0.0005763755745385824,
    0.00018850288509584165, -5.754195010082104e-05, 1.6448448070728896e-05, -4.4167383584587505e-06,
    1.1173875391201037e-06, -2.670793853940612e-07, 6.046995022541919e-08, -1.300025009986248e-08,
    2.6598237246823866e-09, -5.189795601635263e-10, 9.675809035373237e-11, -1.726826291441556e-11, 2.95505266312964e-12,
    -4.856446783111929e-13, 7.676185498604936e-14, -1.1685332877993451e-14, 1.715391285555133e-15,
    -2.431279846547955e-16, 3.3307945188222384e-17, -4.4153416464793395e-18, 5.669178006921496e-19,
)  # fmt: skip
_I0_LARGE = (
    0.4022452055070544, 0.0033691164782556943, 6.889758346916825e-05, 2.8913705208347567e-06, 2.0489185894690638e-07,
    2.266668990498178e-08, 3.3962320257083865e-09, 4.94060238822497e-10, 1.1889147107846439e-11, -3.1499165279632416e-11,
    -1.3215811840447713e-11, -1.7941785315068062e-12, 7.180124451383666e-13, 3.8527783827421426e-13,
    1.54008621752141e-14, -4.150569347287222e-14, -9.554846698828307e-15, 3.8116806693526224e-15, 1.7725601330565263e-15,
    -3.425485619677219e-16, -2.8276239805165836e-16, 3.461222867697461e-17, 4.46562142029676e-17, -4.830504485944182e-18,
    -7.233180487874754e-18, 9.921475412173699e-19, 1.193650890845982e-18,
)  # fmt: skip
_I1_SMALL = (
    0.12629359322181682, -0.17641651835783406, 0.1026436586898471, -0.05294598120809499, 0.024726449030626516,
    -0.010564084894626197, 0.004156422944312888, -0.0015135724506312532, 0.0005122859561685758, -0.00016176081582589674,
    4.781565107550054e-05, -1.3273163656039436e-05, 3.4702513081376785e-06, -8.568720264695455e-07,
    2.0032947535521353e-07, -4.445059128796328e-08, 9.381537386495773e-09, -1.8872497517228294e-09,
    3.625590281552117e-10, -6.663489723502027e-11, 1.1736186298890901e-11, -1.9839743977649436e-12,
    3.223793365945575e-13, -5.042185504727912e-14, 7.600684294735408e-15, -1.1055969477353862e-15,
    1.5536319577362005e-16, -2.111421214358166e-17, 2.7779141127610464e-18, -3.541581772542136e-19,
)  # fmt: skip
_I1_LARGE = (
    0.38928811750914005, -0.009761097491361469, -0.00011058893876262371, -3.882564808877691e-06, -2.512236237870209e-07,
    -2.6314688468895196e-08, -3.835380385964237e-09, -5.589743462196584e-10, -1.8974958123505413e-11,
    3.2526035830154884e-11, 1.4125807436613782e-11, 2.0356285441470896e-12, -7.198551776245908e-13,
    -4.0835511110921974e-13, -2.1015418427726643e-14, 4.272440016711951e-14, 1.0420276984128802e-14,
    -3.8144030724370075e-15, -1.8803547755107825e-15, 3.3082023109209285e-16, 2.96262899764595e-16,
    -3.209525921993424e-17, -4.6503053684893586e-17, 4.414348323071708e-18, 7.517296310842105e-18,
    -9.314178867326884e-19, -1.242193275194891e-18,
)  # fmt: skip


def _chebyshev(coefficients: Sequence[float], t: Any) -> Any:
    """The sum of ``c_k T_k(t)`` by Clenshaw's recurrence."""
    twice = 2 * t
    above = t * 0
    here = above + coefficients[-1]
    for c in coefficients[-2:0:-1]:
        here, above = c + twice * here - above, here
    return coefficients[0] + t * here - above


def _scaled(order: int) -> Any:
    """``exp(-|x|) I(x)`` on raw arrays."""
    small, large = (_I0_SMALL, _I0_LARGE) if order == 0 else (_I1_SMALL, _I1_LARGE)

    def compute(xp: Any, x: Any) -> Any:
        def near(x: Any) -> Any:
            size = xp.abs(x)
            value = _chebyshev(small, size / 4 - 1)
            return value * x if order else value

        def far(x: Any) -> Any:
            size = xp.abs(x)
            value = _chebyshev(large, 16 / size - 1) / xp.sqrt(size)
            return xp.copysign(value, x) if order else value

        size = xp.abs(x)
        return _piecewise(xp, x, [(size <= 8, near, 1.0), (size > 8, far, 9.0)])

    return compute


def _unscaled(order: int) -> Any:
    scaled = _scaled(order)

    def compute(xp: Any, x: Any) -> Any:
        half = xp.exp(0.5 * xp.abs(x))  # in two steps, since exp(|x|) overflows before the function does
        value = scaled(xp, x) * half * half
        return xp.where(xp.isinf(x), xp.copysign(np.inf, x) if order else np.inf, value)

    return compute


def _i1_over_x(F: Any, x: Any, y: Any) -> Any:
    """``y / x`` with the limit 1/2 at 0."""
    zero = F.equal(x, 0)
    return F.where(zero, 0.5, y / F.where(zero, 1.0, x))


def _samples(name: str) -> Any:
    def call(t: Any, x: Any) -> Any:
        return getattr(t.special, name)(x)

    return lambda: [*unary(-4, 4, avoid=(0,), torch=call)(), Sample((np.array([-30.5, -7.9, 8.1, 40.0]),), torch=call)]


def _op(name: str, compute: Any, vjp: Any, save: Any, doc: str) -> Op:
    return Op(
        name,
        _forward(name, compute),
        vjp,
        save=save,
        cast="float32",
        elementwise=True,
        abstract=_spec,
        samples=_samples(name),
        doc=doc,
    )


i0 = _op(
    "i0",
    _unscaled(0),
    lambda F, g, x, need: (g * F.i1(x),),
    0,
    "The modified Bessel function of the first kind of order 0.",
)
i1 = _op(
    "i1",
    _unscaled(1),
    lambda F, g, saved, need: (g * (F.i0(saved[0]) - _i1_over_x(F, *saved)),),
    (0, OUTPUT),
    "The modified Bessel function of the first kind of order 1.",
)
i0e = _op(
    "i0e",
    _scaled(0),
    lambda F, g, saved, need: (g * (F.i1e(saved[0]) - F.sign(saved[0]) * saved[1]),),
    (0, OUTPUT),
    "``exp(-|x|) * i0(x)``, which does not overflow.",
)
i1e = _op(
    "i1e",
    _scaled(1),
    lambda F, g, saved, need: (g * (F.i0e(saved[0]) - F.sign(saved[0]) * saved[1] - _i1_over_x(F, *saved)),),
    (0, OUTPUT),
    "``exp(-|x|) * i1(x)``, which does not overflow.",
)

__all__ = ["i0", "i0e", "i1", "i1e"]
