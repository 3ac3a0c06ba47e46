"""Floating-point numbers as such: their signs, special values, closeness and decimal rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, HyperparameterError
from ..op import Op, Sample
from .common import array, binary, elementwise_spec, unary
from .elementwise import cast, rint


def _copysign_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, y = saved
    return (g * F.sign(x) * F.copysign(1.0, y) if need[0] else None, g * 0 if need[1] else None)


def _apart() -> list[Sample]:
    return [
        Sample((np.where(np.abs(s.args[0]) < 0.1, 0.5, s.args[0]), *s.args[1:]), s.static, s.grad, s.torch)
        for s in binary(-2, 2, second=(0.4, 2))()
    ]


copysign = Op(
    "copysign",
    "copysign",
    _copysign_vjp,
    save=(0, 1),
    broadcasts=True,
    elementwise=True,
    abstract=elementwise_spec(np.copysign),
    samples=_apart,
    doc="The magnitude of ``x`` with the sign of ``y``, the sign of a zero included; 0 has slope 0.",
)

signbit = Op(
    "signbit",
    "signbit",
    None,
    elementwise=True,
    abstract=elementwise_spec(dtype=bool),
    samples=unary(-1, 1, grad=False),
    doc="Whether the sign is negative, that of -0.0 included.",
)


def _torch_nextafter(t: Any, x: Any, y: Any) -> Any:
    """PyTorch's, which has no derivative, with the slope of ``x``."""
    return x + (t.nextafter(x, t.as_tensor(y, dtype=x.dtype)) - x).detach()


nextafter = Op(
    "nextafter",
    "nextafter",
    lambda F, g, saved, need: (g, g * 0 if need[1] else None),
    broadcasts=True,
    elementwise=True,
    abstract=elementwise_spec(np.nextafter),
    samples=binary(torch=_torch_nextafter),
    doc="The next number after ``x`` towards ``y`` that the dtype has; the slope is that of ``x``.",
)


def _nan_to_num_samples() -> list[Sample]:
    x = np.array([[1.5, np.nan, -np.inf], [np.inf, -2.0, 0.0]])
    return [
        Sample((array(0, (2, 3)),), {"nan": 0.0, "posinf": None, "neginf": None}),
        Sample((x,), {"nan": 2.0, "posinf": 9.0, "neginf": -7.0}, False, lambda t, x: t.nan_to_num(x, 2.0, 9.0, -7.0)),
    ]


_nan_to_num = Op(
    "nan_to_num",
    lambda xp, x, nan, posinf, neginf: xp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
    lambda F, g, x, need, nan, posinf, neginf: (F.where(F.isfinite(x), g, 0.0),),
    save=0,
    elementwise=True,
    abstract=lambda x, nan, posinf, neginf: x,
    samples=_nan_to_num_samples,
    doc="NaN and infinities replaced by numbers.",
)


def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """``x`` with NaN, +inf and -inf replaced by ``nan``, ``posinf`` and ``neginf``.

    ``None`` stands for the largest and the lowest finite number of the dtype. The slope is 1 at finite values, else 0.
    """
    return _nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


def round_(x: Any, decimals: int = 0) -> Any:
    """``x`` rounded to ``decimals`` places, halves to the even digit; negative counts round to tens, hundreds, ...

    As in NumPy, the number is scaled, rounded and scaled back. The slope is 0. Integers come back as they are for
    ``decimals`` >= 0.
    """
    if not isinstance(decimals, (int, np.integer)):
        raise DTypeError(f"round: decimals must be an int, got {decimals!r}")
    if x.dtype.kind in "biu" and decimals >= 0:
        return x
    if not decimals:
        return rint(x)
    scale = 10.0 ** abs(decimals)
    out = rint(x * scale) / scale if decimals > 0 else rint(x / scale) * scale
    return out if out.dtype == x.dtype else cast(out, dtype=x.dtype)


def _isclose_samples() -> list[Sample]:
    x = np.array([1.0, 1e-9, np.inf, np.nan, 100.0])
    y = np.array([1.00001, 0.0, np.inf, np.nan, 101.0])
    return [
        Sample((x, y), {"rtol": rtol, "atol": 1e-8, "equal_nan": nan}, False, _torch_isclose(rtol, nan))
        for rtol, nan in ((1e-5, False), (1e-2, True))
    ]


def _torch_isclose(rtol: float, nan: bool) -> Any:
    return lambda t, x, y: t.isclose(x, y, rtol=rtol, atol=1e-8, equal_nan=nan)


_isclose = Op(
    "isclose",
    lambda xp, x, y, rtol, atol, equal_nan: xp.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan),
    None,
    broadcasts=True,
    elementwise=True,
    abstract=elementwise_spec(dtype=bool),
    samples=_isclose_samples,
    doc="Whether two values differ by at most ``atol + rtol * |y|``.",
)


def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Where ``|x - y| <= atol + rtol * |y|``; equal infinities are close, NaN only under ``equal_nan``."""
    if rtol < 0 or atol < 0:
        raise HyperparameterError(f"isclose: rtol and atol must be >= 0, got {rtol} and {atol}")
    return _isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)
