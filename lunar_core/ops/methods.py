"""Operators and methods of Tensor, attached from the functions of the families.

``METHODS`` is the whole list: method name -> function that takes the tensor first.
"""

from __future__ import annotations

from typing import Any

from ..op import Op
from ..tensor import Tensor
from . import (
    activation,
    bitwise,
    complexes,
    decompositions,
    floating,
    indexing,
    inverse,
    linalg,
    matrix,
    rearrange,
    reduction,
    scan,
    shape,
    sorting,
)
from . import elementwise as e
from .at import at
from .dlpack import PROTOCOL
from .scatter import gather, masked_fill, masked_select, nonzero, scatter, scatter_add, take
from .softmax import log_softmax, softmax
from .special import digamma, erfc, erfinv, lgamma

# of the ops among METHODS that take more than the tensor
ARITY = {"maximum": 2, "minimum": 2, "power": 2, "matmul": 2, "copysign": 2, "logaddexp": 2}

OPERATORS: dict[str, Any] = {
    "__add__": e.add.applier(2),
    "__radd__": e.add.applier(2),
    "__sub__": e.subtract.applier(2),
    "__rsub__": e.subtract.reflected(),
    "__mul__": e.multiply.applier(2),
    "__rmul__": e.multiply.applier(2),
    "__truediv__": e.divide.applier(2),
    "__rtruediv__": e.divide.reflected(),
    "__floordiv__": e.floor_divide.applier(2),
    "__rfloordiv__": e.floor_divide.reflected(),
    "__mod__": e.remainder.applier(2),
    "__rmod__": e.remainder.reflected(),
    "__pow__": e.power.applier(2),
    "__rpow__": e.power.reflected(),
    "__matmul__": linalg.matmul.applier(2),
    "__rmatmul__": linalg.matmul.reflected(),
    "__neg__": e.negative.applier(1),
    "__pos__": lambda self: self,
    "__abs__": e.absolute.applier(1),
    "__eq__": e.equal.applier(2),
    "__ne__": e.not_equal.applier(2),
    "__lt__": e.less.applier(2),
    "__le__": e.less_equal.applier(2),
    "__gt__": e.greater.applier(2),
    "__ge__": e.greater_equal.applier(2),
    "__and__": bitwise.bitwise_and.applier(2),
    "__rand__": bitwise.bitwise_and.reflected(),
    "__or__": bitwise.bitwise_or.applier(2),
    "__ror__": bitwise.bitwise_or.reflected(),
    "__xor__": bitwise.bitwise_xor.applier(2),
    "__rxor__": bitwise.bitwise_xor.reflected(),
    "__lshift__": bitwise.left_shift.applier(2),
    "__rlshift__": bitwise.left_shift.reflected(),
    "__rshift__": bitwise.right_shift.applier(2),
    "__rrshift__": bitwise.right_shift.reflected(),
    "__invert__": bitwise.bitwise_invert.applier(1),
    "__getitem__": indexing.read,
}

METHODS: dict[str, Any] = {
    **{
        name: getattr(e, name)
        for name in (
            "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan arcsin arccos arctan sinh cosh "
            "tanh arcsinh arccosh arctanh sign floor ceil trunc clip isnan isinf isfinite maximum minimum cbrt conj lerp"
        ).split()
    },
    "abs": e.absolute,
    "angle": complexes.angle,
    **{name: getattr(floating, name) for name in "copysign signbit nan_to_num isclose".split()},
    "logaddexp": e.logaddexp,
    "pow": e.power,
    "round": floating.round_,
    **{
        name: getattr(reduction, name)
        for name in "sum mean var std prod argmax argmin logsumexp norm cumsum count_nonzero".split()
    },
    **dict.fromkeys(("max", "amax"), reduction.max_),
    **dict.fromkeys(("min", "amin"), reduction.min_),
    "all": reduction.all_,
    "any": reduction.any_,
    **{
        name: getattr(shape, name)
        for name in "reshape flatten transpose swapaxes moveaxis expand_dims squeeze broadcast_to split unbind flip".split()
    },
    **{name: getattr(activation, name) for name in "relu leaky_relu elu gelu sigmoid softplus silu erf".split()},
    "erfc": erfc,
    "erfinv": erfinv,
    "lgamma": lgamma,
    "digamma": digamma,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "take_along_axis": indexing.take_along_axis,
    **{f.__name__: f for f in (take, gather, scatter, scatter_add, masked_fill, masked_select, nonzero)},
    **{name: getattr(sorting, name) for name in "sort argsort topk median quantile unique".split()},
    **{name: getattr(scan, name) for name in "cumprod cummax cummin cumulative_sum cumulative_prod diff".split()},
    **{name: getattr(rearrange, name) for name in "chunk tile repeat roll tril triu diagonal diag diag_embed".split()},
    "matmul": linalg.matmul,
    "outer": linalg.outer,
    **{name: getattr(matrix, name) for name in "dot trace matrix_power".split()},
    **{name: getattr(inverse, name) for name in "inv pinv det slogdet".split()},
    **{name: getattr(decompositions, name) for name in "cholesky qr svd".split()},
}

PROPERTIES: dict[str, Any] = {
    "T": shape.transpose,
    "mT": lambda self: shape.swapaxes(self, -1, -2),
    "at": at,
    "real": complexes.real,
    "imag": complexes.imag,
}


def method(function: Any) -> Any:
    """A function that binds to the tensor, which an Op instance would not."""
    return function.applier(ARITY.get(function.name, 1)) if isinstance(function, Op) else function


def attach(methods: dict[str, Any]) -> None:
    """Add methods to Tensor."""
    for name, function in methods.items():
        setattr(Tensor, name, method(function))


attach(OPERATORS)
attach(METHODS)
attach(PROTOCOL)
for _name, _getter in PROPERTIES.items():
    setattr(Tensor, _name, property(_getter))
