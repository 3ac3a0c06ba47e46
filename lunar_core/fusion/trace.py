"""Record a pure elementwise function once, as a graph of what it computes.

:func:`trace` calls the function with symbols in place of its arrays and numbers. Arithmetic, comparisons, NumPy's
elementwise functions, ``np.where`` and ``np.clip`` on symbols are recorded; equal expressions become one node. What
depends on numbers only stays apart from what depends on an array: it is computed once per call, in Python arithmetic.

Python control flow runs while tracing. An ``if`` on a number is followed for the value at hand and noted as a guard of
the trace; an ``if`` on an array has no single answer and is an error.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import LunarError

_MAX_NODES = 10_000


class FusedError(LunarError, TypeError):
    """A function that cannot be fused, or a fused function called with what it cannot take."""


class Node:
    """One value of the trace.

    ``op`` is ``"input"``, ``"const"``, ``"where"`` or the name of the ufunc ``func``. ``array`` says whether the value
    has an element for each position or is one number; ``kind`` is that number's: ``"i"``, ``"f"`` or ``"b"``.
    ``value`` holds the constant, or for an input its path: ``(name,)`` or ``(name, index)`` in a tuple.
    """

    __slots__ = ("args", "array", "func", "kind", "op", "value")

    def __init__(self, op: str, func: Any, args: tuple[Node, ...], array: bool, kind: str, value: Any = None) -> None:
        self.op = op
        self.func = func
        self.args = args
        self.array = array
        self.kind = kind
        self.value = value

    def __repr__(self) -> str:
        return f"<{self.op} {self.value if self.value is not None else len(self.args)}>"


class Trace:
    """What one call of the function computed: the nodes in order, the results, and the branches taken on numbers."""

    def __init__(self, name: str, numbers: dict[tuple[Any, ...], Any]) -> None:
        self.name = name
        self.numbers = numbers  # path of each scalar input -> its value in the traced call
        self.nodes: list[Node] = []
        self.guards: list[tuple[Node, bool]] = []
        self.outputs: list[Node] = []
        self.returns_tuple = False
        self._known: dict[Any, Node] = {}
        self._evaluated: dict[Node, Any] = {}

    def add(self, op: str, func: Any, args: tuple[Node, ...], array: bool, kind: str, value: Any = None) -> Node:
        key = (op, func, args, value if op == "input" else (type(value), repr(value)))
        node = self._known.get(key)
        if node is None:
            if len(self.nodes) >= _MAX_NODES:
                raise FusedError(
                    f"{self.name}: more than {_MAX_NODES} operations were traced",
                    hint="a Python loop in a fused function is unrolled; is it endless?",
                )
            node = self._known[key] = Node(op, func, args, array, kind, value)
            self.nodes.append(node)
        return node

    def input(self, path: tuple[Any, ...], array: bool, kind: str = "f") -> Symbol:
        return Symbol(self, self.add("input", None, (), array, kind, path))

    def node(self, value: Any, what: str) -> Node:
        """The node of an operand: a symbol's own, or a constant's."""
        if isinstance(value, Symbol):
            if value._trace is not self:
                raise FusedError(f"{self.name}: {what} uses a value that was traced in another call")
            return value._node
        if isinstance(value, (np.bool_, np.integer, np.floating)) or (isinstance(value, np.ndarray) and not value.ndim):
            value = value.item()
        kind = {bool: "b", int: "i", float: "f"}.get(type(value))
        if kind is None:
            if isinstance(value, np.ndarray):
                raise FusedError(
                    f"{self.name}: {what} uses an array of shape {value.shape} that is not an argument",
                    hint="make it an argument of the function",
                )
            raise FusedError(f"{self.name}: {what} cannot take {value!r} ({type(value).__name__})")
        return self.add("const", None, (), False, kind, value)

    def apply(self, func: np.ufunc, *operands: Any) -> Symbol:
        name = func.__name__
        if func.nout != 1 or func.signature is not None:
            raise FusedError(f"{self.name}: np.{name} is not an elementwise function with one result")
        args = tuple([self.node(x, f"np.{name}") for x in operands])
        if func is np.power:
            simpler = self._power(*args)
            if simpler is not None:
                return simpler
        array = any(a.array for a in args)
        return Symbol(self, self.add(name, func, args, array, "f" if array else _scalar_kind(name, args)))

    def _power(self, base: Node, exponent: Node) -> Symbol | None:
        """``x**2`` and the like without the slow general power, as NumPy's own ``**`` operator does it.

        The constants are compared by value, so ``2`` and ``2.0`` are the same.
        """
        if not base.array or exponent.op != "const" or exponent.kind == "b":
            return None
        x = Symbol(self, base)
        simple: dict[Any, Callable[[], Any]] = {
            1: lambda: x,
            2: lambda: np.square(x),  # type: ignore[call-overload]
            3: lambda: np.square(x) * x,  # type: ignore[call-overload]
            4: lambda: np.square(np.square(x)),  # type: ignore[call-overload]
            0.5: lambda: np.sqrt(x),  # type: ignore[call-overload]
            -1: lambda: 1.0 / x,
        }
        make = simple.get(exponent.value)
        return None if make is None else make()

    def where(self, condition: Any, a: Any, b: Any) -> Symbol:
        args = tuple([self.node(x, "np.where") for x in (condition, a, b)])
        if args[0].array and args[0].op not in _BOOLEAN:
            args = (self.apply(np.not_equal, Symbol(self, args[0]), 0)._node, *args[1:])
        if args[0].op == "const":
            return Symbol(self, args[1] if args[0].value else args[2])
        array = any(a.array for a in args)
        return Symbol(self, self.add("where", None, args, array, "f" if array else _join_kinds(args[1:])))

    def branch(self, node: Node) -> bool:
        if node.array:
            frame = sys._getframe(2)
            raise FusedError(
                f"{self.name}: {frame.f_code.co_filename}:{frame.f_lineno} branches on the values of an array (if, "
                "while, and, or, not, min or max), which differ from element to element",
                hint="use np.where, np.maximum or np.minimum; to choose at the call, branch on a hyperparameter",
            )
        taken = bool(evaluate([node], self.numbers, self._evaluated)[0])
        if node.op != "const":
            self.guards.append((node, taken))
        return taken


_BOOLEAN = frozenset(("greater", "greater_equal", "less", "less_equal", "equal", "not_equal"))
_BOOLEAN |= {"logical_and", "logical_or", "logical_not", "logical_xor", "isnan", "isinf", "isfinite", "signbit"}
_KEEPS_INT = frozenset(("add", "subtract", "multiply", "floor_divide", "remainder", "power", "square"))
_KEEPS_INT |= {"negative", "positive", "absolute", "maximum", "minimum", "sign"}


def _scalar_kind(name: str, args: Sequence[Node]) -> str:
    if name in _BOOLEAN:
        return "b"
    kinds = _join_kinds(args)
    if kinds == "b":
        return (
            "b"
            if name in ("bitwise_and", "bitwise_or", "bitwise_xor", "invert")
            else "i"
            if name in _KEEPS_INT
            else "f"
        )
    return kinds if name in _KEEPS_INT else "f"


def _join_kinds(args: Sequence[Node]) -> str:
    kinds = {a.kind for a in args}
    return "f" if "f" in kinds else "i" if "i" in kinds else "b"


def _not_possible(what: str, hint: str) -> Callable[..., Any]:
    def raise_error(self: Symbol, *args: Any) -> Any:
        raise FusedError(f"{self._trace.name}: {what}", hint=hint)

    return raise_error


def _binary(func: np.ufunc) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Symbol, other: Any) -> Any:
        return self._trace.apply(func, self, other)

    def reflected(self: Symbol, other: Any) -> Any:
        return self._trace.apply(func, other, self)

    return forward, reflected


class Symbol:
    """Stands for an array or a number while a function is traced."""

    __slots__ = ("_node", "_trace")

    def __init__(self, trace: Trace, node: Node) -> None:
        self._trace = trace
        self._node = node

    def __repr__(self) -> str:
        return f"<traced {'array' if self._node.array else 'number'}>"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            raise FusedError(f"{self._trace.name}: np.{ufunc.__name__}.{method} is not elementwise", hint=_WHOLE)
        if kwargs:
            raise FusedError(
                f"{self._trace.name}: np.{ufunc.__name__}(..., {next(iter(kwargs))}=...) cannot be fused",
                hint="a fused function returns new values; for where= use np.where",
            )
        return self._trace.apply(ufunc, *inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        handler = _FUNCTIONS.get(func)
        if handler is None:
            raise FusedError(f"{self._trace.name}: np.{func.__name__} is not elementwise", hint=_WHOLE)
        return handler(self._trace, *args, **kwargs)

    def __bool__(self) -> bool:
        return self._trace.branch(self._node)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python and NumPy ask for protocols that are not there
            raise AttributeError(name)
        raise FusedError(f"{self._trace.name}: .{name} of a value is not known while tracing", hint=_WHOLE)

    __add__, __radd__ = _binary(np.add)
    __sub__, __rsub__ = _binary(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.true_divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder)
    __pow__, __rpow__ = _binary(np.power)
    __and__, __rand__ = _binary(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor)
    __lt__, __gt__ = _binary(np.less)[0], _binary(np.greater)[0]
    __le__, __ge__ = _binary(np.less_equal)[0], _binary(np.greater_equal)[0]
    __eq__, __ne__ = _binary(np.equal)[0], _binary(np.not_equal)[0]  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]

    def __neg__(self) -> Any:
        return self._trace.apply(np.negative, self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self._trace.apply(np.absolute, self)

    def __invert__(self) -> Any:
        return self._trace.apply(np.invert, self)

    __float__ = __int__ = __complex__ = __index__ = __round__ = _not_possible(  # type: ignore[assignment]
        "a value was converted to a plain number, as functions of `math` do",
        "use the NumPy function: np.sqrt, np.exp, ...",
    )
    __iter__ = __len__ = __getitem__ = __setitem__ = __contains__ = _not_possible(  # type: ignore[assignment]
        "a value was indexed or iterated over; a fused function sees one element at a time", ""
    )
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __ifloordiv__ = __imod__ = _not_possible(
        "an in-place operator such as += changes an array but not a number", "write x = x + ..."
    )
    __matmul__ = __rmatmul__ = _not_possible(
        "@ is not elementwise", "a rule over whole matrices sets elementwise = False"
    )


_WHOLE = "a fused function sees one element at a time; an optimizer's rule over whole arrays sets elementwise = False"


def _where(trace: Trace, condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None or y is None:
        raise FusedError(
            f"{trace.name}: np.where with one argument is not elementwise", hint="np.where(condition, a, b)"
        )
    return trace.where(condition, x, y)


def _clip(trace: Trace, a: Any, a_min: Any = None, a_max: Any = None, **bounds: Any) -> Any:
    low, high = bounds.pop("min", a_min), bounds.pop("max", a_max)
    if bounds:
        raise FusedError(f"{trace.name}: np.clip(..., {next(iter(bounds))}=...) cannot be fused")
    if low is not None:
        a = trace.apply(np.maximum, a, low)
    return a if high is None else trace.apply(np.minimum, a, high)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.clip: _clip,
    np.zeros_like: lambda trace, a: 0.0,
    np.ones_like: lambda trace, a: 1.0,
    np.full_like: lambda trace, a, fill_value: fill_value,
}


def trace(name: str, call: Callable[[Sequence[Any]], Any], arguments: dict[str, Any], arrays: frozenset[str]) -> Trace:
    """Trace ``call(values)``, where ``values`` stand in the order of ``arguments``.

    ``arguments`` maps every parameter to its value in this call. Those named in ``arrays`` are traced as arrays, ints
    and floats as numbers, tuples of them as tuples; everything else is handed over as it is.
    """
    numbers: dict[tuple[Any, ...], Any] = {}
    for key, value in arguments.items():
        for path, number in _numbers(key, value):
            numbers[path] = number
    result = Trace(name, numbers)
    kinds = {int: "i", float: "f"}

    def symbol(key: str, value: Any) -> Any:
        if key in arrays:
            return result.input((key,), True)
        if type(value) in kinds:
            return result.input((key,), False, kinds[type(value)])
        if type(value) is tuple and value and all(type(v) in kinds for v in value):
            return tuple(result.input((key, i), False, kinds[type(v)]) for i, v in enumerate(value))
        return value

    returned = call([symbol(key, value) for key, value in arguments.items()])
    result.returns_tuple = isinstance(returned, (tuple, list))
    items = list(returned) if result.returns_tuple else [returned]
    for item in items:
        if item is None:
            raise FusedError(f"{name}: returned {returned!r}", hint="return one value, or a tuple of values")
        result.outputs.append(result.node(item, "the result"))
    if not items:
        raise FusedError(f"{name}: returned an empty tuple", hint="return one value, or a tuple of values")
    return result


def _numbers(key: str, value: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if type(value) in (int, float):
        yield (key,), value
    elif type(value) is tuple:
        for i, item in enumerate(value):
            if type(item) in (int, float):
                yield (key, i), item


# -- numbers ----------------------------------------------------------------------------------------------------------

_EXACT: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "negative": operator.neg,
    "positive": operator.pos,
    "absolute": abs,
    "square": lambda x: x * x,
    "power": lambda x, y: x**y if y >= 0 else float(x) ** y,
    "maximum": max,
    "minimum": min,
}


def evaluate(
    nodes: Sequence[Node], numbers: dict[tuple[Any, ...], Any], known: dict[Node, Any] | None = None
) -> list[Any]:
    """Values of scalar nodes with NumPy's rules: 1/0 is infinite, the root of a negative number is NaN.

    The generated code computes the same in plain Python, which is faster but raises there; this is what it falls
    back on. ``known`` keeps what was computed for a next call with the same numbers.
    """
    known = {} if known is None else known
    with np.errstate(all="ignore"):
        for wanted in nodes:
            stack = [wanted]
            while stack:
                node = stack[-1]
                missing = [a for a in node.args if a not in known]
                if missing:
                    stack += missing
                else:
                    known[node] = _compute(node, [known[a] for a in node.args], numbers)
                    stack.pop()
    return [known[node] for node in nodes]


def _compute(node: Node, args: list[Any], numbers: dict[tuple[Any, ...], Any]) -> Any:
    if node.op == "const":
        return node.value
    if node.op == "input":
        return numbers[node.value]
    if node.op == "where":
        return args[1] if args[0] else args[2]
    if node.op in _EXACT and all(type(a) in (int, bool) for a in args):
        try:
            return _EXACT[node.op](*args)
        except ZeroDivisionError:
            pass
    return node.func(*[float(a) if type(a) is int else a for a in args]).item()
