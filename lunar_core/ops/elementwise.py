"""Elementwise ops: arithmetic, comparisons, exponentials, trigonometry, rounding, selection.

Inputs broadcast as NumPy's do and dtypes promote as NumPy 2's do; Python numbers are weak. A rule gives the gradient in
the broadcast shape; the engine sums it back to each input's shape.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import OUTPUT, Op, Sample
from .common import array, binary, complex_array, elementwise_spec, keeps_half, speaks_as, unary

BOOL = elementwise_spec(dtype=bool)
# steep, or with a narrow range of good arguments: half precision would lose the result
_IN_FLOAT32 = frozenset(
    "exp exp2 expm1 log log2 log10 log1p logaddexp power reciprocal sinh cosh tan arcsin arccos arccosh arctanh".split()
)


def _cast_of(name: str) -> str | None:
    return "float32" if name in _IN_FLOAT32 else None


def _two(name: str, ufunc: np.ufunc, vjp: Any, save: Any, samples: Any, doc: str) -> Op:
    return Op(
        name,
        ufunc.__name__,
        vjp,
        save=save,
        broadcasts=True,
        elementwise=True,
        cast=_cast_of(name),
        abstract=elementwise_spec(ufunc),
        samples=samples,
        doc=doc,
    )


def _one(name: str, ufunc: np.ufunc, vjp: Any, save: Any, samples: Any, doc: str) -> Op:
    return Op(
        name,
        ufunc.__name__,
        vjp,
        save=save,
        elementwise=True,
        cast=_cast_of(name),
        abstract=elementwise_spec(ufunc),
        samples=samples,
        doc=doc,
    )


def _holomorphic(rule: Any) -> Any:
    """A rule ``g * f'(x)`` made right for complex values too, where the gradient is ``g * conj(f'(x))``."""

    def vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
        if g.dtype.kind != "c":
            return rule(F, g, saved, need)
        return [None if r is None else F.conjugate(r) for r in rule(F, F.conjugate(g), saved, need)]

    return vjp


def _smooth(name: str, ufunc: np.ufunc, vjp: Any, save: Any, samples: Any, doc: str) -> Op:
    def more() -> list[Sample]:
        return [*samples(), Sample((complex_array(7, (2, 3), 0.2, 0.9),))]

    return _one(name, ufunc, _holomorphic(vjp), save, more, doc)


# -- arithmetic --------------------------------------------------------------------------------------------------------

add = _two("add", np.add, lambda F, g, saved, need: (g, g), (), binary(), "``x + y``.")
subtract = _two(
    "subtract", np.subtract, lambda F, g, saved, need: (g, -g if need[1] else None), (), binary(), "``x - y``."
)


def _multiply_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, y = saved
    if g.dtype.kind == "c":
        x, y = _conj(F, x), _conj(F, y)
    return (g * y if need[0] else None, g * x if need[1] else None)


multiply = _two(
    "multiply",
    np.multiply,
    _multiply_vjp,
    (0, 1),
    binary(),
    "``x * y``.",
)
divide = _two(
    "divide",
    np.true_divide,
    lambda F, g, saved, need: (
        g / _conj(F, saved[0]) if need[0] else None,
        -g * _conj(F, saved[1] / saved[0]) if need[1] else None,
    ),
    (1, OUTPUT),
    binary(second=(0.5, 2.0)),
    "``x / y``.",
)


def _power_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, y, out = saved
    gx = gy = None
    if need[0]:
        if isinstance(y, (int, float, complex)):
            gx = g * (2 * x) if y == 2 else g * (y * x ** (y - 1))
        else:
            # where y is 0 the result is constant, also at x = 0, where x ** -1 is infinite
            gx = F.where(y == 0, 0.0, g * y * x ** F.where(y == 0, 1.0, y - 1))
    if need[1] and isinstance(x, (int, float)) and out.dtype.kind != "c":
        gy = g * out * (math.log(x) if x > 0 else 0.0)
    elif need[1]:
        if out.dtype.kind == "c":
            positive = x != 0 if hasattr(x, "dtype") else F.not_equal(x, 0)
        else:
            positive = x > 0
        gy = g * out * F.log(F.where(positive, x, 1.0))
    return gx, gy


power = _two(
    "power", np.power, _holomorphic(_power_vjp), (0, 1, OUTPUT), binary(0.3, 2.0, second=(-2, 2)), "``x ** y``."
)
negative = _one("negative", np.negative, lambda F, g, saved, need: (-g,), (), unary(-3, 3), "``-x``.")
absolute = _one(
    "absolute",
    np.absolute,
    lambda F, g, x, need: (g * F.sign(x),),
    0,
    unary(-3, 3, avoid=(0,)),
    "``|x|``; 0 has slope 0.",
)


def _sign_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    if g.dtype.kind != "c":
        return (g * 0,)
    size = F.absolute(x)  # x / |x| moves only across its own direction; 0 has slope 0
    size = F.where(size == 0, 1.0, size)
    y = x / size
    along = (F.conjugate(y) * g).real
    return (F.where(x == 0, 0.0, (g - y * along) / size),)


sign = _one("sign", np.sign, _sign_vjp, 0, unary(-3, 3, avoid=(0,)), "-1, 0 or 1; ``x / |x|`` of a complex number.")
square = _smooth("square", np.square, lambda F, g, x, need: (g * (2 * x),), 0, unary(-3, 3), "``x ** 2``.")
sqrt = _smooth("sqrt", np.sqrt, lambda F, g, y, need: (g * 0.5 / y,), OUTPUT, unary(0.1, 4), "Square root.")
reciprocal = _smooth(
    "reciprocal", np.reciprocal, lambda F, g, y, need: (-g * y * y,), OUTPUT, unary(0.3, 3), "``1 / x``."
)
rsqrt = Op(
    "rsqrt",
    lambda xp, x: 1 / xp.sqrt(x),
    _holomorphic(lambda F, g, y, need: (g * -0.5 * y * y * y,)),
    save=OUTPUT,
    cast="float32",
    elementwise=True,
    abstract=elementwise_spec(np.sqrt),
    samples=unary(0.1, 4),
    doc="``1 / sqrt(x)``.",
)
cbrt = _one(
    "cbrt", np.cbrt, lambda F, g, y, need: (g / (3 * y * y),), OUTPUT, unary(0.2, 4, torch=lambda t, x: x ** (1 / 3)),
    "Real cube root.",
)  # fmt: skip
floor_divide = _two(
    "floor_divide",
    np.floor_divide,
    lambda F, g, saved, need: tuple(g * 0 if needed else None for needed in need),
    (),
    binary(second=(0.5, 2.0), grad=False),
    "``x // y``, rounded down; its slope is 0.",
)
remainder = _two(
    "remainder",
    np.remainder,
    lambda F, g, saved, need: (g, -g * F.floor(saved[0] / saved[1]) if need[1] else None),
    (0, 1),
    binary(0.1, 5, second=(0.7, 1.1)),
    "``x % y``, with the sign of ``y``.",
)

# -- exponentials and logarithms ---------------------------------------------------------------------------------------

exp = _smooth("exp", np.exp, lambda F, g, y, need: (g * y,), OUTPUT, unary(-3, 3), "``e ** x``.")
exp2 = _smooth("exp2", np.exp2, lambda F, g, y, need: (g * (y * math.log(2)),), OUTPUT, unary(-3, 3), "``2 ** x``.")
expm1 = _smooth("expm1", np.expm1, lambda F, g, y, need: (g * (y + 1),), OUTPUT, unary(-3, 3), "``e ** x - 1``.")
log = _smooth("log", np.log, lambda F, g, x, need: (g / x,), 0, unary(0.2, 4), "Natural logarithm.")
log2 = _smooth(
    "log2", np.log2, lambda F, g, x, need: (g / (x * math.log(2)),), 0, unary(0.2, 4), "Logarithm to base 2."
)
log10 = _smooth(
    "log10", np.log10, lambda F, g, x, need: (g / (x * math.log(10)),), 0, unary(0.2, 4), "Logarithm to base 10."
)
log1p = _smooth("log1p", np.log1p, lambda F, g, x, need: (g / (x + 1),), 0, unary(-0.6, 3), "``log(1 + x)``.")


def _logaddexp_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    out = F.where(saved[2] == -math.inf, 0.0, saved[2])  # -inf beside -inf has slope 0

    def share(x: Any) -> Any:
        return g * F.exp(x - out)

    return share(saved[0]) if need[0] else None, share(saved[1]) if need[1] else None


logaddexp = _two(
    "logaddexp", np.logaddexp, _logaddexp_vjp, (0, 1, OUTPUT), binary(), "``log(exp(x) + exp(y))`` without overflow."
)

# -- trigonometric and hyperbolic --------------------------------------------------------------------------------------

sin = _smooth("sin", np.sin, lambda F, g, x, need: (g * F.cos(x),), 0, unary(-3, 3), "Sine; x in radians.")
cos = _smooth("cos", np.cos, lambda F, g, x, need: (-g * F.sin(x),), 0, unary(-3, 3), "Cosine; x in radians.")
tan = _smooth("tan", np.tan, lambda F, g, y, need: (g * (1 + y * y),), OUTPUT, unary(-1, 1), "Tangent; x in radians.")
arcsin = _smooth(
    "arcsin", np.arcsin, lambda F, g, x, need: (g / F.sqrt(1 - x * x),), 0, unary(-0.8, 0.8), "Inverse sine, radians."
)
arccos = _smooth(
    "arccos",
    np.arccos,
    lambda F, g, x, need: (-g / F.sqrt(1 - x * x),),
    0,
    unary(-0.8, 0.8),
    "Inverse cosine, radians.",
)
arctan = _smooth(
    "arctan", np.arctan, lambda F, g, x, need: (g / (1 + x * x),), 0, unary(-3, 3), "Inverse tangent, radians."
)
sinh = _smooth("sinh", np.sinh, lambda F, g, x, need: (g * F.cosh(x),), 0, unary(-2, 2), "Hyperbolic sine.")
cosh = _smooth("cosh", np.cosh, lambda F, g, x, need: (g * F.sinh(x),), 0, unary(-2, 2), "Hyperbolic cosine.")
tanh = _smooth("tanh", np.tanh, lambda F, g, y, need: (g * (1 - y * y),), OUTPUT, unary(-2, 2), "Hyperbolic tangent.")
arcsinh = _smooth(
    "arcsinh", np.arcsinh, lambda F, g, x, need: (g / F.sqrt(x * x + 1),), 0, unary(-3, 3), "Inverse hyperbolic sine."
)
arccosh = _smooth(
    "arccosh",
    np.arccosh,
    lambda F, g, x, need: (g / F.sqrt(x * x - 1),),
    0,
    unary(1.2, 4),
    "Inverse hyperbolic cosine.",
)
arctanh = _smooth(
    "arctanh", np.arctanh, lambda F, g, x, need: (g / (1 - x * x),), 0, unary(-0.8, 0.8), "Inverse hyperbolic tangent."
)
arctan2 = _two(
    "arctan2",
    np.arctan2,
    lambda F, g, saved, need: (
        g * saved[1] / (saved[0] * saved[0] + saved[1] * saved[1]) if need[0] else None,
        -g * saved[0] / (saved[0] * saved[0] + saved[1] * saved[1]) if need[1] else None,
    ),
    (0, 1),
    binary(0.3, 2.0),
    "Angle of the point (y, x) in radians, ``arctan2(y, x)``.",
)
hypot = _two(
    "hypot",
    np.hypot,
    lambda F, g, saved, need: (
        g * saved[0] / saved[2] if need[0] else None,
        g * saved[1] / saved[2] if need[1] else None,
    ),
    (0, 1, OUTPUT),
    binary(0.3, 2.0),
    "``sqrt(x**2 + y**2)`` without overflow.",
)

# -- extrema and selection ---------------------------------------------------------------------------------------------


def _extremum_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    # a tie shares the gradient, as in PyTorch
    x, y, out = saved
    half = 0.5 * (x == y)
    gx = g * ((x == out) - half) if need[0] else None
    gy = g * ((y == out) - half) if need[1] else None
    return gx, gy


_TIES = "NaN wins; ties share the gradient."
maximum = _two("maximum", np.maximum, _extremum_vjp, (0, 1, OUTPUT), binary(), f"The larger one; {_TIES}")
minimum = _two("minimum", np.minimum, _extremum_vjp, (0, 1, OUTPUT), binary(), f"The smaller one; {_TIES}")


def _clip_samples() -> list[Sample]:
    x = np.array([-3.0, -0.4, 0.3, 1.7, 5.0])
    return [
        Sample((x,), {"low": -1.0, "high": 2.0}, torch=lambda t, x: t.clamp(x, -1.0, 2.0)),
        Sample((x,), {"low": None, "high": 1.0}, torch=lambda t, x: t.clamp(x, None, 1.0)),
        Sample((x,), {"low": 0.0, "high": None}, torch=lambda t, x: t.clamp(x, 0.0, None)),
    ]


def _inside(F: Any, x: Any, low: Any, high: Any) -> Any:
    if low is None:
        return x <= high
    return x >= low if high is None else F.logical_and(x >= low, x <= high)


_clip = Op(
    "clip",
    keeps_half(lambda xp, x, low, high: xp.clip(x, low, high)),
    lambda F, g, x, need, low, high: (g * _inside(F, x, low, high),),
    save=0,
    elementwise=True,
    abstract=lambda x, low, high: x,
    samples=_clip_samples,
    doc="Values limited to [low, high].",
)


@speaks_as("clip")
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """``x`` limited to ``[low, high]``; either bound may be ``None``. The slope is 1 inside, bounds included, else 0.

    Bounds are numbers, or arrays that broadcast with ``x``; the gradient then flows to the bound where it holds and
    :func:`maximum`'s rule for ties applies.
    """
    if low is None and high is None:
        return +x
    if hasattr(low, "ndim") or hasattr(high, "ndim"):
        x = x if low is None else maximum(x, low)
        return x if high is None else minimum(x, high)
    return _clip(x, low=low, high=high)


def _where_forward(xp: Any, condition: Any, x: Any, y: Any) -> Any:
    if type(x) is float:  # a number is weak beside bfloat16 too
        x = y.dtype.type(x) if getattr(y, "dtype", condition.dtype).kind == "V" else x
    elif type(y) is float:
        y = x.dtype.type(y) if x.dtype.kind == "V" else y
    return xp.where(condition, x, y)


def _where_samples() -> list[Sample]:
    condition = np.array([[True, False, True], [False, False, True]])

    def of(t: Any, c: Any, x: Any, y: Any) -> Any:
        return t.where(c, x, y)

    return [
        Sample((condition, array(0, (2, 3)), array(1, (2, 3))), torch=of),
        Sample((condition, array(2, (3,)), array(3, (2, 1))), torch=of),
        Sample((condition[0], array(4, ()), 0.5), torch=of),
    ]


where = Op(
    "where",
    _where_forward,
    lambda F, g, condition, need: (
        None,
        F.where(condition, g, 0) if need[1] else None,
        F.where(condition, 0, g) if need[2] else None,
    ),
    save=0,
    broadcasts=True,
    cast="promote",
    elementwise=True,
    abstract=lambda c, x, y: elementwise_spec(np.add)(x, y)._replace(
        shape=np.broadcast_shapes(*[getattr(v, "shape", ()) for v in (c, x, y)])
    ),
    samples=_where_samples,
    doc="``x`` where the condition holds, else ``y``.",
)


@speaks_as("lerp")
def lerp(start: Any, end: Any, weight: Any) -> Any:
    """``start + weight * (end - start)``, broadcasting; ``weight`` is a number or an array, also outside [0, 1]."""
    return start + weight * (end - start)


# -- comparisons and logic: no gradient --------------------------------------------------------------------------------


def _test(name: str, doc: str, samples: Any = None) -> Op:
    return Op(
        name,
        name,
        None,
        broadcasts=True,
        elementwise=True,
        abstract=BOOL,
        samples=samples or binary(grad=False),
        doc=doc,
    )


equal = _test("equal", "``x == y``.")
not_equal = _test("not_equal", "``x != y``.")
less = _test("less", "``x < y``.")
less_equal = _test("less_equal", "``x <= y``.")
greater = _test("greater", "``x > y``.")
greater_equal = _test("greater_equal", "``x >= y``.")
logical_and = _test("logical_and", "Both are true.")
logical_or = _test("logical_or", "Either is true.")
logical_xor = _test("logical_xor", "Exactly one is true.")
logical_not = _test("logical_not", "It is not true.", unary(-1, 1, grad=False))
isnan = _test("isnan", "Not a number.", unary(-1, 1, grad=False))
isinf = _test("isinf", "Infinite.", unary(-1, 1, grad=False))
isfinite = _test("isfinite", "Neither infinite nor NaN.", unary(-1, 1, grad=False))

# -- rounding: piecewise constant, gradient zero -----------------------------------------------------------------------


def _step(name: str, ufunc: np.ufunc, doc: str) -> Op:
    return _one(name, ufunc, lambda F, g, saved, need: (g * 0,), (), unary(-3, 3, avoid=(-3, -2, -1, 0, 1, 2, 3)), doc)


floor = _step("floor", np.floor, "The largest integer not above x.")
ceil = _step("ceil", np.ceil, "The smallest integer not below x.")
trunc = _step("trunc", np.trunc, "The integer part.")
rint = Op(
    "rint",
    "rint",
    lambda F, g, saved, need: (g * 0,),
    elementwise=True,
    abstract=elementwise_spec(np.rint),
    samples=unary(-3, 3, avoid=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5), torch=lambda t, x: t.round(x)),
    doc="The nearest integer; halves go to the even one.",
)


# -- complex numbers ---------------------------------------------------------------------------------------------------


def _conj(F: Any, x: Any) -> Any:
    """The conjugate of complex values; real ones as they are, without an op."""
    if isinstance(x, complex):
        return x.conjugate()
    return F.conjugate(x) if getattr(x, "dtype", None) is not None and x.dtype.kind == "c" else x


conj = conjugate = _one(
    "conjugate", np.conjugate, lambda F, g, saved, need: (F.conjugate(g),), (), unary(-2, 2), "Complex conjugate."
)

# -- dtype and device --------------------------------------------------------------------------------------------------


def _cast_forward(xp: Any, x: Any, dtype: np.dtype) -> Any:
    return x.astype(dtype)


cast = Op(
    "cast",
    _cast_forward,
    lambda F, g, saved, need, dtype: (g,),  # the engine converts to the input's dtype
    heavy=True,
    jvp="linear",
    abstract=lambda x, dtype: x._replace(dtype=np.dtype(dtype)),
    samples=lambda: [
        Sample((array(0, (2, 3)),), {"dtype": np.dtype(np.float64)}, torch=lambda t, x: x.to(t.float64)),
        Sample((array(1, (3,)),), {"dtype": np.dtype(np.float32)}, grad=False, torch=lambda t, x: x.to(t.float32)),
    ],
    doc="Conversion to another dtype; the gradient is converted back.",
)


def _to_device_forward(xp: Any, x: Any, device: str) -> Any:
    from .. import backend

    return backend.for_device(device).from_numpy(backend.of(x).to_numpy(x), device)


def _to_device_vjp(F: Any, g: Any, x: Any, need: Any, device: str) -> Any:
    from .. import backend

    raw = getattr(x, "data", x) if hasattr(x, "node") else x
    return (to_device(g, device=backend.of(raw).device_of(raw)),)


to_device = Op(
    "to_device",
    _to_device_forward,
    _to_device_vjp,
    save=0,
    jvp="linear",
    abstract=lambda x, device: x,
    samples=[Sample((array(0, (2, 3)),), {"device": "cpu"}, torch=lambda t, x: x.to("cpu"))],
    doc="A copy on another device; the gradient travels back.",
)

_public = [name for name, value in globals().items() if isinstance(value, Op) and not name.startswith("_")]
__all__ = ["clip", "lerp", *_public]  # noqa: PLE0604
