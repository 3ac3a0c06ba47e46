"""Spellings of functions that work element by element."""

import numpy as np

from lunar_core import ops

from .spelling import names, numpy, same


def scaled(function):
    """``add`` and ``sub`` with PyTorch's ``alpha``, a factor on the second array."""
    return lambda x, y, *, alpha=1: function(x, y if alpha == 1 else y * alpha)


def divide(x, y, *, rounding_mode=None):
    if rounding_mode is None:
        return ops.divide(x, y)
    return ops.floor_divide(x, y) if rounding_mode == "floor" else ops.trunc(ops.divide(x, y))


def clamp(x, low=None, high=None, *, min=None, max=None):
    return ops.clip(x, min if low is None else low, max if high is None else high)


SPELLINGS = {
    **names(
        "abs angle ceil conj cos cosh digamma erf erfc erfinv exp exp2 expm1 floor isfinite isinf isnan lgamma log log10 "
        "log1p log2 logical_not reciprocal round rsqrt sigmoid sign signbit sin sinh sqrt square tan tanh trunc real imag "
        "neg bitwise_not mul true_divide remainder copysign hypot logaddexp maximum minimum logical_and logical_or "
        "logical_xor bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift floor_divide pow "
        "xlogy logit nextafter"
    ),
    "true_divide": same("divide"),
    "acos": same("arccos"), "acosh": same("arccosh"), "asin": same("arcsin"), "asinh": same("arcsinh"),
    "atan": same("arctan"), "atanh": same("arctanh"), "atan2": same("arctan2"), "conj_physical": same("conj"),
    "positive": lambda x: +x, "sgn": same("sign"), "ne": same("not_equal"), "eq": same("equal"), "lt": same("less"),
    "le": same("less_equal"), "gt": same("greater"), "ge": same("greater_equal"),
    "add": scaled(ops.add), "sub": scaled(ops.subtract), "rsub": lambda x, y, alpha=1: scaled(ops.subtract)(y, x, alpha=alpha),
    "div/no_rounding_mode": divide, "div/trunc_rounding": divide, "div/floor_rounding": divide,
    "clamp": clamp, "clamp_min": clamp, "clamp_max": lambda x, high: clamp(x, None, high),
    "max/binary": same("maximum"), "min/binary": same("minimum"),
    "round/decimals_0": same("round"), "round/decimals_3": same("round"), "round/decimals_neg_3": same("round"),
    **{f"polygamma/polygamma_n_{n}": lambda x, n: ops.polygamma(n, x) for n in range(5)},
    "special.polygamma/special_polygamma_n_0": lambda x, n: ops.polygamma(n, x),
    "isclose": same("isclose"), "nan_to_num": same("nan_to_num"), "lerp": same("lerp"),
    "where": lambda x, condition, y: ops.where(condition, x, y),
    "__radd__": lambda x, y: y + x, "__rsub__": lambda x, y: y - x, "__rmul__": lambda x, y: y * x,
    "__rdiv__": lambda x, y: y / x, "__rmod__": lambda x, y: y % x, "__rpow__": lambda x, y: y**x,
    "__rand__": lambda x, y: y & x, "__ror__": lambda x, y: y | x, "__rxor__": lambda x, y: y ^ x,
    "special.xlog1py": same("xlog1py"), "special.entr": same("entr"), "special.ndtr": same("ndtr"),
    **numpy("float_power fmod fmax fmin heaviside logaddexp2 sinc deg2rad rad2deg gcd lcm isposinf isneginf isreal"),
    "ldexp": np.ldexp, "frac": lambda x: np.modf(x)[0],
}  # fmt: skip
