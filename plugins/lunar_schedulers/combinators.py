"""Schedulers made of schedulers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from lunar_core.component import field, non_negative
from lunar_core.contracts.scheduler import Bound, Scheduler
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.module import Module
from lunar_core.selecting import fits


def value_of(scheduler: Scheduler, position: float, base: float, length: float | None) -> float:
    """The value of a scheduler inside of another; it is told ``length`` unless it knows its own."""
    before = scheduler._length
    if before is None:
        scheduler._length = length
    try:
        return scheduler.value(position, base)
    finally:
        scheduler._length = before


def _unbound(owner: Scheduler, schedulers: Any) -> None:
    for scheduler in schedulers:
        if scheduler.target is not None:
            raise HyperparameterError(
                f"{type(owner).__name__}: its schedulers must not be bound, got {scheduler!r} with a target",
                hint="bind the outermost one only",
            )


class Sequential(Scheduler):
    """One schedule after another: the next takes over at each of the ``milestones``, from its own position 0.

    PyTorch's ``SequentialLR``. Each starts from the base value, not from where the one before has ended. One that ends
    with the run is told the distance from its milestone to the next, or to the end.

    Raises HyperparameterError unless there is one milestone less than schedulers and they increase.
    """

    schedulers: tuple[Scheduler, ...] = field(default=(), doc="what follows what")
    milestones: tuple[float, ...] = field(default=(), validator=non_negative, doc="positions of the changes")

    def __attrs_post_init__(self) -> None:
        if self.schedulers and len(self.milestones) != len(self.schedulers) - 1:
            raise HyperparameterError(
                f"Sequential: milestones must be one less than schedulers ({len(self.schedulers)}), got "
                f"{len(self.milestones)}"
            )
        if any(a >= b for a, b in zip(self.milestones, self.milestones[1:])):
            raise HyperparameterError(f"Sequential: milestones must increase, got {self.milestones!r}")
        _unbound(self, self.schedulers)
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        if not self.schedulers:
            return base
        i = bisect_right(self.milestones, position)
        start = self.milestones[i - 1] if i else 0.0
        end = self.milestones[i] if i < len(self.milestones) else self._length
        length = None if end is None else end - start
        return value_of(self.schedulers[i], position - start, base, length)


class Chained(Scheduler):
    """All at once, each taking what the one before gives as its base.

    For schedules that multiply the base this is the product of their factors, PyTorch's ``ChainedScheduler``.
    """

    schedulers: tuple[Scheduler, ...] = field(default=(), doc="from the innermost to the outermost")

    def __attrs_post_init__(self) -> None:
        _unbound(self, self.schedulers)
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        for scheduler in self.schedulers:
            base = value_of(scheduler, position, base, self._length)
        return base


class Proportion(Scheduler):
    """In proportion to where another schedule stands between its ends.

    ``low + (base - low) * (s - s_low) / (s_high - s_low)`` with ``low = final * base``, where s is the value of
    ``follows`` for a base of 1, so that ``s_low`` and ``s_high`` are shares as well. Zhuang et al., Surrogate Gap
    Minimization Improves Sharpness-Aware Training (2022), arXiv:2203.08065, section 4.3, where SAM's radius follows the
    learning rate.
    """

    follows: Scheduler | None = field(default=None, doc="the schedule that leads; none: the base value stays")
    final: float = field(default=0.0, validator=non_negative, doc="share of the base value where s is s_low")
    s_low: float = field(default=0.0, doc="lowest value of the leading schedule for a base of 1")
    s_high: float = field(default=1.0, doc="highest value of it")

    def __attrs_post_init__(self) -> None:
        if not self.s_low < self.s_high:
            raise HyperparameterError(f"Proportion: s_low must be < s_high ({self.s_high}), got {self.s_low}")
        _unbound(self, [] if self.follows is None else [self.follows])
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        if self.follows is None:
            return base
        s = value_of(self.follows, position, 1.0, self._length)
        return base * (self.final + (1.0 - self.final) * (s - self.s_low) / (self.s_high - self.s_low))


class PerLayer(Scheduler):
    """A schedule for each part of a model, chosen by glob patterns over dotted names.

    Bound to an optimizer it moves the groups. A group goes by its own pattern (``overrides``) and by the names of its
    parameters, all of which have to fall to the same schedule; parameters that are to go different ways have to be in
    different groups. Bound to a module it moves the attribute of every submodule that a pattern names and that has it:
    the rates of all dropout layers below ``blocks``, say.

    The first pattern that matches decides. Groups that none matches follow ``default``, and where there is none they
    stay; :meth:`value` and :meth:`simulate` are those of ``default``, and :meth:`value_at` those of a name.

    Raises StateError for a pattern that matches nothing, or a group that two schedules claim.
    """

    schedulers: dict[str, Scheduler] = field(factory=dict, doc="pattern -> schedule")
    default: Scheduler | None = field(default=None, doc="for what no pattern matches")

    def __attrs_post_init__(self) -> None:
        _unbound(self, [*self.schedulers.values(), *([] if self.default is None else [self.default])])
        super().__attrs_post_init__()

    def chosen(self, name: str) -> str | None:
        """The first pattern that matches ``name`` or a module above it."""
        for pattern in self.schedulers:
            if fits(name, pattern):
                return pattern
        return None

    def value_at(self, name: str | None, position: float, base: float) -> float:
        """The value for the pattern ``name`` (``None``: for the rest)."""
        scheduler = self.default if name is None else self.schedulers[name]
        return base if scheduler is None else value_of(scheduler, position, base, self._length)

    def value(self, position: float, base: float) -> float:
        return self.value_at(None, position, base)

    def bind(self, target: Any, attribute: str | None = None) -> PerLayerBound:
        return PerLayerBound(self, target, attribute or self.attribute)


class PerLayerBound(Bound):
    """A :class:`PerLayer` at work: each place has the pattern that it falls to."""

    scheduler: PerLayer

    def seek(self, position: float) -> None:
        if isinstance(position, bool) or not position >= 0:
            raise HyperparameterError(f"a scheduler's position is a number >= 0, got {position!r}")
        places = self._named_places()
        bases = [*self.bases, *[self._base(place) for _, place in places[len(self.bases) :]]]
        values = [self.scheduler.value_at(p, position, base) for (p, _), base in zip(places, bases)]
        for (_, place), value in zip(places, values):
            setattr(place, self.attribute, value)
        self.bases = bases
        self.position = position

    def _places(self) -> list[Any]:
        return [place for _, place in self._named_places()]

    def _named_places(self) -> list[tuple[str | None, Any]]:
        scheduler, target = self.scheduler, self.target
        places: list[tuple[str | None, Any]]
        if isinstance(target, Module):
            places = [
                (pattern, module)
                for name, module in target.named_modules()
                if hasattr(module, self.attribute)
                for pattern in [scheduler.chosen(name)]
                if pattern is not None or scheduler.default is not None
            ]
        elif isinstance(getattr(target, "groups", None), list):
            bind = getattr(target, "bind", None)
            if callable(bind):  # the groups learn the names of their parameters
                bind()
            places = [(self._pattern_of(group), group) for group in target.groups]
        else:
            raise StateError(f"PerLayer is bound to an optimizer or a module, got {type(target).__name__}")
        missing = [p for p in scheduler.schedulers if p not in {pattern for pattern, _ in places}]
        if missing:
            raise StateError(f"PerLayer: nothing that has {self.attribute!r} falls to the pattern {missing[0]!r}")
        return places

    def _pattern_of(self, group: Any) -> str | None:
        scheduler = self.scheduler
        if group.pattern in scheduler.schedulers:
            return group.pattern
        found: Mapping[str | None, str] = {scheduler.chosen(name): name for name in group.names}
        if len(found) > 1:
            names = ", ".join(f"{name!r} to {pattern!r}" for pattern, name in found.items())
            raise StateError(
                f"PerLayer: parameters of one group fall to different schedules: {names}",
                hint='put them into groups of their own, for example with overrides={"head.*": {}}',
            )
        return next(iter(found), None)
