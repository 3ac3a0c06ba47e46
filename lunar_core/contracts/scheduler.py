"""Scheduler: a pure function of a position on the clock, bound to an attribute of any object.

::

    class InverseSqrt(Scheduler):
        def value(self, position, base):
            return base / math.sqrt(1 + position)

    InverseSqrt().simulate(100)                 # an array, without any training
    bound = InverseSqrt().bind(opt, "lr")       # sets opt.lr now, and at each bound.step()

There is no other state than the position, so every position can be sought, a resumed run continues exactly, and one
scheduler may serve many objects: a learning rate, a momentum, a weight decay, a drop rate, the weight of a loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..component import Component, field
from ..errors import HyperparameterError, StateError


class Scheduler(Component):
    """Base of schedulers: write ``value(position, base)``; further fields need defaults or ``kw_only=True``.

    ``target``, if given, is bound at once (see :meth:`bind`), and :meth:`step`, :meth:`seek` and the state dict are
    those of that binding; this is how a training loop makes one for its optimizer. ``attribute`` is what is moved
    there. ``unit`` says what a position counts: ``"step"`` (optimizer steps, the default), ``"epoch"``,
    ``"sample"``, ``"token"`` or ``"second"`` of the loop's clock.
    """

    kind: ClassVar[str] = "scheduler"

    target: Any = field(default=None, config=False)
    attribute: str = field(default="lr", kw_only=True, doc="the attribute of the target that is moved")
    unit: str = field(default="step", kw_only=True, doc="what positions count: step, epoch, ...")

    def __attrs_post_init__(self) -> None:
        self._length: float | None = None
        self._bound = None if self.target is None else self.bind(self.target)

    def value(self, position: float, base: float) -> float:
        """The value at ``position`` (0 is before the first step) where the attribute was ``base`` at the start."""
        raise NotImplementedError(f"{type(self).__name__} defines no value()")

    def simulate(self, n: int, base: float = 1.0) -> np.ndarray:
        """The values at positions 0 to n - 1, float64. What needs the whole length takes ``n`` if it knows no other."""
        before = self._length
        self._length = n if before is None else before
        try:
            return np.array([self.value(i, base) for i in range(n)], np.float64)
        finally:
            self._length = before

    def set_length(self, length: float) -> None:
        """Tell how many positions the run will have, in ``unit``; a training loop does, before the first.

        Schedules that end with the run use it where their own fields say nothing.
        """
        self._length = length
        if self._bound is not None:
            self._bound.seek(self._bound.position)

    @property
    def length(self) -> float:
        """What :meth:`set_length` told. Raises HyperparameterError if nobody did."""
        if self._length is None:
            raise HyperparameterError(
                f"{type(self).__name__} does not know how long the run is",
                hint="give its total, or call set_length(...) with the number of positions, as the Trainer does",
            )
        return self._length

    def bind(self, target: Any, attribute: str | None = None) -> Bound:
        """Move ``attribute`` (default: the field of that name) of ``target`` from now on, starting at position 0.

        On an object with parameter groups each group's value is its own base, so their proportions stay.
        """
        return Bound(self, target, attribute or self.attribute)

    @property
    def bound(self) -> Bound:
        """The binding to ``target``."""
        if self._bound is None:
            raise HyperparameterError(
                f"{type(self).__name__} is not bound to anything", hint='scheduler.bind(optimizer, "lr")'
            )
        return self._bound

    def step(self, position: float | None = None) -> None:
        """Go to the next position, or to ``position``."""
        self.bound.step(position)

    def seek(self, position: float) -> None:
        """Go to ``position``."""
        self.bound.seek(position)

    def state_dict(self) -> dict[str, Any]:
        return self.bound.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.bound.load_state_dict(state)


class Bound:
    """A scheduler at work on one attribute of one object. ``position`` is where it stands."""

    def __init__(self, scheduler: Scheduler, target: Any, attribute: str) -> None:
        self.scheduler = scheduler
        self.target = target
        self.attribute = attribute
        self.bases: list[float] = []
        self.seek(0)

    @property
    def unit(self) -> str:
        """What positions count."""
        return self.scheduler.unit

    @property
    def values(self) -> list[float]:
        """The attribute's value now, one for each parameter group or just one."""
        return [getattr(place, self.attribute) for place in self._places()]

    def step(self, position: float | None = None) -> None:
        """Go to the next position, or to ``position``."""
        self.seek(self.position + 1 if position is None else position)

    def seek(self, position: float) -> None:
        """Go to ``position``, forward or back."""
        if isinstance(position, bool) or not position >= 0:
            raise HyperparameterError(f"a scheduler's position is a number >= 0, got {position!r}")
        places = self._places()
        bases = [*self.bases, *[self._base(place) for place in places[len(self.bases) :]]]
        values = [self.scheduler.value(position, base) for base in bases]
        for place, value in zip(places, values):
            setattr(place, self.attribute, value)
        self.bases = bases
        self.position = position

    def _places(self) -> list[Any]:
        groups = getattr(self.target, "groups", None)
        if isinstance(groups, list) and groups and all(hasattr(group, self.attribute) for group in groups):
            if self.attribute == "lr":  # a group with a schedule of its own is moved by that one
                return [group for group in groups if getattr(group, "schedule", None) is None]
            return groups
        return [self.target]

    def _base(self, place: Any) -> float:
        value = getattr(place, self.attribute, None)
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            name = type(place).__name__
            got = f"is {value!r}" if hasattr(place, self.attribute) else "does not exist"
            raise HyperparameterError(
                f"{type(self.scheduler).__name__} moves a number, but {name}.{self.attribute} {got}"
            )
        return float(value)

    def state_dict(self) -> dict[str, Any]:
        """``{"position": where it stands, "bases": the values at the start}``."""
        return {"position": self.position, "bases": list(self.bases)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go where :meth:`state_dict` was taken. Raises :class:`~lunar_core.errors.StateError` if it does not fit."""
        if not isinstance(state, Mapping) or state.keys() != {"position", "bases"}:
            got = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise StateError(f"a scheduler's state has 'position' and 'bases', got {got}")
        bases = [float(base) for base in state["bases"]]
        if len(bases) != len(self.bases):
            raise StateError(f"a scheduler of {len(self.bases)} groups cannot take over the state of {len(bases)}")
        before, self.bases = self.bases, bases
        try:
            self.seek(state["position"])
        except HyperparameterError as error:
            self.bases = before
            raise StateError(f"a scheduler's state does not fit: {error.message}") from error

    def __repr__(self) -> str:
        return f"<{self.scheduler!r} on {type(self.target).__name__}.{self.attribute} at {self.position}>"


def linear_warmup(position: float, warmup: float, start: float = 0.0) -> float:
    """The factor of a linear warm-up: from ``start`` at position 0 to 1 at ``warmup`` and after."""
    return 1.0 if position >= warmup else start + (1.0 - start) * position / warmup
