"""Mean and spread of rows that come in batches, merged without loss of digits."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from lunar_core import backend
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError

from .arrays import host


class Moments(NamedTuple):
    """Weight, mean (D,) and sum of squared deviations, (D,) or as products (D, D), of rows."""

    weight: Any
    mean: Any
    spread: Any


def moments(rows: Any, weight: Any = None, products: bool = False) -> Moments:
    """The moments of rows (N, D) in float64, with weights (N,) or None."""
    xp = backend.of(rows).xp
    origin = rows[:1]
    rows = rows - origin  # so that a constant column has a spread of exactly 0
    column = 1.0 if weight is None else weight.reshape(-1, 1)
    total = rows.shape[0] if weight is None else weight.sum()
    mean = (rows * column).sum(axis=0) / (total + (total == 0))
    rows = rows - mean
    spread = xp.matmul(rows.T, rows * column) if products else (rows * rows * column).sum(axis=0)
    return Moments(total, mean + origin[0], spread)


def combined(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of rows together.

    Source: T. F. Chan, G. H. Golub and R. J. LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances, 1979, equation 2.1.
    """
    if not backend.is_array(a.mean):
        return b
    if not backend.is_array(b.mean):
        return a
    if a.mean.shape != b.mean.shape:
        raise DataError(f"rows of {a.mean.shape[0]} and of {b.mean.shape[0]} values cannot be merged")
    total = a.weight + b.weight
    share = b.weight / (total + (total == 0))
    step = b.mean - a.mean
    square = step * step if a.spread.ndim == 1 else step[:, None] * step[None, :]
    return Moments(total, a.mean + step * share, a.spread + b.spread + square * (a.weight * share))


class MomentMetric(Metric):
    """Base of metrics whose state is moments; a subclass names the sets of rows in ``sets``.

    Each set ``x`` is kept as the totals ``x_weight``, ``x_mean`` and ``x_spread``.
    """

    sets: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.totals = {f"{name}_{part}": 0 for name in cls.sets for part in Moments._fields}

    def moments(self, name: str) -> Moments:
        """The moments of a set so far."""
        return Moments(*(getattr(self, f"{name}_{part}") for part in Moments._fields))

    def extend(self, name: str, more: Moments) -> None:
        """Add rows to a set."""
        self._put(name, combined(self.moments(name), more))

    def host_moments(self, name: str) -> Moments:
        """The moments of a set on the host."""
        weight, mean, spread = self.moments(name)
        return Moments(float(weight), host(mean), host(spread))

    def merge(self, other: Metric) -> None:
        if type(other) is type(self):
            both = {name: combined(self.moments(name), other.moments(name)) for name in self.sets}
            super().merge(other)  # checks the hyperparameters and adds what is counted
            for name, value in both.items():
                self._put(name, value)
        else:
            super().merge(other)

    def _put(self, name: str, value: Moments) -> None:
        for part, total in zip(Moments._fields, value):
            setattr(self, f"{name}_{part}", total)


def rows_of(name: str, x: Any, what: str) -> Any:
    """An array (N, ...) as rows (N, D) in float64."""
    if x.dtype.kind not in "biuf" and not x.dtype.name.startswith(("bfloat", "float")):
        raise DataError(f"{name}: expected real numbers as {what}, got {x.dtype}")
    return x.astype(np.float64).reshape(x.shape[0] if x.ndim else 1, -1)
