"""What the schedules share that go from the base value to a final one by the end of the run."""

from __future__ import annotations

from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.scheduler import Scheduler, linear_warmup
from lunar_core.errors import HyperparameterError


class Annealing(Scheduler):
    """Base of schedules from the base value to ``final`` times it, after a linear warm-up: write ``curve``.

    ``total`` is the position of the end, warm-up included; by default the length of the run, which the Trainer fills
    in. From there on the value stays.

    Raises HyperparameterError for a warm-up that is not shorter than ``total``.
    """

    total: int | None = field(default=None, validator=positive, doc="position of the end; default: the run's length")
    warmup: int = field(default=0, validator=non_negative, doc="positions until the base value is reached")
    final: float = field(default=0.0, validator=non_negative, doc="share of the base value at the end")
    warmup_start: float = field(default=0.0, validator=in_range(0, 1), doc="share of the base value at position 0")

    def __attrs_post_init__(self) -> None:
        if self.total is not None and self.warmup >= self.total:
            name = type(self).__name__
            raise HyperparameterError(f"{name}: warmup must be < total ({self.total}), got {self.warmup}")
        super().__attrs_post_init__()

    def curve(self, progress: float) -> float:
        """From 1 at ``progress`` 0, the end of the warm-up, to 0 at 1."""
        raise NotImplementedError(f"{type(self).__name__} defines no curve()")

    def value(self, position: float, base: float) -> float:
        if position < self.warmup:
            return base * linear_warmup(position, self.warmup, self.warmup_start)
        return base * (self.final + (1.0 - self.final) * self.curve(self.progress(position)))

    def progress(self, position: float) -> float:
        """The share of the positions between the warm-up and the end that has passed, at most 1."""
        total = self.length if self.total is None else self.total
        return min(1.0, (position - self.warmup) / max(1.0, total - self.warmup))
