"""What an annotation such as ``float | None`` or ``tuple[int, ...]`` accepts, decided once when a class is defined.

:func:`compile_type` turns an annotation into a function ``value -> converted value`` that raises :class:`Mismatch`
with a description of what was expected. Annotations that cannot be judged (``Any``, protocols, unresolvable names)
compile to ``None``: such a field takes everything.
"""

from __future__ import annotations

import math
import numbers
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

Accept = Callable[[Any], Any]


class Mismatch(Exception):
    """A value is not of the annotated type; ``expected`` says what is."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def resolve(annotation: Any, owner: type) -> Any:
    """The type that an annotation written as a string names, looked up in the class's module; ``Any`` if unknown."""
    if not isinstance(annotation, str):
        return annotation
    module = sys.modules.get(owner.__module__)
    # Names under TYPE_CHECKING or local to a function are not there to be found: such a field goes unchecked.
    try:
        return eval(annotation, dict(vars(module)) if module else {}, {"Any": Any, **vars(owner)})
    except Exception:
        return Any


def allows_none(annotation: Any) -> bool:
    """Whether ``None`` is one of the annotation's members."""
    return annotation in (None, type(None), Any) or any(arg is type(None) for arg in _members(annotation))


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return ()


def compile_type(annotation: Any, component_base: type, finite: bool = True) -> tuple[Accept, str] | None:
    """``(accept, description)`` for an annotation, or ``None`` when anything goes.

    ``component_base`` is the class whose subclasses are checked with ``isinstance``; ``finite`` refuses NaN and
    infinity in floats.
    """
    if annotation is None or annotation is type(None):
        return _none, "None"
    if annotation in _SCALARS:
        if annotation is float:
            return (_finite_float, "a finite number") if finite else (_float, "a number")
        return _SCALARS[annotation]
    if isinstance(annotation, type) and not typing.get_origin(annotation) and issubclass(annotation, component_base):
        return _instance(annotation)
    members = _members(annotation)
    if members:
        return _union(members, component_base, finite)
    origin, args = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin is typing.Literal:
        return _literal(args)
    if origin is tuple:
        return _tuple(args, component_base, finite)
    if origin is list:
        return _list(args, component_base, finite)
    if origin is dict:
        return _dict(args, component_base, finite)
    if origin is typing.Annotated:
        return compile_type(args[0], component_base, finite)
    return None


def _none(value: Any) -> Any:
    if value is not None:
        raise Mismatch("None")
    return value


def _bool(value: Any) -> bool:
    if isinstance(value, bool) or (type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy"):
        return bool(value)
    raise Mismatch("True or False")


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise Mismatch("an integer")
    return int(value)


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise Mismatch("a number")
    return float(value)


def _finite_float(value: Any) -> float:
    try:
        number = _float(value)
    except (Mismatch, OverflowError):
        raise Mismatch("a finite number") from None
    if not math.isfinite(number):
        raise Mismatch("a finite number")
    return number


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise Mismatch("a string")
    return str(value)


_SCALARS: dict[Any, tuple[Accept, str]] = {
    bool: (_bool, "True or False"),
    int: (_int, "an integer"),
    float: (_float, "a number"),
    str: (_str, "a string"),
}
# The narrowest member of a union answers first, so that `int | float` keeps an int and `bool | int` a bool.
_ORDER = {type(None): 0, bool: 1, int: 2, float: 3, str: 4}


def _instance(cls: type) -> tuple[Accept, str]:
    name = f"a component of class {cls.__name__}"

    def accept(value: Any) -> Any:
        if not isinstance(value, cls):
            raise Mismatch(name)
        return value

    return accept, name


def _union(members: tuple[Any, ...], base: type, finite: bool) -> tuple[Accept, str] | None:
    ordered = sorted(members, key=lambda m: _ORDER.get(m, 9) if isinstance(m, type) else 9)
    compiled = [compile_type(m, base, finite) for m in ordered]
    known = [c for c in compiled if c is not None]
    if len(known) < len(compiled):
        return None
    accepts = [accept for accept, _ in known]
    # `None` reads best last.
    names = [name for _, name in known if name != "None"] + [name for _, name in known if name == "None"]
    expected = " or ".join(names)

    def accept(value: Any) -> Any:
        for one in accepts:
            try:
                return one(value)
            except Mismatch:
                continue
        raise Mismatch(expected)

    return accept, expected


def _literal(options: tuple[Any, ...]) -> tuple[Accept, str]:
    expected = "one of " + ", ".join(map(repr, options))

    def accept(value: Any) -> Any:
        for option in options:
            if type(value) is type(option) and value == option:
                return value
        raise Mismatch(expected)

    return accept, expected


def _sequence(value: Any, expected: str) -> list[Any]:
    # NumPy arrays are not hyperparameters: they neither print nor serialise as one.
    if not isinstance(value, (tuple, list)):
        raise Mismatch(expected)
    return list(value)


def _tuple(args: tuple[Any, ...], base: type, finite: bool) -> tuple[Accept, str]:
    if not args or (len(args) == 2 and args[1] is Ellipsis):
        item = compile_type(args[0], base, finite) if args else None
        expected = "a tuple" if item is None else f"a tuple of which each item is {item[1]}"

        def accept(value: Any) -> tuple[Any, ...]:
            return tuple(_each(_sequence(value, expected), item, expected))

        return accept, expected
    items = [compile_type(arg, base, finite) for arg in args]
    expected = f"a tuple of {len(items)}: ({', '.join(i[1] if i else 'anything' for i in items)})"

    def accept_fixed(value: Any) -> tuple[Any, ...]:
        values = _sequence(value, expected)
        if len(values) != len(items):
            raise Mismatch(expected)
        return tuple(_each([v], i, expected)[0] for v, i in zip(values, items))

    return accept_fixed, expected


def _list(args: tuple[Any, ...], base: type, finite: bool) -> tuple[Accept, str]:
    item = compile_type(args[0], base, finite) if args else None
    expected = "a list" if item is None else f"a list of which each item is {item[1]}"

    def accept(value: Any) -> list[Any]:
        return _each(_sequence(value, expected), item, expected)

    return accept, expected


def _dict(args: tuple[Any, ...], base: type, finite: bool) -> tuple[Accept, str]:
    key, item = (compile_type(arg, base, finite) for arg in args) if len(args) == 2 else (None, None)
    expected = "a dict" if item is None else f"a dict of which each value is {item[1]}"

    def accept(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise Mismatch(expected)
        return dict(zip(_each(list(value), key, expected), _each(list(value.values()), item, expected)))

    return accept, expected


def _each(values: list[Any], item: tuple[Accept, str] | None, expected: str) -> list[Any]:
    if item is None:
        return values
    try:
        return [item[0](v) for v in values]
    except Mismatch:
        raise Mismatch(expected) from None
