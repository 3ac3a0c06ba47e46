"""Stochastic weight averaging."""

from __future__ import annotations

from lunar_core.component import field, non_negative, positive

from .wrapper import Averaging


class SWA(Averaging):
    """Average the parameters, with equal weights, every ``every`` steps from step ``start`` on.

    Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (UAI 2018), arXiv:1803.05407,
    algorithm 1; ``every`` is its cycle length. The constant or cyclic learning rate that belongs to it is a scheduler's.
    ``opt.eval()`` puts the averages in the parameters' place, ``opt.train()`` takes them out; before ``start`` both
    leave the parameters. Update the statistics of batch norms with the averages in place, as the paper says.
    """

    start: int = field(default=0, validator=non_negative, doc="first step that may count")
    every: int = field(default=1, validator=positive, doc="steps between two that count")

    def weight(self, count: int) -> float:
        since = count - max(self.start, 1)
        return 1 / (since // self.every + 1) if since >= 0 and since % self.every == 0 else 0.0
