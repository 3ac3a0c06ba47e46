"""Schedules that the user writes."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field
from lunar_core.contracts.scheduler import Scheduler
from lunar_core.errors import HyperparameterError

from .products import Products


def _check(scheduler: Any) -> None:
    if not callable(scheduler.function):
        raise HyperparameterError(
            f"{type(scheduler).__name__}: function must be a function of the position, got {scheduler.function!r}"
        )


class Lambda(Scheduler):
    """``base * function(position)``; PyTorch's ``LambdaLR``.

    ``function`` is part of the configuration, but only a component can be written down: ``lc.to_config`` refuses a
    plain function and takes one that is a registered component with a ``__call__``.
    """

    function: Any = field(kw_only=True, doc="position -> multiple of the base value")

    def __attrs_post_init__(self) -> None:
        _check(self)
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        return base * self.function(position)


class Multiplicative(Scheduler):
    """Each value is the one before times ``function(position)``: ``base * prod(function(k) for 1 <= k <= position)``.

    PyTorch's ``MultiplicativeLR``. The products are remembered, 8 bytes a position, so that a long run costs one call
    a step; ``function`` has to be pure. Between whole positions the value stands still. For the configuration the same
    holds as for :class:`Lambda`.
    """

    function: Any = field(kw_only=True, doc="position -> what the value before it is multiplied by")

    def __attrs_post_init__(self) -> None:
        _check(self)
        self._products = Products(self.function)
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        return base * self._products.upto(int(position))
