"""NumPy functions on Tensors: ``np.exp(x)``, ``np.concatenate([x, y])`` and the like stay differentiable.

NumPy hands its calls over through ``__array_ufunc__`` and ``__array_function__``; both are answered by the function of the
same name in :mod:`lunar_core.ops`. A function without a counterpart is refused by name, so nothing leaves the graph
silently.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..errors import DTypeError, LunarError
from ..op import OPS
from ..tensor import Tensor

# where the names differ
_FUNCTIONS = {
    "concatenate": "concat",
    "amax": "max",
    "amin": "min",
    "permute_dims": "transpose",
    "fix": "trunc",
}
_KEYWORDS = {"a_min": "low", "a_max": "high", "ddof": "correction", "constant_values": "value"}


def _counterpart(name: str) -> Any:
    function = getattr(sys.modules["lunar_core.ops"], _FUNCTIONS.get(name, name), None)
    if not callable(function):
        raise DTypeError(
            f"np.{name} has no differentiable counterpart here",
            hint=f"use np.{name}(x.detach().numpy()) where no gradient is meant to flow",
        )
    return function


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """Answer a ufunc call of which some input is a Tensor."""
    if method == "reduce" and ufunc.__name__ in _REDUCTIONS:
        kwargs = {k: v for k, v in kwargs.items() if v is not None and k in ("axis", "keepdims")}
        return _counterpart(_REDUCTIONS[ufunc.__name__])(*inputs, **{"axis": 0, **kwargs})
    if method != "__call__":
        raise DTypeError(f"np.{ufunc.__name__}.{method} does not take Tensors")
    if kwargs:
        raise DTypeError(
            f"np.{ufunc.__name__} of a Tensor takes no keyword {', '.join(kwargs)}",
            hint="results are new tensors; x.astype(...) converts the dtype",
        )
    op = OPS.get(ufunc.__name__)
    return op(*inputs) if op is not None else _counterpart(ufunc.__name__)(*inputs)


_REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}


def _linalg_norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    ops = sys.modules["lunar_core.ops"]
    pair = isinstance(axis, tuple) and len(axis) == 2
    if pair or (axis is None and ord is not None and x.ndim == 2):
        return ops.matrix_norm(x, "fro" if ord is None else ord, axis if pair else (-2, -1), keepdims)  # type: ignore[attr-defined]
    return ops.norm(x, axis=axis, keepdims=keepdims, ord=2 if ord is None else ord)  # type: ignore[attr-defined]


# functions of numpy.linalg that mean something else than their namesakes in numpy
_LINALG: dict[str, Any] = {
    "norm": _linalg_norm,
    "vector_norm": lambda x, *, axis=None, keepdims=False, ord=2: _counterpart("norm")(x, axis, keepdims, ord),
    "trace": lambda x, *, offset=0: _counterpart("trace")(x, offset, -2, -1),
    "diagonal": lambda x, *, offset=0: _counterpart("diagonal")(x, offset, -2, -1),
}


def array_function(self: Tensor, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call of another NumPy function of which some argument is a Tensor."""
    function = _LINALG.get(func.__name__) if func.__module__ == "numpy.linalg" else None
    function = function or _counterpart(func.__name__)
    try:
        return function(*args, **{_KEYWORDS.get(k, k): v for k, v in kwargs.items()})
    except LunarError:
        raise
    except TypeError as exc:
        raise DTypeError(f"np.{func.__name__} on Tensors: {exc}") from exc


Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
Tensor.__array_function__ = array_function  # type: ignore[attr-defined]
