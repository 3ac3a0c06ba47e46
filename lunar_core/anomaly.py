"""``with lc.anomaly_mode():`` finds the first value or gradient that is not finite, and says where it came from.

The error names the op, the line of the user's code that applied it, and the module. The checks cost several times the
run time; switch the mode on to look for a fault, not for good.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from . import autograd, backend, module, op
from .errors import GradientError
from .tensor import Tensor

_HERE = os.path.dirname(os.path.abspath(__file__))


def _line() -> str:
    """File and line of the innermost frame outside of this package."""
    frame = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith((_HERE, "<lunar_core")):
            return f"{filename}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "an unknown line"


def _bad(array: Any) -> str | None:
    """What is wrong with ``array``: how many of its values are not finite."""
    if array is None or array.dtype.kind in "biu":
        return None
    xp = backend.of(array).xp if backend.is_array(array) else None
    if xp is None or bool(xp.isfinite(array).all()):
        return None
    nans, total = int(xp.isnan(array).sum()), array.size
    others = total - int(xp.isfinite(array).sum()) - nans
    return f"{nans} NaN and {others} infinite of {total} values"


@contextlib.contextmanager
def anomaly_mode() -> Iterator[None]:
    """A block in which the first non-finite result or gradient raises :class:`GradientError`."""
    modules: list[Any] = []
    before = op.slot.tracer, autograd.slot.backward, module.slot.hook

    def traced(operation: Any, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        out = operation.apply(inputs, static)
        for result in out if isinstance(out, tuple) else (out,):
            if not isinstance(result, Tensor):
                continue
            place = _line() + (f" in {_path(modules)}" if modules else "")
            wrong = _bad(result.data)
            if wrong is not None:
                raise GradientError(f"anomaly: {operation.name} gave {wrong}, applied at {place}")
            if isinstance(result.node, autograd.Node):
                result.node.where = place
        return out

    def backward(node: Any, results: Any) -> None:
        for index, g in enumerate(results):
            wrong = None if g is None else _bad(g.data if isinstance(g, Tensor) else g)
            if wrong is not None:
                place = getattr(node, "where", "a line before the mode was switched on")
                raise GradientError(
                    f"anomaly: the gradient of {node.op.name} for its input {index} has {wrong}; applied at {place}"
                )

    def within(current: Any, args: Any, kwargs: Any, call: Any) -> Any:
        modules.append(current)
        try:
            return call(*args, **kwargs) if before[2] is None else before[2](current, args, kwargs, call)
        finally:
            modules.pop()

    op.slot.tracer, autograd.slot.backward, module.slot.hook = traced, backward, within
    try:
        yield
    finally:
        op.slot.tracer, autograd.slot.backward, module.slot.hook = before


def _path(modules: list[Any]) -> str:
    """The dotted path of the innermost module, from the outermost one."""
    names = []
    for outer, inner in zip(modules, modules[1:]):
        names.append(next((n for n, child in outer.named_children() if child is inner), type(inner).__name__))
    path = ".".join(names)
    return f'module "{path}" ({type(modules[-1]).__name__})' if path else f"module {type(modules[-1]).__name__}"
