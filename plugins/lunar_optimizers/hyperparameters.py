"""Hyperparameters that many rules share, and what weight decay does with them."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, in_range, non_negative

_IN_UNIT = in_range(0, 1, include_high=False)


def rate(default: float, doc: str = "step size") -> Any:
    """The field ``lr``."""
    return field(default=default, validator=non_negative, doc=doc)


def moments(*default: float, doc: str = "decay of the first and second moment") -> Any:
    """The field ``betas``: numbers in [0, 1)."""
    return field(default=default, validator=_IN_UNIT, doc=doc)


def fraction(default: float, doc: str) -> Any:
    """A field for one number in [0, 1), such as ``momentum``."""
    return field(default=default, validator=_IN_UNIT, doc=doc)


def small(default: float, doc: str = "added to the denominator") -> Any:
    """The field ``eps``."""
    return field(default=default, validator=non_negative, doc=doc)


def penalty(default: float = 0.0) -> Any:
    """The field ``weight_decay`` of a rule that adds ``weight_decay * p`` to the gradient."""
    return field(default=default, validator=non_negative, doc="L2 penalty, added to the gradient")


def shrinkage(default: float = 0.0) -> Any:
    """The field ``weight_decay`` of a rule that multiplies the parameter by ``1 - lr * weight_decay``."""
    return field(default=default, validator=non_negative, doc="share of a parameter lost per unit of lr")


def either_decay(default: float = 0.0) -> Any:
    """The field ``weight_decay`` of a rule whose ``decoupled_weight_decay`` says which of the two it is."""
    return field(default=default, validator=non_negative, doc="L2 penalty, or decoupled decay if that is chosen")


def decoupling(default: bool = False) -> Any:
    """The field ``decoupled_weight_decay``."""
    return field(default=default, doc="shrink the parameter by lr * weight_decay instead of adding to the gradient")


def decayed(p: Any, g: Any, lr: Any, weight_decay: Any, decoupled: bool) -> tuple[Any, Any]:
    """``(p, g)`` after weight decay of either kind."""
    if weight_decay:
        if decoupled:
            return p * (1 - lr * weight_decay), g
        return p, g + weight_decay * p
    return p, g
