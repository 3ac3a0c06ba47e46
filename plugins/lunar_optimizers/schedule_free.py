"""What the schedule-free optimizers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lunar_core.autograd import note_write
from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.errors import StateError
from lunar_core.optimizer_state import MASTER

from .entries import Place, state_of, updated


class ScheduleFree(Optimizer):
    """Base of the schedule-free optimizers: three sequences instead of a schedule that has to know the last step.

    The base optimizer moves z. Between the steps of training the parameters are y, where gradients are taken; x, the
    weighted average of the z, is what to evaluate, save and ship::

        x = (1 - c) * x + c * z,   c = w / (sum of all w),   w = t^r * (largest lr so far)^weight_lr_power
        y = (1 - beta) * z + beta * x

    ``opt.eval()`` makes the parameters x, ``opt.train()`` makes them y again; both may be called twice. ``lr`` rises
    linearly over ``warmup`` steps, then stays. Defazio et al., The Road Less Scheduled (NeurIPS 2024),
    arXiv:2405.15682, algorithm 1, as in the authors' code.

    A subclass names its momentum in ``interpolation`` and asks in ``update`` for ``rate``, the step size after warmup,
    and ``blend``, which is c. ``step`` raises StateError between ``eval`` and ``train``.
    """

    r: float = field(default=0.0, validator=non_negative, kw_only=True, doc="power of t in the average's weights")
    weight_lr_power: float = field(
        default=2.0, validator=non_negative, kw_only=True, doc="power of the step size in the average's weights"
    )
    warmup: int = field(default=0, validator=non_negative, kw_only=True, doc="steps of linear warmup of lr")
    count: int = field(default=0, init=False, config=False, doc="steps so far")
    lr_max: float = field(default=0.0, init=False, config=False, doc="largest step size so far")
    weight_sum: float = field(default=0.0, init=False, config=False, doc="sum of the average's weights")
    rate: float = field(default=0.0, init=False, config=False, doc="step size of the step at hand")
    blend: float = field(default=0.0, init=False, config=False, doc="the average's c of the step at hand")
    averaged: bool = field(default=False, init=False, config=False, doc="whether the parameters are x")

    state = ("z",)

    _trained = MappingProxyType({})  # y, by the parameters' names, while they are x

    @staticmethod
    def interpolation(values: Mapping[str, Any]) -> float:
        """beta, from the hyperparameters of a group."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if self.averaged:
            raise StateError(
                f"{type(self).__name__}: the parameters are averages now, not what is trained",
                hint="call train() on the optimizer before the step, and eval() before evaluation",
            )
        for group in self.groups:
            values = group.values
            count = values["count"] + 1
            rate = values["lr"] * min(1.0, count / max(1, values["warmup"]))
            largest = max(values["lr_max"], rate)
            weight = count ** values["r"] * largest ** values["weight_lr_power"]
            total = values["weight_sum"] + weight
            values.update(
                count=count, rate=rate, lr_max=largest, weight_sum=total, blend=weight / total if total else 0.0
            )
        return super().step(closure)

    def eval(self) -> None:
        """Make the parameters the averages x."""
        if not self.averaged:
            self._trained = {}
            for place, exact, z in self._moved():
                self._trained[place.entry.name] = exact.copy()
                self._put(place, exact, exact + (1 - 1 / self.interpolation(place.group.values)) * (z - exact))
            self.averaged = True

    def train(self) -> None:
        """Make the parameters y again, to the last digit what they were."""
        if self.averaged:
            kept, self._trained = self._trained, {}
            for place, exact, z in self._moved():
                y = kept.get(place.entry.name)
                if y is None:
                    y = exact + (1 - self.interpolation(place.group.values)) * (z - exact)
                self._put(place, exact, y)
            self.averaged = False

    def _moved(self) -> Iterator[tuple[Place, Any, Any]]:
        """What was updated: its place, its values in full precision, and z."""
        for place in updated(self):
            exact = state_of(self, place, MASTER) if MASTER in place.buffer.state else place.entry.data
            yield place, exact, state_of(self, place, "z")

    @staticmethod
    def _put(place: Place, exact: Any, value: Any) -> None:
        exact[...] = value
        if exact is not place.entry.data:
            place.entry.data[...] = exact
        note_write(place.entry.data)


def blended(p: Any, z: Any, towards: Any, rate: Any, blend: Any, beta: Any) -> tuple[Any, Any]:
    """y and z after a step of the base optimizer in the direction ``-towards``."""
    y = p + blend * (z - p) + (rate * (beta * (1 - blend) - 1)) * towards
    return y, z - rate * towards
