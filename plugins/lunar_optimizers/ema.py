"""Exponential moving average of the parameters."""

from __future__ import annotations

from lunar_core.component import field, in_range

from .wrapper import Averaging


class EMA(Averaging):
    """Keep an exponential moving average of the parameters, to evaluate and ship::

        average = decay * average + (1 - decay) * p              (starts as the parameters after the first step)

    ``opt.eval()`` puts the averages in the parameters' place, ``opt.train()`` takes them out. With ``warmup`` the decay
    is min(decay, (1 + t) / (10 + t)), so that the beginning is soon forgotten (as in TensorFlow's
    ExponentialMovingAverage). Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging (1992);
    Tarvainen and Valpola, Mean teachers (2017), arXiv:1703.01780, for this form.
    """

    decay: float = field(default=0.999, validator=in_range(0, 1), doc="how much of the average stays at each step")
    warmup: bool = field(default=False, doc="smaller decay at the beginning")

    def weight(self, count: int) -> float:
        decay = min(self.decay, (1 + count) / (10 + count)) if self.warmup else self.decay
        return 1 - decay
