"""NumPy functions on Tensors: ``np.exp(x)``, ``np.concatenate([x, y])`` and the like stay differentiable.

NumPy hands its calls over through ``__array_ufunc__`` and ``__array_function__``. They are answered by the function of the
same name in :mod:`lunar_core.ops` or in :mod:`lunar_core.ops.numpy_functions`; those that have no gradient by their nature
(``np.isin``, ``np.array_equal``, ...) run on the values. What is left is refused by name, so nothing leaves the graph silently.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, LunarError
from ..op import OPS, Op
from ..tensor import Tensor
from . import numpy_functions
from .elementwise import cast

# where the names differ
_FUNCTIONS = {"concatenate": "concat", "amax": "max", "amin": "min", "fix": "trunc", "unstack": "unbind"}
_KEYWORDS = {
    "a_min": "low", "a_max": "high", "min": "low", "max": "high", "ddof": "correction", "constant_values": "value",
    "x1": "x", "x2": "y", "rcond": "rtol",
}  # fmt: skip
_HINTS = {
    "out": "results are new tensors; x.assign_(...) writes in place",
    "where": "lc.ops.where(mask, x, neutral) first",
    "initial": "combine the result with the initial value",
    "dtype": "x.astype(...) converts",
    "order": "tensors are C-ordered",
}
_CAST_FIRST = frozenset(
    "sum prod mean var std cumsum cumprod trace nansum nanprod nanmean nanvar nanstd cumulative_sum cumulative_prod".split()
)
_CAST_AFTER = frozenset("concatenate concat stack hstack vstack full_like zeros_like ones_like empty_like".split())
# those without a gradient: they run on the values
_ON_VALUES = frozenset(
    "allclose array_equal array_equiv array2string array_repr array_str argpartition argwhere bitwise_count can_cast digitize "
    "flatnonzero gcd histogram2d histogramdd histogram_bin_edges in1d intersect1d iscomplexobj isin isneginf isposinf "
    "isreal iscomplex isrealobj lcm lexsort may_share_memory nanargmax nanargmin ndim packbits result_type setdiff1d setxor1d "
    "shape shares_memory size spacing tril_indices_from triu_indices_from union1d common_type "
    "diag_indices_from ix_ min_scalar_type ravel_multi_index unravel_index unique_all unique_counts unique_inverse "
    "unique_values unpackbits".split()
)  # fmt: skip

_IN_PLACE = frozenset("copyto fill_diagonal place put put_along_axis putmask".split())


def _counterpart(name: str, module: str = "numpy") -> Any:
    """The function that answers ``np.<name>``."""
    if module == "numpy.linalg" and name in numpy_functions.LINALG:
        return numpy_functions.LINALG[name]
    function = numpy_functions.FUNCTIONS.get(name) if module != "numpy.fft" else None
    if function is None and name in _ON_VALUES:
        return None
    function = function or getattr(sys.modules["lunar_core.ops"], _FUNCTIONS.get(name, name), None)
    if name in _IN_PLACE:
        raise DTypeError(
            f"np.{name} writes in place, which a graph cannot record", hint="x.at[index].set(value) gives a new one"
        )
    if not callable(function):
        raise DTypeError(
            f"{module.replace('numpy', 'np', 1)}.{name} has no differentiable counterpart here",
            hint=f"use np.{name}(x.detach().numpy()) where no gradient is meant to flow, or a function of lc.ops",
        )
    return function


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """Answer a ufunc call of which some input is a Tensor."""
    name = ufunc.__name__
    if method == "__call__" and not kwargs and name in OPS:
        return OPS[name](*inputs)
    kwargs = {k: v for k, v in kwargs.items() if not _is_default(k, v)}
    table = {"reduce": _REDUCTIONS, "accumulate": _RUNNING}.get(method)
    if table is not None and name in table:
        dtype = kwargs.pop("dtype", None)
        _refuse(name, set(kwargs) - {"axis", "keepdims"})
        x = inputs[0] if dtype is None else inputs[0].astype(dtype)
        return _counterpart(table[name])(x, **{"axis": 0, **kwargs})
    if method == "outer" and len(inputs) == 2:
        ops: Any = sys.modules["lunar_core.ops"]
        x, y = (v if isinstance(v, Tensor) else Tensor(np.asarray(v)) for v in inputs)
        inputs = (ops.reshape(x, (*x.shape, *(1,) * y.ndim)), y)
    elif method != "__call__":
        raise DTypeError(
            f"np.{name}.{method} does not take Tensors",
            hint="x.at[index].add(value) and its relatives write at places" if method == "at" else None,
        )
    dtype = kwargs.pop("dtype", None)
    _refuse(name, set(kwargs))
    if dtype is not None:
        inputs = tuple(v.astype(dtype) if isinstance(v, Tensor) else v for v in inputs)
    function = OPS.get(name) or _counterpart(name)
    return _on_values(ufunc, inputs, {}) if function is None else function(*inputs)


_REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
    "logaddexp": "logsumexp",
}
_RUNNING = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin"}


def _is_default(keyword: str, value: Any) -> bool:
    """Whether a keyword says nothing: NumPy fills some in, and ``out=None`` asks for a new array."""
    if value is np._NoValue or (value is None and keyword != "axis"):
        return True
    if keyword == "out":
        return isinstance(value, tuple) and all(v is None for v in value)
    return (keyword, value) in _DEFAULTS if isinstance(value, (str, bool)) else False


_DEFAULTS = {
    ("where", True), ("casting", "same_kind"), ("order", "K"), ("order", "C"), ("subok", True), ("subok", False),
    ("optimize", True), ("optimize", False), ("copy", True),
}  # fmt: skip


def _refuse(name: str, keywords: set[str]) -> None:
    if keywords:
        first = min(keywords)
        raise DTypeError(
            f"np.{name} of a Tensor takes no keyword {', '.join(sorted(keywords))}", hint=_HINTS.get(first)
        )


@functools.lru_cache(maxsize=512)
def _parameters(function: Any) -> Any:
    """The parameters of a function by name, or None where Python cannot tell."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def _bind(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a NumPy call: those that NumPy requires by position, the others by name."""
    known = _parameters(func)
    if known is None:
        return list(args), kwargs
    positional: list[Any] = []
    named = dict(kwargs)
    rest = list(args)
    for name, parameter in known.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += rest
            rest = []
        elif parameter.kind is parameter.KEYWORD_ONLY or not (rest or name in named):
            continue
        elif parameter.default is parameter.empty:
            positional.append(rest.pop(0) if rest else named.pop(name))
        elif rest:
            named[name] = rest.pop(0)
    return positional, named


@functools.lru_cache(maxsize=512)
def _direct(func: Any) -> tuple[Any, int, frozenset[str]] | None:
    """Of a NumPy function: its counterpart, how many arguments it takes by position as they are, and which by name."""
    function = _counterpart(func.__name__, func.__module__)
    theirs, own = _parameters(func), None if isinstance(function, Op) else _parameters(function)
    if function is None or theirs is None or own is None:
        return None
    first = sum(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in theirs.values()
    )
    return function, first, frozenset(set(theirs) & set(own) - {"dtype", "out", "where", "initial", "order", "copy"})


def _all_said(kwargs: dict[str, Any]) -> bool:
    return not kwargs or all(not (value is None or value is np._NoValue) for value in kwargs.values())


def array_function(self: Tensor, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a call of another NumPy function of which some argument is a Tensor."""
    direct = _direct(func)
    if direct is not None and len(args) <= direct[1] and direct[2].issuperset(kwargs) and _all_said(kwargs):
        return direct[0](*args, **kwargs)
    name = func.__name__
    function = _counterpart(name, func.__module__)
    if function is None:
        return _on_values(func, args, kwargs)
    try:
        positional, named = _bind(func, args, kwargs)
        takes = None if isinstance(function, Op) else _parameters(function)
        options = {}
        for keyword, value in named.items():
            if not _is_default(keyword, value):
                own = _KEYWORDS.get(keyword, keyword)
                options[own if takes is None or own in takes else keyword] = value
        dtype = options.pop("dtype", None) if name in _CAST_FIRST | _CAST_AFTER else None
        if takes is not None:
            _refuse(name, {k for k in options if k not in takes})
        if dtype is not None and name in _CAST_FIRST:
            positional[0] = positional[0].astype(dtype)
        result = function(*positional, **options)
        return cast(result, dtype=np.dtype(dtype)) if dtype is not None and name in _CAST_AFTER else result
    except LunarError:
        raise
    except TypeError as exc:
        raise DTypeError(f"np.{name} on Tensors: {exc}", hint=f"lc.ops.{name} says what it takes") from exc


def _on_values(func: Any, args: Any, kwargs: Any) -> Any:
    """The function of the array library over the raw arrays, its arrays as Tensors."""
    like: Any = None

    def bare(value: Any) -> Any:
        nonlocal like
        if isinstance(value, Tensor):
            like = value.data
            return value.data
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items()}
        return type(value)(map(bare, value)) if type(value) in (tuple, list) else value

    def wrapped(value: Any) -> Any:
        if backend.is_array(value):
            return Tensor(value)
        if isinstance(value, tuple):
            return type(value)(*map(wrapped, value)) if hasattr(value, "_fields") else tuple(map(wrapped, value))
        return value

    args, kwargs = bare(tuple(args)), bare(kwargs)
    return wrapped(getattr(backend.of(like).xp, func.__name__)(*args, **kwargs))


Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
Tensor.__array_function__ = array_function  # type: ignore[attr-defined]
