"""Lookahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lunar_core.autograd import note_write
from lunar_core.component import field, in_range, positive

from .entries import places
from .wrapper import Wrapper


class Lookahead(Wrapper):
    """Every ``k`` steps, slow weights go a part of the way to the optimizer's weights, which restart from there::

        slow = slow + alpha * (p - slow);  p = slow

    Zhang et al., Lookahead Optimizer: k steps forward, 1 step back (NeurIPS 2019), arXiv:1907.08610, algorithm 1. The
    optimizer's state (momentum) is kept, as in the paper's experiments.
    """

    k: int = field(default=5, validator=positive, doc="steps of the optimizer for one of the slow weights")
    alpha: float = field(default=0.5, validator=in_range(0, 1), doc="how far the slow weights go")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if self._count == 0:
            for place in places(self):
                self.array(place, "slow", lambda p: p)
        loss = self.optimizer.step(closure)
        self._count += 1
        if self._count % self.k == 0:
            for place in places(self):
                slow = self.array(place, "slow", lambda p: p)
                slow += self.alpha * (place.entry.data - slow)
                place.entry.data[...] = slow
                note_write(place.entry.data)
        return loss
