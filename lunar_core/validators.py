"""What the value of a hyperparameter has to satisfy beyond its type: ``field(validator=positive)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import HyperparameterError


class Check:
    """A validator that can also say in words what it expects.

    On a tuple or list it holds for each item; nested components are left to check themselves.
    """

    __slots__ = ("each", "expected", "test")

    def __init__(self, test: Callable[[Any], bool], expected: str, each: bool = True) -> None:
        self.test = test
        self.expected = expected
        self.each = each

    def passes(self, value: Any) -> bool:
        if getattr(value, "__lunar_component__", False):
            return True
        if self.each and isinstance(value, (tuple, list)):
            return all(self.passes(v) for v in value)
        try:
            return bool(self.test(value))
        except TypeError:
            return False

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        if not self.passes(value):
            raise hyperparameter_error(instance, attribute.alias, value, self.expected)

    def __repr__(self) -> str:
        return f"<check: {self.expected}>"


positive = Check(lambda v: v > 0, "> 0")
"""Greater than zero."""

non_negative = Check(lambda v: v >= 0, ">= 0")
"""Zero or greater."""


def in_range(low: float, high: float, *, include_low: bool = True, include_high: bool = True) -> Check:
    """Between ``low`` and ``high``; both ends belong to the range unless said otherwise."""

    def test(value: Any) -> bool:
        above = low <= value if include_low else low < value
        return bool(above and (value <= high if include_high else value < high))

    return Check(test, f"in {'[' if include_low else '('}{low}, {high}{']' if include_high else ')'}")


def one_of(*options: Any) -> Check:
    """Equal to one of the options."""
    return Check(
        lambda v: any(type(v) is type(o) and v == o for o in options),
        "one of " + ", ".join(map(repr, options)),
        each=False,
    )


def hyperparameter_error(owner: Any, name: str, got: Any, expected: str) -> HyperparameterError:
    """The error for one bad value; ``owner`` is the component, its class or its name."""
    owner_name = owner if isinstance(owner, str) else (owner if isinstance(owner, type) else type(owner)).__name__
    shown = repr(got)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    problem = f"must be {expected}, got {shown} ({type(got).__name__})"
    error = HyperparameterError(f"{owner_name}: {name} {problem}")
    # Read by `from_config`, which reports the full path instead of the component's name.
    error.__dict__.update(component=owner_name, field=name, problem=problem)
    return error
