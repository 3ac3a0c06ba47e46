"""Bad input to elementwise functions and reductions: one error that names the function, what came, and the rule it broke."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, ShapeError

x = lc.tensor(np.arange(6.0).reshape(2, 3))
v, w, m = lc.ones(3, dtype="float64"), lc.ones(4, dtype="float64"), lc.eye(3, dtype="float64")
i, c = lc.tensor([[0, 1]]), lc.tensor([1j], dtype="complex128")

ELEMENTWISE = [
    ("ops.add(x, w)", ShapeError, "add: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.subtract(x, w)", ShapeError, "subtract: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.multiply(x, w)", ShapeError, "multiply: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.divide(x, w)", ShapeError, "divide: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.power(x, w)", ShapeError, "power: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.maximum(x, w)", ShapeError, "maximum: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.minimum(x, w)", ShapeError, "minimum: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.floor_divide(x, w)", ShapeError, "floor_divide: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.remainder(x, w)", ShapeError, "remainder: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.arctan2(x, w)", ShapeError, "arctan2: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.hypot(x, w)", ShapeError, "hypot: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.logaddexp(x, w)", ShapeError, "logaddexp: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.copysign(x, w)", ShapeError, "copysign: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.nextafter(x, w)", ShapeError, "nextafter: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.equal(x, w)", ShapeError, "equal: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.less(x, w)", ShapeError, "less: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.logical_and(x, w)", ShapeError, "logical_and: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.isclose(x, w)", ShapeError, "isclose: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.lerp(x, w, 0.5)", ShapeError, "lerp: shapes (4,) and (2, 3) do not broadcast together"),
    ("ops.clip(x, w)", ShapeError, "clip: shapes (2, 3) and (4,) do not broadcast together"),
    ("ops.where(x > 0, x, w)", ShapeError, "where: shapes (2, 3) and (2, 3) and (4,) do not broadcast together"),
    (
        "ops.bitwise_and(i, lc.tensor([1, 2, 3]))",
        ShapeError,
        "bitwise_and: shapes (1, 2) and (3,) do not broadcast together",
    ),
    ('ops.exp("abc")', DTypeError, "exp: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.sqrt("abc")', DTypeError, "sqrt: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.tanh("abc")', DTypeError, "tanh: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.sign("abc")', DTypeError, "sign: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.floor("abc")', DTypeError, "floor: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.isnan("abc")', DTypeError, "isnan: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.erf("abc")', DTypeError, "erf: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.sigmoid("abc")', DTypeError, "sigmoid: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.lgamma("abc")', DTypeError, "lgamma: expected tensors, arrays or numbers, got 'abc'"),
    ('ops.add(x, "a")', DTypeError, "add: expected tensors, arrays or numbers, got 'a'"),
    ("ops.exp(None)", DTypeError, "exp: expected tensors, arrays or numbers, got None"),
    ('ops.log(lc.Tensor(np.array(["a"])))', DTypeError, "log: cannot compute with dtype <U1"),
    ("ops.floor(c)", DTypeError, "floor: cannot compute with dtype complex128, called as floor((1,) complex128)"),
    ("ops.ceil(c)", DTypeError, "ceil: cannot compute with dtype complex128, called as ceil((1,) complex128)"),
    ("ops.cbrt(c)", DTypeError, "cbrt: cannot compute with dtype complex128, called as cbrt((1,) complex128)"),
    (
        "ops.arctan2(c, c)",
        DTypeError,
        "arctan2: cannot compute with dtype complex128, called as arctan2((1,) complex128, (1,) complex128)",
    ),
    (
        "ops.hypot(c, c)",
        DTypeError,
        "hypot: cannot compute with dtype complex128, called as hypot((1,) complex128, (1,) complex128)",
    ),
    ("ops.lgamma(c)", DTypeError, "lgamma: expected real numbers, got complex128"),
    (
        "ops.bitwise_and(x, x)",
        DTypeError,
        "bitwise_and: cannot compute with dtype float64, called as bitwise_and((2, 3) float64, (2, 3) float64)",
    ),
    (
        "ops.left_shift(x, 1)",
        DTypeError,
        "left_shift: cannot compute with dtype float64, called as left_shift((2, 3) float64, 1)",
    ),
    ("ops.invert(x)", DTypeError, "invert: cannot compute with dtype float64, called as invert((2, 3) float64)"),
    (
        'ops.clip(x, "a")',
        DTypeError,
        "clip: cannot compute with dtype float64, called as clip((2, 3) float64, low='a', high=None)",
    ),
    ("ops.round(x, 1.5)", DTypeError, "round: decimals must be an int, got 1.5"),
    ('x.astype("flot")', DTypeError, "unknown dtype 'flot'"),
    ('ops.nan_to_num(x, "a")', DTypeError, "nan_to_num((2, 3) float64, nan='a', posinf=None, neginf=None):"),
]
REDUCTIONS = [
    ("ops.sum(x, axis=2)", ShapeError, "sum: axis 2 is out of range for an array with 2 axes"),
    ("ops.mean(x, axis=2)", ShapeError, "mean: axis 2 is out of range for an array with 2 axes"),
    ("ops.var(x, axis=2)", ShapeError, "var: axis 2 is out of range for an array with 2 axes"),
    ("ops.std(x, axis=2)", ShapeError, "std: axis 2 is out of range for an array with 2 axes"),
    ("ops.prod(x, axis=2)", ShapeError, "prod: axis 2 is out of range for an array with 2 axes"),
    ("ops.max(x, axis=2)", ShapeError, "max: axis 2 is out of range for an array with 2 axes"),
    ("ops.min(x, axis=2)", ShapeError, "min: axis 2 is out of range for an array with 2 axes"),
    ("ops.logsumexp(x, axis=2)", ShapeError, "logsumexp: axis 2 is out of range for an array with 2 axes"),
    ("ops.norm(x, axis=2)", ShapeError, "norm: axis 2 is out of range for an array with 2 axes"),
    ("ops.any(x, axis=2)", ShapeError, "any: axis 2 is out of range for an array with 2 axes"),
    ("ops.all(x, axis=2)", ShapeError, "all: axis 2 is out of range for an array with 2 axes"),
    ("ops.argmax(x, axis=2)", ShapeError, "argmax: axis 2 is out of range for an array with 2 axes"),
    ("ops.argmin(x, axis=2)", ShapeError, "argmin: axis 2 is out of range for an array with 2 axes"),
    ("ops.count_nonzero(x, axis=2)", ShapeError, "count_nonzero: axis 2 is out of range for an array with 2 axes"),
    ("ops.median(x, axis=2)", ShapeError, "median: axis 2 is out of range for an array with 2 axes"),
    ("ops.sum(x, axis=-3)", ShapeError, "sum: axis -3 is out of range for an array with 2 axes"),
    ("ops.mean(x, axis=(0, 0))", ShapeError, "mean: axis (0, 0) names an axis twice"),
    ('ops.max(x, axis="a")', ShapeError, "max: axis must be an int, a tuple of ints or None, got 'a'"),
    ("ops.std(x, axis=1.5)", ShapeError, "std: axis must be an int, a tuple of ints or None, got 1.5"),
    ("ops.all(x, axis=(0, 5))", ShapeError, "all: axis 5 is out of range for an array with 2 axes"),
    ("ops.count_nonzero(x, axis=(1, 1))", ShapeError, "count_nonzero: axis (1, 1) names an axis twice"),
    ("ops.argmax(x, axis=(0, 5))", ShapeError, "argmax: axis 5 is out of range for an array with 2 axes"),
    ("ops.cumsum(x, axis=2)", ShapeError, "cumsum: axis 2 is out of range for an array with 2 axes"),
    ("ops.cumprod(x, axis=2)", ShapeError, "cumprod: axis 2 is out of range for an array with 2 axes"),
    ("ops.cummax(x, axis=2)", ShapeError, "cummax: axis 2 is out of range for an array with 2 axes"),
    ("ops.cummin(x, axis=2)", ShapeError, "cummin: axis 2 is out of range for an array with 2 axes"),
    ("ops.sort(x, axis=2)", ShapeError, "sort: axis 2 is out of range for an array with 2 axes"),
    ("ops.argsort(x, axis=2)", ShapeError, "argsort: axis 2 is out of range for an array with 2 axes"),
    ("ops.flip(x, axis=2)", ShapeError, "flip: axis 2 is out of range for an array with 2 axes"),
    ("ops.cumulative_sum(x, axis=2)", ShapeError, "cumulative_sum: axis 2 is out of range for an array with 2 axes"),
    ("ops.cumulative_prod(x, axis=2)", ShapeError, "cumulative_prod: axis 2 is out of range for an array with 2 axes"),
    ("ops.diff(x, axis=2)", ShapeError, "diff: axis 2 is out of range for an array with 2 axes"),
    ('ops.sort(x, axis="a")', ShapeError, "sort: axis must be an int, got 'a'"),
    ("ops.cummax(c)", DTypeError, "cummax: complex numbers have no order"),
    ("ops.max(lc.zeros((0, 3)))", ShapeError, "max((0, 3) float32, axis=None, keepdims=False):"),
    ("ops.min(lc.zeros((0, 3)), axis=0)", ShapeError, "min((0, 3) float32, axis=0, keepdims=False):"),
    ("ops.argmax(lc.zeros(0))", ShapeError, "argmax((0,) float32, axis=None, keepdims=False):"),
    ('ops.norm(x, ord="fro")', ShapeError, "norm: ord must be a number, got 'fro'"),
    ("ops.quantile(x, 1.5)", ShapeError, "quantile: q must lie in [0, 1], got 1.5"),
    (
        'ops.quantile(x, 0.5, method="best")',
        ShapeError,
        "quantile: method must be one of linear, lower, higher, nearest, midpoint, got 'best'",
    ),
    ("ops.quantile(c, 0.5)", DTypeError, "quantile: complex numbers have no order"),
    ("ops.median(lc.zeros(0))", ShapeError, "median: no elements over axis None of an array of shape (0,)"),
    ("ops.topk(x, 9)", ShapeError, "topk: k=9 of 3 elements on axis 1 of shape (2, 3)"),
    ("ops.topk(x, 1.5)", ShapeError, "topk: k=1.5 of 3 elements on axis 1 of shape (2, 3)"),
    ("ops.topk(x, 1, axis=4)", ShapeError, "topk: axis 4 is out of range for an array with 2 axes"),
    ('ops.searchsorted(v, v, side="middle")', ShapeError, "searchsorted: side must be 'left' or 'right', got 'middle'"),
    (
        "ops.searchsorted(x, lc.ones((3, 2)))",
        ShapeError,
        "searchsorted: rows of shape (2, 3) need values with the same leading axes, got (3, 2)",
    ),
    ("ops.bincount(v)", DTypeError, "bincount: indices must be integers, got float64"),
    ("ops.bincount(lc.tensor([-1]))", ShapeError, "bincount: expected non-negative integers, the smallest is -1"),
    (
        "ops.bincount(lc.tensor([1, 2]), weights=v)",
        ShapeError,
        "bincount: expected 1-D integers, got shape (2,) and weights of shape (3,)",
    ),
    ("ops.bincount(lc.tensor([1]), minlength=-1)", ShapeError, "bincount: minlength must not be negative, got -1"),
    (
        "ops.histogram(v, bins=0)",
        ShapeError,
        "histogram: x (3,), bins=0, range=None: `bins` must be positive, when an integer",
    ),
    (
        "ops.histogram(v, bins=[3, 1])",
        ShapeError,
        "histogram: x (3,), bins=[3, 1], range=None: `bins` must increase monotonically, when an array",
    ),
    (
        "ops.histogram(v, range=(2, 1))",
        ShapeError,
        "histogram: x (3,), bins=10, range=(2, 1): max must be larger than min in range parameter.",
    ),
    (
        "ops.histogram(v, weights=w)",
        ShapeError,
        "histogram: x (3,), bins=10, range=None, weights of shape (4,): weights should have the same shape as a.",
    ),
    ("ops.unique(x, axis=5)", ShapeError, "unique: axis 5 is out of range for an array with 2 axes"),
    ("ops.cumulative_sum(x)", ShapeError, "cumulative_sum: an array of shape (2, 3) needs an axis"),
    ("ops.diff(x, -1)", ShapeError, "diff: n must not be negative, got -1"),
]


CASES = [*ELEMENTWISE, *REDUCTIONS]


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[call for call, _, _ in CASES])
def test_a_mistake_is_named_with_the_function_and_what_came(call, error, message):
    with pytest.raises(error) as caught:
        eval(call, {"ops": ops, "lc": lc, "x": x, "v": v, "w": w, "m": m, "i": i, "c": c, "np": np})
    assert caught.value.message.startswith(message)
