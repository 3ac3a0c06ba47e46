"""Operators and methods of Tensor, attached from the functions of the families.

``METHODS`` is the whole list: method name -> function that takes the tensor first.
"""

from __future__ import annotations

from typing import Any

from ..op import Op
from ..tensor import Tensor
from . import elementwise as e
from . import indexing, linalg, reduction, shape


def _swapped(op: Any) -> Any:
    return lambda self, other: op(other, self)


ARITY = {"maximum": 2, "minimum": 2, "power": 2, "matmul": 2}  # of the ops among METHODS that take more than the tensor

OPERATORS: dict[str, Any] = {
    "__add__": e.add.applier(2),
    "__radd__": e.add.applier(2),
    "__sub__": e.subtract.applier(2),
    "__rsub__": _swapped(e.subtract),
    "__mul__": e.multiply.applier(2),
    "__rmul__": e.multiply.applier(2),
    "__truediv__": e.divide.applier(2),
    "__rtruediv__": _swapped(e.divide),
    "__floordiv__": e.floor_divide.applier(2),
    "__rfloordiv__": _swapped(e.floor_divide),
    "__mod__": e.remainder.applier(2),
    "__rmod__": _swapped(e.remainder),
    "__pow__": e.power.applier(2),
    "__rpow__": _swapped(e.power),
    "__matmul__": linalg.matmul.applier(2),
    "__rmatmul__": _swapped(linalg.matmul),
    "__neg__": e.negative.applier(1),
    "__pos__": lambda self: self,
    "__abs__": e.absolute.applier(1),
    "__eq__": e.equal.applier(2),
    "__ne__": e.not_equal.applier(2),
    "__lt__": e.less.applier(2),
    "__le__": e.less_equal.applier(2),
    "__gt__": e.greater.applier(2),
    "__ge__": e.greater_equal.applier(2),
    "__and__": e.logical_and.applier(2),
    "__or__": e.logical_or.applier(2),
    "__xor__": e.logical_xor.applier(2),
    "__invert__": e.logical_not.applier(1),
    "__getitem__": indexing.read,
}

METHODS: dict[str, Any] = {
    **{
        name: getattr(e, name)
        for name in (
            "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan arcsin arccos arctan sinh cosh "
            "tanh sign floor ceil trunc clip isnan isinf isfinite maximum minimum"
        ).split()
    },
    "abs": e.absolute,
    "pow": e.power,
    "round": e.rint,
    **{name: getattr(reduction, name) for name in "sum mean var std prod argmax argmin logsumexp norm cumsum".split()},
    "max": reduction.max_,
    "min": reduction.min_,
    "all": reduction.all_,
    "any": reduction.any_,
    **{
        name: getattr(shape, name)
        for name in "reshape flatten transpose swapaxes moveaxis expand_dims squeeze broadcast_to split unbind flip".split()
    },
    "take_along_axis": indexing.take_along_axis,
    "matmul": linalg.matmul,
}

PROPERTIES: dict[str, Any] = {
    "T": lambda self: shape.transpose(self),
    "mT": lambda self: shape.swapaxes(self, -1, -2),
    "at": indexing.at,
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
for _name, _getter in PROPERTIES.items():
    setattr(Tensor, _name, property(_getter))
