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
    "dot": "matmul",
    "permute_dims": "transpose",
    "fix": "trunc",
    "round": "rint",
}
_KEYWORDS = {"a_min": "low", "a_max": "high", "ddof": "correction"}


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


_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any"}


def array_function(self: Tensor, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call of another NumPy function of which some argument is a Tensor."""
    function = _counterpart(func.__name__)
    try:
        return function(*args, **{_KEYWORDS.get(k, k): v for k, v in kwargs.items()})
    except LunarError:
        raise
    except TypeError as exc:
        raise DTypeError(f"np.{func.__name__} on Tensors: {exc}") from exc


Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
Tensor.__array_function__ = array_function  # type: ignore[attr-defined]
