"""Tools to use before a run: the learning rate and the batch size.

Each trains for a short while and puts everything back: weights, optimizers, random state, clock, history. A ``fit`` after
it gives what it would have given without.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lunar_core import random as streams
from lunar_core.autograd import note_write
from lunar_core.errors import DataError, HyperparameterError
from lunar_core.hooks import restore_random, save_random
from lunar_core.hookspecs import hookimpl

from .callbacks.memory import MemoryMeter
from .data import as_source


@contextlib.contextmanager
def as_before(trainer: Any, data: Any = None) -> Iterator[None]:
    """A block after which ``trainer`` is what it was before; the model's parameters are made first, from ``data``."""
    ctx = trainer.context
    if trainer.seed is not None and not trainer._seeded:
        streams.seed(trainer.seed)
        trainer._seeded = True
    if data is not None:
        trainer._build(as_source(data, "training data"))
    for optimizer in ctx.optimizers:
        if callable(getattr(optimizer, "bind", None)):
            optimizer.bind()
    attributes, inside, clock = dict(vars(trainer)), dict(vars(ctx)), ctx.clock.state_dict()
    rows = [dict(row) for row in trainer.history.rows]
    state = {name: array.copy() for name, array in ctx.model.state_dict().items()}
    trained = [(p, p.requires_grad) for p in ctx.model.parameters()]
    stateful = [o for o in (*ctx.optimizers, ctx.scaler) if callable(getattr(o, "load_state_dict", None))]
    states = [copy.deepcopy(o.state_dict()) for o in stateful]
    drawn = save_random()
    try:
        yield
    finally:
        vars(trainer).update(attributes)
        vars(ctx).update(inside)
        ctx.clock.load_state_dict(clock)
        trainer.history.rows[:] = rows
        live = ctx.model.state_dict()
        for name, array in state.items():
            live[name][...] = array
            note_write(live[name])
        for parameter, was in trained:
            parameter.requires_grad_(was)
        for owner, kept in zip(stateful, states):
            owner.load_state_dict(kept)
        for optimizer in ctx.optimizers:
            optimizer.zero_grad()
        restore_random(drawn)


def _only_editors(trainer: Any) -> list[Any]:
    """The plugins of the trainer that take part in a step, without those that show, write, save or stop."""
    return [p for p in trainer.plugins if getattr(p, "band", "editor") == "editor"]


class Steps:
    """Ends a run after so many batches; keeps the losses."""

    band = "control"

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.losses: list[float] = []

    @hookimpl(trylast=True)
    def lunar_batch_end(self, metrics: dict[str, Any], ctx: Any) -> None:
        self.losses.append(float(metrics["loss"]))
        if len(self.losses) >= self.steps:
            ctx.stop(f"{self.steps} steps are done")

    def lunar_loss_nonfinite(self, loss: float) -> str:
        return "stop"


def epochs_for(data: Any, batch_size: int, steps: int) -> int:
    """How many epochs of ``data`` hold ``steps`` steps."""
    return -(-steps // max(-(-len(as_source(data, "training data")) // batch_size), 1))


# -- learning rate -----------------------------------------------------------------------------------------------------


class LearningRates(NamedTuple):
    """What :func:`lr_find` measured: ``losses[i]`` (``smooth[i]``: smoothed) came after a step at rate ``rates[i]``.

    ``suggestion`` is the rate at which the loss fell fastest, ``None`` where it never fell; ``lowest`` the rate at the
    lowest smoothed loss.
    """

    rates: list[float]
    losses: list[float]
    smooth: list[float]
    suggestion: float | None
    lowest: float

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The curve with the suggestion as a matplotlib Figure; saved when ``path`` is given."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.semilogx(self.rates, self.losses, color="#2a78c2", alpha=0.3, label="loss")
        axes.semilogx(self.rates, self.smooth, color="#2a78c2", label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="#d1642a", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __repr__(self) -> str:
        said = "the loss never fell" if self.suggestion is None else f"suggestion {self.suggestion:.3g}"
        return f"LearningRates({said}, lowest loss at {self.lowest:.3g}, {len(self.rates)} steps)"


class _Ramp(Steps):
    def __init__(self, rates: list[float], stop_at: float, beta: float) -> None:
        super().__init__(len(rates))
        self.rates = rates
        self.stop_at = stop_at
        self.beta = beta
        self.smooth: list[float] = []
        self._mean = 0.0

    def lunar_fit_start(self, ctx: Any) -> None:
        # Groups keep their ratios to the first one.
        base = ctx.optimizers[0].groups[0].lr or 1.0
        self.groups = [(group, group.lr / base) for o in ctx.optimizers for group in o.groups]

    def lunar_before_step(self) -> None:
        for group, ratio in self.groups:
            group.lr = self.rates[len(self.losses)] * ratio

    @hookimpl(trylast=True)
    def lunar_batch_end(self, metrics: dict[str, Any], ctx: Any) -> None:
        super().lunar_batch_end(metrics, ctx)
        loss = self.losses[-1]
        if not math.isfinite(loss):
            self.losses.pop()
            ctx.stop("the loss is lost")
            return
        self._mean = self.beta * self._mean + (1 - self.beta) * loss
        self.smooth.append(self._mean / (1 - self.beta ** len(self.losses)))
        if len(self.smooth) > self.steps // 10 and self.smooth[-1] > self.stop_at * min(self.smooth):
            ctx.stop("the loss grows")


def lr_find(
    trainer: Any,
    data: Any,
    *,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    stop_at: float = 4.0,
    smoothing: float = 0.9,
) -> LearningRates:
    """Train for ``steps`` steps while the learning rate grows from ``low`` to ``high``, and say where the loss falls best.

    The rate is multiplied by the same factor after each step; it ends early when the smoothed loss is ``stop_at`` times
    its minimum. The smoothing is an exponential mean with factor ``smoothing``, without its bias. Schedulers rest, of the
    plugins only editors take part. L. Smith, Cyclical Learning Rates, 1506.01186, section 3.3; the suggestion is the
    steepest descent over the logarithm of the rate, before the minimum.
    """
    if not 0 < low < high or steps < 10:
        raise HyperparameterError(f"lr_find: needs 0 < low < high and at least 10 steps, got {low}, {high} and {steps}")
    rates = [float(r) for r in np.geomspace(low, high, steps)]
    ramp = _Ramp(rates, stop_at, smoothing)
    with as_before(trainer, data):
        if any(not getattr(o, "groups", None) for o in trainer.context.optimizers):
            raise HyperparameterError("lr_find: the optimizer has no groups with a learning rate")
        trainer.plugins = [*_only_editors(trainer), ramp]
        trainer.schedulers = []
        trainer._own_schedules = []
        trainer.fit(data, epochs=epochs_for(data, batch_size, steps), batch_size=batch_size)
    # A loss is measured before its batch's step: it is the fruit of the rate of the step before.
    losses, smooth = ramp.losses[1:], ramp.smooth[1:]
    rates = rates[: len(losses)]
    if len(rates) < 4:
        raise DataError(f"lr_find: the loss was lost after {len(rates)} steps", hint="begin lower: low=1e-9")
    best = int(np.argmin(smooth))
    slopes = np.gradient(np.asarray(smooth), np.log(rates))
    first = min(len(rates) // 20, best)
    steepest = first + int(np.argmin(slopes[first : best + 1]))
    suggestion = rates[steepest] if slopes[steepest] < 0 else None
    return LearningRates(rates, losses, smooth, suggestion, rates[best])


# -- batch size --------------------------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """One batch size: whether it fitted, how fast it was, the most bytes that results of ops took at once in a step."""

    size: int
    fits: bool
    samples_per_second: float
    peak_bytes: int


class BatchSizes(NamedTuple):
    """What :func:`find_batch_size` measured: the ``largest`` that fits, the ``fastest``, and all ``trials``."""

    largest: int
    fastest: int
    trials: list[Trial]


def find_batch_size(
    trainer: Any, data: Any, *, start: int = 8, largest: int | None = None, memory: int | None = None, steps: int = 2
) -> BatchSizes:
    """Try batch sizes from ``start`` on, each twice the one before, until one does not fit or the data are used up.

    A size does not fit when a step runs out of memory, or when the results of ops take more than ``memory`` bytes at once.
    ``largest`` bounds the search. The speed is that of the fastest of ``steps`` steps, forward, backward and update.

    Raises MemoryError when ``start`` does not fit already.
    """
    if start < 1 or steps < 1:
        raise HyperparameterError(f"find_batch_size: start and steps must be at least 1, got {start} and {steps}")
    limit = min(largest or 1 << 62, len(as_source(data, "training data")))
    trials: list[Trial] = []
    size = min(start, limit)
    while True:
        trial = _try(trainer, data, size, memory, steps)
        trials.append(trial)
        if not trial.fits or size >= limit:
            break
        size = min(2 * size, limit)
    fitting = [t for t in trials if t.fits]
    if not fitting:
        raise MemoryError(f"find_batch_size: a batch of {trials[0].size} does not fit")
    return BatchSizes(fitting[-1].size, max(fitting, key=lambda t: t.samples_per_second).size, trials)


class _Watch(Steps):
    def lunar_before_fetch(self, ctx: Any) -> None:
        self.start = time.perf_counter()

    @hookimpl(trylast=True)
    def lunar_batch_end(self, metrics: dict[str, Any], ctx: Any) -> None:
        super().lunar_batch_end(metrics, ctx)
        self.best = min(getattr(self, "best", math.inf), time.perf_counter() - self.start)


def _try(trainer: Any, data: Any, size: int, memory: int | None, steps: int) -> Trial:
    meter, watch = MemoryMeter(), _Watch(1)
    with as_before(trainer, data):
        try:
            trainer.plugins = [*_only_editors(trainer), meter, watch]
            trainer.fit(data, batch_size=size, shuffle=False)
            if memory is not None and meter.peak > memory:
                return Trial(size, False, 0.0, meter.peak)
            watch = _Watch(steps)
            trainer.plugins = [*_only_editors(trainer), watch]
            trainer.fit(data, epochs=steps, batch_size=size, shuffle=False)
        except Exception as exc:
            if not _out_of_memory(exc):
                raise
            return Trial(size, False, 0.0, meter.peak)
    return Trial(size, True, size / watch.best, meter.peak)


def _out_of_memory(exc: BaseException | None) -> bool:
    while exc is not None:
        if isinstance(exc, MemoryError) or type(exc).__name__ == "OutOfMemoryError":
            return True
        exc = exc.__cause__
    return False
