"""Validators that compare two fields of a component."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from lunar_core.component import hyperparameter_error

Validator = Callable[[Any, Any, Any], None]


def _compared(sign: str, holds: Callable[[Any, Any], bool], other: str) -> Validator:
    def check(instance: Any, attribute: Any, value: Any) -> None:
        bound = getattr(instance, other)
        if not holds(value, bound):
            raise hyperparameter_error(instance, attribute.alias, value, f"{sign} {other} = {bound:g}")

    return check


def less_than(other: str) -> Validator:
    """The field must be less than the field ``other``."""
    return _compared("<", operator.lt, other)


def greater_than(other: str) -> Validator:
    """The field must be greater than the field ``other``."""
    return _compared(">", operator.gt, other)


def at_most(other: str) -> Validator:
    """The field must not exceed the field ``other``."""
    return _compared("<=", operator.le, other)


def at_least(other: str) -> Validator:
    """The field must not be less than the field ``other``."""
    return _compared(">=", operator.ge, other)
