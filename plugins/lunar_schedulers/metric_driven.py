"""Schedules that follow a figure of the run: plateau and greedy.

They too are functions of a position, given the figures that were observed. Figure i is the one that was known when
position i was left, so the value at position p follows from the figures 0 to p - 1 and from nothing else: a run can be
sought, replayed and simulated from them. The figures are in the state dict of a binding::

    bound = Plateau(patience=5).bind(optimizer)
    for epoch in range(100):
        ...
        bound.step(metric=validation_loss)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lunar_core.component import field, in_range, non_negative, one_of, positive
from lunar_core.contracts.scheduler import Bound, Scheduler
from lunar_core.errors import HyperparameterError, StateError


class Track(NamedTuple):
    """What is known after some figures: the best one, the runs of bad and good ones, and the moves that they caused.

    ``pause`` counts the figures that are still to be passed over; ``moves`` is a chain (earlier moves, direction),
    newest first, +1 for up and -1 for down.
    """

    best: float | None = None
    bad: int = 0
    good: int = 0
    pause: int = 0
    moves: tuple[Any, int] | None = None


class MetricScheduler(Scheduler):
    """Base of schedulers that follow a figure: write ``follow`` and ``moved``.

    ``observe(metric)`` notes the next figure; ``step(metric=...)`` of a binding does so and goes on. ``monitor`` names
    the figure for a training loop that hands it over; ``mode`` says whether smaller ("min") or larger ones are better.
    """

    metric_driven: ClassVar[bool] = True

    monitor: str = field(default="val_loss", kw_only=True, doc="name of the figure in the epoch's record")
    mode: str = field(default="min", kw_only=True, validator=one_of("min", "max"), doc="which way is better")
    threshold: float = field(default=1e-4, kw_only=True, validator=non_negative, doc="how much better counts")
    threshold_mode: str = field(
        default="rel", kw_only=True, validator=one_of("rel", "abs"), doc="of the best so far, or absolute"
    )
    unit: str = field(default="epoch", kw_only=True, doc="what positions count: epoch, step, ...")

    def __attrs_post_init__(self) -> None:
        self.history: list[float | None] = []
        self._tracks = [self.begin()]
        super().__attrs_post_init__()

    def begin(self) -> Track:
        """What is known before the first figure."""
        return Track()

    def follow(self, track: Track, figures: Sequence[float]) -> Track:
        """What is known after the last of ``figures``, where ``track`` was known before it.

        ``figures`` are the last ``window`` ones, oldest first; just one in a class without such a field.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no follow()")

    def moved(self, value: float, direction: int) -> float:
        """The value after one move from ``value``."""
        raise NotImplementedError(f"{type(self).__name__} defines no moved()")

    def observe(self, metric: float | None, position: float | None = None) -> None:
        """Note the figure of ``position`` (default: the next one) and forget those of later positions.

        ``None`` says that there is none. Positions that were passed over have none either.
        """
        if metric is not None and (isinstance(metric, bool) or not isinstance(metric, (int, float, np.number))):
            raise HyperparameterError(f"{type(self).__name__}: a metric is a number or None, got {metric!r}")
        at = len(self.history) if position is None else int(position)
        del self.history[at:]
        self.history += [None] * (at - len(self.history))
        self.history.append(None if metric is None else float(metric))
        del self._tracks[at + 1 :]

    def track(self, position: float) -> Track:
        """What is known at ``position``."""
        n = min(int(position), len(self.history))
        for i in range(len(self._tracks), n + 1):
            last = self._tracks[-1]
            self._tracks.append(last if self.history[i - 1] is None else self.follow(last, self._recent(i)))
        return self._tracks[n]

    def _recent(self, position: int) -> list[float]:
        """The last figures before ``position``, as many as ``window`` says (default 1), oldest first."""
        wanted, found = getattr(self, "window", 1), []
        for i in range(position - 1, -1, -1):
            metric = self.history[i]
            if metric is not None:
                found.append(metric)
                if len(found) == wanted:
                    break
        return found[::-1]

    def value(self, position: float, base: float) -> float:
        directions = []
        link = self.track(position).moves
        while link is not None:
            link, direction = link
            directions.append(direction)
        for direction in reversed(directions):
            base = self.moved(base, direction)
        return base

    def better(self, metric: float, best: float | None) -> bool:
        """Whether ``metric`` improves on ``best`` by more than the threshold; NaN never does."""
        if best is None:
            return metric < math.inf if self.mode == "min" else metric > -math.inf
        if self.threshold_mode == "rel":
            share = 1.0 - self.threshold if self.mode == "min" else 1.0 + self.threshold
            return metric < best * share if self.mode == "min" else metric > best * share
        return metric < best - self.threshold if self.mode == "min" else metric > best + self.threshold

    def simulate(self, n: int, base: float = 1.0, metrics: Sequence[float | None] | None = None) -> np.ndarray:
        """The values at positions 0 to n - 1 if ``metrics`` were observed; by default, what has been observed."""
        if metrics is None:
            return super().simulate(n, base)
        kept, tracks = self.history, self._tracks
        self.history, self._tracks = list(metrics), tracks[:1]
        try:
            return super().simulate(n, base)
        finally:
            self.history, self._tracks = kept, tracks

    def bind(self, target: Any, attribute: str | None = None) -> MetricBound:
        return MetricBound(self, target, attribute or self.attribute)

    def step(self, position: float | None = None, metric: float | None = None) -> None:
        """Note ``metric``, if given, and go to the next position, or to ``position``."""
        bound = self.bound
        assert isinstance(bound, MetricBound)
        bound.step(position, metric)


class MetricBound(Bound):
    """A binding whose state holds the observed figures."""

    scheduler: MetricScheduler

    def step(self, position: float | None = None, metric: float | None = None) -> None:
        """Note ``metric``, if given, as the figure of the position that is left, and go on."""
        if metric is not None:
            self.scheduler.observe(metric, self.position)
        super().step(position)

    def state_dict(self) -> dict[str, Any]:
        """``{"position": ..., "bases": [...], "history": [figure or None of each position]}``."""
        return {**super().state_dict(), "history": list(self.scheduler.history)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping) or "history" not in state:
            raise StateError("the state of a scheduler that follows a metric has 'history'")
        scheduler = self.scheduler
        kept, tracks = scheduler.history, scheduler._tracks
        scheduler.history = [None if m is None else float(m) for m in state["history"]]
        scheduler._tracks = tracks[:1]
        try:
            super().load_state_dict({k: v for k, v in state.items() if k != "history"})
        except StateError:
            scheduler.history, scheduler._tracks = kept, tracks
            raise


class Plateau(MetricScheduler):
    """Multiplied by ``factor`` when the figure has not improved for more than ``patience`` positions.

    PyTorch's ``ReduceLROnPlateau`` with its defaults: after a reduction ``cooldown`` positions are not counted, the
    value does not go below ``minimum``, and a reduction by no more than ``eps`` is left out.
    """

    factor: float = field(default=0.1, validator=in_range(0, 1, include_high=False), doc="what is left")
    patience: int = field(default=10, validator=non_negative, doc="positions without improvement that are borne")
    cooldown: int = field(default=0, validator=non_negative, doc="positions after a reduction that do not count")
    minimum: float = field(default=0.0, validator=non_negative, doc="smallest value")
    eps: float = field(default=1e-8, validator=non_negative, doc="smallest reduction")

    def follow(self, track: Track, figures: Sequence[float]) -> Track:
        metric = figures[-1]
        better = self.better(metric, track.best)
        best, bad = (metric, 0) if better else (track.best, track.bad + 1)
        if track.pause:
            return Track(best, pause=track.pause - 1, moves=track.moves)
        if bad > self.patience:
            return Track(best, pause=self.cooldown, moves=(track.moves, -1))
        return Track(best, bad, moves=track.moves)

    def moved(self, value: float, direction: int) -> float:
        new = max(value * self.factor, self.minimum)
        return new if value - new > self.eps else value


class Greedy(MetricScheduler):
    """Divided by ``factor`` while the figure improves, multiplied by it while it does not.

    Subramanian et al., GreedyLR: A Novel Adaptive Learning Rate Scheduler (2025), arXiv:2512.14527, with the rules and
    defaults of the authors' ``GreedyLR`` in Hugging Face's transformers. More than ``patience`` improvements in a row
    raise the value, more than ``patience`` failures lower it, always between ``minimum`` and ``maximum`` and by more than
    ``eps``. After a step up ``warmup`` figures are not judged, after one down ``cooldown``. The mean of the last
    ``window`` figures is judged in their place (1: the figure itself). Their return to the start after a long time at the
    minimum is left out, since it would bind the groups to each other.

    Raises HyperparameterError for ``minimum > maximum``.
    """

    factor: float = field(default=0.95, validator=in_range(0, 1, include_low=False, include_high=False))
    patience: int = field(default=10, validator=non_negative, doc="figures in a row before a move")
    cooldown: int = field(default=0, validator=non_negative, doc="figures after a step down that are not judged")
    warmup: int = field(default=0, validator=non_negative, doc="figures after a step up that are not judged")
    minimum: float = field(default=1e-3, validator=non_negative, doc="smallest value")
    maximum: float = field(default=1.0, validator=positive, doc="largest value")
    window: int = field(default=1, validator=positive, doc="figures that are averaged")
    eps: float = field(default=1e-8, validator=non_negative, doc="smallest move")
    threshold: float = field(default=1e-6, kw_only=True, validator=non_negative, doc="how much better counts")
    threshold_mode: str = field(
        default="abs", kw_only=True, validator=one_of("rel", "abs"), doc="of the best so far, or absolute"
    )

    def __attrs_post_init__(self) -> None:
        if self.minimum > self.maximum:
            raise HyperparameterError(f"Greedy: minimum must be <= maximum ({self.maximum}), got {self.minimum}")
        super().__attrs_post_init__()

    def follow(self, track: Track, figures: Sequence[float]) -> Track:
        if track.pause:
            return track._replace(good=0, bad=0, pause=track.pause - 1)
        metric = math.fsum(figures) / len(figures)
        if self.better(metric, track.best):
            best, good, bad = metric, track.good + 1, 0
        else:
            best, good, bad = track.best, 0, track.bad + 1
        if good > self.patience:
            return Track(best, pause=self.warmup, moves=(track.moves, 1))
        if bad > self.patience:
            return Track(best, pause=self.cooldown, moves=(track.moves, -1))
        return Track(best, bad, good, moves=track.moves)

    def moved(self, value: float, direction: int) -> float:
        new = min(value / self.factor, self.maximum) if direction > 0 else max(value * self.factor, self.minimum)
        return new if (new - value) * direction > self.eps else value
