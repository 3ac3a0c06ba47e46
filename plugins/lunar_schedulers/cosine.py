"""Half a cosine down, after a warm-up."""

from __future__ import annotations

import math

from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.scheduler import Scheduler, linear_warmup
from lunar_core.errors import HyperparameterError


class Cosine(Scheduler):
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

    total: int | None = field(default=None, validator=positive, doc="position of the end; default: the run's length")
    warmup: int = field(default=0, validator=non_negative, doc="positions until the base value is reached")
    final: float = field(default=0.0, validator=non_negative, doc="share of the base value at the end")
    warmup_start: float = field(default=0.0, validator=in_range(0, 1), doc="share of the base value at position 0")

    def __attrs_post_init__(self) -> None:
        if self.total is not None and self.warmup >= self.total:
            raise HyperparameterError(f"Cosine: warmup must be < total ({self.total}), got {self.warmup}")
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        if position <= self.warmup:
            return base * linear_warmup(position, self.warmup, self.warmup_start)
        total = self.length if self.total is None else self.total
        progress = min(1.0, (position - self.warmup) / max(1.0, total - self.warmup))
        return base * (self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress)))
