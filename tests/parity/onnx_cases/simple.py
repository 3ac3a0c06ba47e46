"""ONNX operators that work element by element, compare, reduce or multiply matrices."""

import functools

import numpy as np

from lunar_core import ops
from lunar_core.ops import creation

from .spelling import Differs, NotHere, ints, item, kept, same, text


def variadic(function):
    return lambda *xs: functools.reduce(function, xs) if len(xs) > 1 else +xs[0]


def divide(x, y):
    """Integers are divided with the result cut off."""
    if x.dtype.kind in "iu":
        quotient = ops.floor_divide(ops.abs(x), ops.abs(y)) if x.dtype.kind == "i" else ops.floor_divide(x, y)
        return kept(quotient * ops.sign(x) * ops.sign(y), x.dtype) if x.dtype.kind == "i" else quotient
    return ops.divide(x, y)


def clip(x, low=None, high=None):
    return ops.clip(x, low, high)


def isinf(x, detect_negative=1, detect_positive=1):
    found = ops.isinf(x)
    if not detect_negative:
        found = ops.logical_and(found, x > 0)
    return found if detect_positive else ops.logical_and(found, x < 0)


def bit_shift(x, y, direction):
    return ops.left_shift(x, y) if text(direction) == "LEFT" else ops.right_shift(x, y)


def shrink(x, bias=0.0, lambd=0.5):
    if bias not in (0.0, lambd):
        raise NotHere("a shrinkage that moves by another amount than its threshold")
    return kept(ops.softshrink(x, lambd) if bias else ops.hardshrink(x, lambd), x.dtype)


def hard_sigmoid(x, alpha=0.2, beta=0.5):
    return ops.clip(x * alpha + beta, 0.0, 1.0)


def thresholded_relu(x, alpha=1.0):
    return ops.where(x > alpha, x, 0.0)


def selu(x, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875):
    """ELU, scaled."""
    return ops.elu(x, alpha) * gamma


def prelu(x, slope):
    return ops.where(x < 0, x * slope, x)


def gelu(x, approximate="none"):
    return ops.gelu(x, approximate=text(approximate))


def swish(x, alpha=1.0):
    return x * ops.sigmoid(x * alpha)


# -- reductions --------------------------------------------------------------------------------------------------------


def reduction(function):
    def spelled(x, axes=None, keepdims=1, noop_with_empty_axes=0):
        axes = ints(axes) if hasattr(axes, "data") else axes
        if not axes and noop_with_empty_axes:
            return function(x, axis=(), keepdims=True)
        return kept(function(x, axis=tuple(axes) if axes else None, keepdims=bool(keepdims)), x.dtype)

    return spelled


def log_sum(x, axis, keepdims):
    return ops.log(ops.sum(x, axis=axis, keepdims=keepdims))


def sum_square(x, axis, keepdims):
    return ops.sum(ops.square(x), axis=axis, keepdims=keepdims)


def extreme(name):
    """Bools have a largest and a smallest one too: any and all."""

    def function(x, axis, keepdims):
        if x.size == 0:
            raise Differs("the largest of no elements is refused")
        chosen = {"max": "any", "min": "all"}[name] if x.dtype == np.bool_ else name
        return getattr(ops, chosen)(x, axis=axis, keepdims=keepdims)

    return reduction(function)


def position(function):
    def spelled(x, axis=0, keepdims=1, select_last_index=0):
        if not select_last_index:
            return function(x, axis=axis, keepdims=bool(keepdims))
        return x.shape[axis] - 1 - function(ops.flip(x, axis), axis=axis, keepdims=bool(keepdims))

    return spelled


def running(function, inverse):
    def spelled(x, axis, exclusive=0, reverse=0):
        axis = item(axis)
        x = ops.flip(x, axis) if reverse else x
        if exclusive:  # the first is the neutral element, the last is left out
            head = (slice(None),) * (axis % x.ndim)
            first = x[(*head, slice(0, 1))] * 0 + inverse
            x = ops.concat([first, x[(*head, slice(0, -1))]], axis=axis)
        out = kept(function(x, axis=axis), x.dtype)
        return ops.flip(out, axis) if reverse else out

    return spelled


def lp_normalization(x, axis=-1, p=2):
    length = ops.norm(x, axis=axis, keepdims=True, ord=p)
    return x / ops.where(length == 0, 1.0, length)


def mean_variance_normalization(x, axes=(0, 2, 3)):
    axes = tuple(axes)
    return (x - ops.mean(x, axes, True)) / (ops.std(x, axes, True) + 1e-9)


def hardmax(x, axis=-1):
    first = ops.argmax(x, axis=axis)
    return ops.moveaxis(ops.one_hot(first, x.shape[axis], dtype=x.dtype), -1, axis)


# -- products ----------------------------------------------------------------------------------------------------------


def gemm(a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0):
    out = ops.matmul(a.T if transA else a, b.T if transB else b) * alpha
    return out if c is None else out + c * beta


def dft(x, length=None, axis=-2, inverse=0, onesided=0):
    axis = item(axis) if hasattr(axis, "data") else axis
    axis = axis if axis < 0 else axis - x.ndim
    axis, n = axis + 1, item(length)  # the last axis holds the parts of the numbers
    if x.shape[-1] == 1:
        z = x[..., 0]
    else:
        z = x[..., 0] + 1j * x[..., 1]
    if onesided and inverse:
        return ops.expand_dims(ops.irfft(z, n, axis=axis), -1)
    if onesided:
        out = ops.rfft(z, n, axis=axis)
    else:
        out = ops.ifft(z, n, axis=axis) if inverse else ops.fft(z, n, axis=axis)
    return ops.stack([ops.real(out), ops.imag(out)], axis=-1)


def einsum(*arrays, equation):
    return ops.einsum(text(equation), *arrays)


def range_(start, limit, delta):
    return creation.arange(item(start), item(limit), item(delta), dtype=start.dtype)


OPERATORS = {
    **{name: same(name.lower()) for name in
       "Abs Ceil Cos Cosh Erf Exp Floor IsNaN Log Mish Relu Reciprocal Round Sigmoid Sign Sin Sinh Softplus Softsign Sqrt "
       "Tan Tanh Equal Where Det MatMul Greater Less".split()},
    "Acos": same("arccos"), "Acosh": same("arccosh"), "Asin": same("arcsin"), "Asinh": same("arcsinh"), "Atan": same("arctan"),
    "Atanh": same("arctanh"), "Neg": same("negative"), "Not": same("logical_not"), "And": same("logical_and"),
    "Or": same("logical_or"), "Xor": same("logical_xor"), "Add": same("add"), "Sub": same("subtract"), "Mul": same("multiply"),
    "Div": divide, "Pow": lambda x, y: kept(ops.power(x, y), x.dtype), "GreaterOrEqual": same("greater_equal"),
    "LessOrEqual": same("less_equal"), "BitwiseAnd": same("bitwise_and"), "BitwiseOr": same("bitwise_or"),
    "BitwiseXor": same("bitwise_xor"), "BitwiseNot": same("bitwise_not"), "BitShift": bit_shift,
    "Mod": lambda x, y, fmod=0: np.fmod(x, y) if fmod else ops.remainder(x, y),
    "Max": variadic(ops.maximum), "Min": variadic(ops.minimum), "Sum": variadic(ops.add),
    "Mean": lambda *xs: variadic(ops.add)(*xs) / len(xs), "Clip": clip, "IsInf": isinf,
    "Celu": lambda x, alpha=1.0: ops.celu(x, alpha), "Elu": lambda x, alpha=1.0: ops.elu(x, alpha), "Selu": selu,
    "LeakyRelu": lambda x, alpha=0.01: ops.leaky_relu(x, alpha), "ThresholdedRelu": thresholded_relu, "PRelu": prelu,
    "HardSigmoid": hard_sigmoid, "HardSwish": same("hardswish"), "Shrink": shrink, "Gelu": gelu, "Swish": swish,
    "Softmax": lambda x, axis=-1: ops.softmax(x, axis=axis), "LogSoftmax": lambda x, axis=-1: ops.log_softmax(x, axis=axis),
    "Hardmax": hardmax, "LpNormalization": lp_normalization, "MeanVarianceNormalization": mean_variance_normalization,
    "ReduceSum": reduction(ops.sum), "ReduceMean": reduction(ops.mean), "ReduceProd": reduction(ops.prod),
    "ReduceMax": extreme("max"), "ReduceMin": extreme("min"), "ReduceL1": reduction(functools.partial(ops.norm, ord=1)),
    "ReduceL2": reduction(ops.norm), "ReduceLogSum": reduction(log_sum), "ReduceLogSumExp": reduction(ops.logsumexp),
    "ReduceSumSquare": reduction(sum_square), "ArgMax": position(ops.argmax), "ArgMin": position(ops.argmin),
    "CumSum": running(ops.cumsum, 0), "CumProd": running(ops.cumprod, 1), "Gemm": gemm, "Einsum": einsum, "DFT": dft,
    "Range": range_,
}  # fmt: skip
