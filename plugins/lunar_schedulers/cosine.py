"""Cosines: half of one down after a warm-up, with a floor, or of another steepness."""

from __future__ import annotations

import math

from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.scheduler import linear_warmup

from .annealing import Annealing


class Cosine(Annealing):
    """From the base value to ``final`` times it along half a cosine, after a linear warm-up.

    Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts (2016), arXiv:1608.03983, equation 5,
    without restarts.

    With ``warmup`` it is ``get_cosine_schedule_with_warmup`` of Hugging Face's transformers: position 0
    has the value ``warmup_start``, which is zero by default. Without, it is the closed form of PyTorch's
    ``CosineAnnealingLR`` with ``eta_min = final * base``; after ``total`` it stays there, where PyTorch's rises again.

    ``total`` is the position of the end, warm-up included; by default the length of the run, which the Trainer fills
    in.

    Raises HyperparameterError for a warm-up that is not shorter than ``total``.
    """

    def value(self, position: float, base: float) -> float:
        if position <= self.warmup:  # the end of the warm-up needs no total
            return base * linear_warmup(position, self.warmup, self.warmup_start)
        return super().value(position, base)

    def curve(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


class CosinePower(Annealing):
    """A cosine in the exponent: ``(p ** (c + 1) - p) / (p ** 2 - p)`` with ``c = (1 + cos(pi * progress)) / 2``.

    Hundt, Jain and Hager, sharpDARTS: Faster and More Accurate Differentiable Architecture Search (2019),
    arXiv:1903.09900, equation 1. ``power`` p = 10 is the paper's; the limit at p = 1 is the cosine itself, which 1
    gives. Larger ones fall faster.
    """

    power: float = field(default=10.0, validator=positive, doc="p; 1 is a plain cosine")

    def curve(self, progress: float) -> float:
        c, p = 0.5 * (1.0 + math.cos(math.pi * progress)), self.power
        if abs(p - 1.0) < 1e-9:
            return c
        return (p ** (c + 1.0) - p) / (p * p - p)


class CosineMin(Annealing):
    """Cosine waves that do not go below ``minimum``, which is a value of the attribute and not a share.

    ``floor + (base - floor) * (1 + cos(2 pi * cycles * progress)) / 2`` after a linear warm-up, where ``floor`` is the
    larger of ``minimum`` and ``final * base``; a base below the floor stays as it is.
    ``get_cosine_with_min_lr_schedule_with_warmup`` of Hugging Face's transformers, whose ``min_lr`` is ``minimum``,
    ``min_lr_rate`` is ``final`` and ``num_cycles`` is ``cycles``: 0.5 is half a wave. It stands still after ``total``.
    """

    minimum: float = field(default=0.0, validator=non_negative, doc="smallest value after the warm-up")
    cycles: float = field(default=0.5, validator=positive, doc="waves from the end of the warm-up to the end")

    def curve(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(2.0 * math.pi * self.cycles * progress))

    def value(self, position: float, base: float) -> float:
        if position < self.warmup:
            return base * linear_warmup(position, self.warmup, self.warmup_start)
        floor = max(self.minimum, self.final * base)
        if base <= floor:
            return base
        return floor + (base - floor) * self.curve(self.progress(position))
