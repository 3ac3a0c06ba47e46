"""Cautious steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lunar_core.autograd import note_write
from lunar_core.component import field, positive

from .entries import evaluated, ready
from .wrapper import Wrapper


class Cautious(Wrapper):
    """Leave out the elements of a step that go against the gradient at hand, and enlarge the others::

        d = the optimizer's step of one array;  c = (d * g < 0)
        p = p + d * c / max(mean(c), floor)

    Liang et al., Cautious Optimizers: Improving Training with One Line of Code (2024), arXiv:2411.16085, algorithm 2,
    as in the authors' code. It looks at the whole step, decoupled weight decay included, which the authors mask not.
    """

    floor: float = field(default=1e-3, validator=positive, doc="least share of elements that enlarges a step")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = evaluated(closure)
        before = [(place, place.entry.data.copy()) for place in ready(self)]
        self.optimizer.step()
        for place, old in before:
            data = place.entry.data
            d = data.astype(place.buffer.state_dtype) - old
            agrees = (d * place.gradient < 0).astype(d.dtype)
            data[...] = old + d * agrees / place.buffer.xp.maximum(agrees.mean(), self.floor)
            note_write(data)
        self._count += 1
        return loss
