"""Adas: a rate for each layer, from what its weights have learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.scheduler import Bound, Scheduler
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.tensor import Tensor


class Adas(Scheduler):
    """Falls by ``beta`` at each position and rises with the knowledge that a layer has gained there::

        eta(0) = base;   eta(t) = max(beta * eta(t - 1) + zeta * base * (G(t) - G(t - 1)), minimum * base)

    G is :func:`knowledge_gain` of a group's weights: the mean over those with at least two axes. Each parameter group of
    the optimizer that it is bound to follows its own gain, so a rate for each layer takes a group for each layer
    (``overrides={"conv1.*": {}, "conv2.*": {}}``). Positions are epochs; the gains are read from the weights when a
    position is reached, and are part of a binding's state, so that positions that were reached can be sought, and a
    resumed run goes on exactly. ``observe`` notes gains by hand, for :meth:`simulate`; without any the value falls as
    ``beta ** t``.

    M. S. Hosseini and K. N. Plataniotis, AdaS: Adaptive Scheduling of Stochastic Gradients (2020), arXiv:2006.06587,
    algorithm 1: the recurrence with the gain's difference of two epochs (the authors' later code fits a line through
    several instead). ``zeta`` is in units of the rate at the start, where the paper sets zeta itself to that rate.

    A group without such weights, a bias of its own for one, falls by ``beta`` alone. Raises NotBuiltError when it is bound to
    the optimizer of a model that is not built yet.
    """

    beta: float = field(default=0.8, validator=in_range(0, 1, include_high=False), doc="what is left at each position")
    zeta: float = field(default=1.0, validator=non_negative, doc="weight of the gain, times the rate at the start")
    minimum: float = field(default=1e-20, validator=non_negative, doc="smallest share of the rate at the start")
    unit: str = field(default="epoch", kw_only=True, doc="what positions count: epoch, step, ...")

    def __attrs_post_init__(self) -> None:
        self.gains: list[float] = []
        super().__attrs_post_init__()

    def observe(self, gains: Sequence[float]) -> None:
        """The gains at the positions 0, 1, ..., for :meth:`value` and :meth:`simulate`."""
        self.gains = [float(g) for g in gains]

    def value(self, position: float, base: float) -> float:
        return self.follow(self.gains, position, base)

    def follow(self, gains: Sequence[float], position: float, base: float) -> float:
        """The value at ``position`` after these gains; where some are missing the last one stays."""
        share = 1.0
        for t in range(1, int(position) + 1):
            gained = gains[t] - gains[t - 1] if t < len(gains) else 0.0
            share = max(self.beta * share + self.zeta * gained, self.minimum)
        return share * base

    def bind(self, target: Any, attribute: str | None = None) -> AdasBound:
        return AdasBound(self, target, attribute or self.attribute)


class AdasBound(Bound):
    """An :class:`Adas` at work. ``gains`` holds, for each place, the knowledge gain at every position so far."""

    scheduler: Adas

    def __init__(self, scheduler: Adas, target: Any, attribute: str) -> None:
        self.gains: list[list[float]] = []
        lay_out = getattr(target, "bind", None)
        if callable(lay_out):  # the groups of an optimizer learn which parameters they have
            lay_out()
        super().__init__(scheduler, target, attribute)

    def step(self, position: float | None = None) -> None:
        """Go to the next position, or to ``position``, and read the gains of the weights as they are now.

        Gains that were read at this position and at later ones before are forgotten; those of positions that were
        passed over are the last ones.
        """
        to = int(self.position + 1 if position is None else position)
        for known, place in zip(self.gains, self._places()):
            del known[to:]
            known += known[-1:] * (to - len(known))
            known.append(_gain_of(place))
        super().step(position)

    def seek(self, position: float) -> None:
        """Go to ``position``, forward or back, by the gains that are known."""
        if isinstance(position, bool) or not position >= 0:
            raise HyperparameterError(f"a scheduler's position is a number >= 0, got {position!r}")
        places = self._places()
        bases = [*self.bases, *[self._base(place) for place in places[len(self.bases) :]]]
        for place in places[len(self.gains) :]:
            # a group that joins later begins with its gain at this time
            self.gains.append([_gain_of(place)] * (int(position) + 1 if self.gains else 1))
        values = [self.scheduler.follow(g, position, base) for g, base in zip(self.gains, bases)]
        for place, value in zip(places, values):
            setattr(place, self.attribute, value)
        self.bases = bases
        self.position = position

    def state_dict(self) -> dict[str, Any]:
        """As of every binding, and ``"gains"``, the lists for each place."""
        return {**super().state_dict(), "gains": [list(g) for g in self.gains]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go where :meth:`state_dict` was taken. Raises StateError if it does not fit."""
        if not isinstance(state, Mapping) or len(state.get("gains", ())) != len(self.gains):
            raise StateError(f"the state of Adas has 'gains', a list for each of {len(self.gains)} groups")
        before, self.gains = self.gains, [[float(g) for g in known] for known in state["gains"]]
        try:
            super().load_state_dict({k: v for k, v in state.items() if k != "gains"})
        except StateError:
            self.gains = before
            raise


def _gain_of(place: Any) -> float:
    """The mean knowledge gain of a group's weights with at least two axes; 0 where there are none."""
    found = [p for p in getattr(place, "params", ()) if getattr(p, "ndim", 0) > 1]
    return math.fsum(map(knowledge_gain, found)) / len(found) if found else 0.0


def knowledge_gain(weight: Any) -> float:
    """How much structure a weight has: the singular values of its low-rank part, over the largest, over the size.

    ``weight`` (out, in, ...) is unfolded along its first and its second axis. Of each matrix what rises above noise is
    kept (:func:`low_rank_values`), and ``G = sum(s) / (s[0] * n)`` with the length n of that axis: in [0, 1], 0 for noise.
    The result is the mean of the two; a matrix is the same both ways but for n, of which the smaller counts.

    Hosseini and Plataniotis (2020), arXiv:2006.06587, equation 3.
    """
    raw = weight.data if isinstance(weight, Tensor) else weight
    array = np.asarray(backend.of(raw).to_numpy(raw), np.float64)
    if array.ndim < 2:
        raise HyperparameterError(f"knowledge_gain: expected a weight of at least two axes, got shape {array.shape}")
    gains = []
    for axis in (0, 1) if array.ndim > 2 else (int(array.shape[0] > array.shape[1]),):
        values = low_rank_values(np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1))
        gains.append(values.sum() / (values[0] * array.shape[axis]) if values.size else 0.0)
    return float(np.mean(gains))


def low_rank_values(matrix: np.ndarray) -> np.ndarray:
    """The singular values of a matrix without its noise, shrunk, largest first; the noise's variance is estimated.

    S. Nakajima et al., Global Analytic Solution of Fully-observed Variational Bayesian Matrix Factorization (JMLR 2013),
    theorem 2 and corollary 2.
    """
    short, long = sorted(matrix.shape)
    s = np.linalg.svd(matrix, compute_uv=False)
    if not s.size or s[0] == 0:
        return s[:0]
    alpha = short / long
    tau = 2.5129 * math.sqrt(alpha)
    edge = (1 + tau) * (1 + alpha / tau)
    rank = max(min(math.ceil(short / (1 + alpha)) - 1, short) - 1, 0)
    high = float((s**2).sum()) / (short * long)
    rest = s[rank + 1 :]
    low = max(float(rest[0]) ** 2 / (long * edge), float((rest**2).mean()) / long) if rest.size else 0.0
    low = max(low, high * 1e-12)
    variance = _least(lambda v: _free_energy(v, s, short, long, edge), low, max(high, low))
    kept = s[s > math.sqrt(long * variance * edge)]
    x = 1 - (short + long) * variance / kept**2
    return kept / 2 * (x + np.sqrt(x * x - 4 * short * long * variance**2 / kept**4))


def _free_energy(variance: float, s: np.ndarray, short: int, long: int, edge: float) -> float:
    """The free energy of a noise variance, but for constants."""
    alpha = short / long
    x = s**2 / (long * variance)
    noise, signal = x[x <= edge], x[x > edge]
    y = signal - (1 + alpha)
    tau = 0.5 * (y + np.sqrt(y * y - 4 * alpha))
    energy = (noise - np.log(np.maximum(noise, 1e-300))).sum() + (signal - tau).sum()
    return float(energy + np.log((tau + 1) / signal).sum() + alpha * np.log(tau / alpha + 1).sum())


def _least(function: Any, low: float, high: float) -> float:
    """Where a function of one minimum is least between ``low`` and ``high``, by golden sections."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = low, high
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    fc, fd = function(c), function(d)
    for _ in range(80):
        if fc < fd:
            b, d, fd = d, c, fc
            c = b - ratio * (b - a)
            fc = function(c)
        else:
            a, c, fc = c, d, fd
            d = a + ratio * (b - a)
            fd = function(d)
    return (a + b) / 2
