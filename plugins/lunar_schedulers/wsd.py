"""Warm up, stay, decay."""

from __future__ import annotations

import math

from lunar_core.component import field, in_range, non_negative, one_of, positive
from lunar_core.contracts.scheduler import Scheduler
from lunar_core.errors import HyperparameterError

SHAPES = {
    "linear": lambda x: 1.0 - x,
    "cosine": lambda x: 0.5 * (1.0 + math.cos(math.pi * x)),
    "1-sqrt": lambda x: 1.0 - math.sqrt(x),
}


class WSD(Scheduler):
    """Warm-up, a stable phase at the base value, and a decay to ``final`` times it.

    Hu et al., MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies (2024),
    arXiv:2404.06395, section 4.2. ``get_wsd_schedule`` of Hugging Face's transformers with ``num_warmup_steps =
    warmup``, ``num_decay_steps = decay``, ``num_training_steps = total`` and ``min_lr_ratio = final``, which also
    scales its warm-up: from ``final`` up.

    ``shape`` of the decay: "cosine" (half of one), "linear", "1-sqrt", or "exponential", the paper's form
    ``final ** progress``, which needs ``final > 0``.

    ``decay`` is by default a tenth of ``total``, as in the paper.

    Raises HyperparameterError for phases longer than ``total`` and an exponential decay to 0.
    """

    total: int | None = field(default=None, validator=positive, doc="position of the end; default: the run's length")
    warmup: int = field(default=0, validator=non_negative, doc="positions until the base value is reached")
    decay: int | None = field(default=None, validator=positive, doc="positions of the decay; default: total / 10")
    final: float = field(default=0.0, validator=in_range(0, 1), doc="share of the base value at both ends")
    shape: str = field(default="cosine", validator=one_of("cosine", "linear", "1-sqrt", "exponential"))

    def __attrs_post_init__(self) -> None:
        if self.total is not None and self.warmup + (self.decay or 1) > self.total:
            raise HyperparameterError(
                f"WSD: warmup + decay must be <= total ({self.total}), got {self.warmup} + {self.decay or 1}"
            )
        if self.shape == "exponential" and self.final == 0.0:
            raise HyperparameterError("WSD: an exponential decay must have final > 0, got 0.0", hint="final=0.1")
        super().__attrs_post_init__()

    def value(self, position: float, base: float) -> float:
        if position < self.warmup:
            return base * (self.final + (1.0 - self.final) * position / self.warmup)
        total = self.length if self.total is None else self.total
        decay = max(1.0, total / 10) if self.decay is None else self.decay
        x = min(1.0, max(0.0, (position - (total - decay)) / decay))
        if self.shape == "exponential":
            return base * self.final**x
        return base * (self.final + (1.0 - self.final) * SHAPES[self.shape](x))
