"""Constraints: weights are brought back to where they belong after each step.

They add nothing to the loss. ``project(model)`` does the work: the Trainer calls it after every step
(``regularizers=[MaxNorm(3)]``, or among its plugins), a loop of one's own calls it after ``optimizer.step()``. A unit is
a row of a dense weight or a filter of a convolution. Keras' constraints of the same names, whose units are columns
because its weights are transposed.
"""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import backend
from lunar_core.autograd import note_write
from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.regularizer import Regularizer
from lunar_core.errors import HyperparameterError
from lunar_core.tensor import Tensor

from .choosing import choose

EPS = 1e-7  # Keras' backend.epsilon()


class Constraint(Regularizer):
    """Base of constraints: write ``projected(w)``, raw array -> raw array.

    Chosen are parameters as :class:`~lunar_regularizers.choosing.Weights` says. Adding a constraint to a loss, where it
    would do nothing, raises HyperparameterError.
    """

    looks_at: ClassVar[str] = "steps"

    patterns: tuple[str, ...] = field(default=("*",), kw_only=True, doc="globs over dotted parameter names")
    include_vectors: bool = field(default=False, kw_only=True, doc="count biases and normalisation parameters too")

    def __attrs_post_init__(self) -> None:
        if not self.patterns:
            name = type(self).__name__
            raise HyperparameterError(f"{name}: patterns is empty", hint='patterns=("*",) chooses all parameters')

    def projected(self, w: Any) -> Any:
        """The array that is nearest to ``w`` among those that are allowed."""
        raise NotImplementedError(f"{type(self).__name__} defines no projected()")

    def project(self, model: Any) -> None:
        """Project every chosen parameter in place."""
        for parameter in choose(type(self).__name__, model, self.patterns, self.include_vectors).values():
            w = parameter.data
            # Squares of half precision are summed in single.
            w[...] = self.projected(w if w.dtype.itemsize > 2 else w.astype("float32"))
            note_write(w)

    def terms(self, model: Any) -> tuple[Tensor, float]:  # type: ignore[override]
        """A constraint has none."""
        name = type(self).__name__
        raise HyperparameterError(
            f"{name} is a constraint and adds nothing to a loss",
            hint=f"{name}(...).project(model) after each step, or Trainer(..., regularizers=[{name}(...)])",
        )

    def lunar_after_step(self, ctx: Any) -> None:
        """Hook: project after the step."""
        self.project(ctx.model)


def lengths(w: Any) -> Any:
    """The norm of each unit, over all axes but the first, which are kept."""
    xp = backend.of(w).xp
    axes = tuple(range(1, w.ndim)) if w.ndim > 1 else None
    return xp.sqrt((w * w).sum(axis=axes, keepdims=w.ndim > 1))


class MaxNorm(Constraint):
    """No unit is longer than ``limit``: ``w * clip(||w||, 0, limit) / (||w|| + 1e-7)``.

    Srivastava et al., Dropout (2014), section 5.1, who took 3 or 4. Keras' ``MaxNorm``.
    """

    limit: float = field(default=3.0, validator=positive, doc="largest norm of a unit")

    def projected(self, w: Any) -> Any:
        n = lengths(w)
        xp = backend.of(w).xp
        return w * (xp.clip(n, 0.0, self.limit) / (n + EPS))


class MinMaxNorm(Constraint):
    """Units between ``low`` and ``high``: ``w * (rate * clip(||w||, low, high) + (1 - rate) * ||w||) / (||w|| + 1e-7)``.

    Keras' ``MinMaxNorm``. With ``rate`` below 1 they go only that share of the way.

    Raises HyperparameterError for ``low > high``.
    """

    low: float = field(default=0.0, validator=non_negative, doc="smallest norm of a unit")
    high: float = field(default=1.0, validator=positive, doc="largest norm of a unit")
    rate: float = field(default=1.0, validator=in_range(0, 1), doc="share of the way per step")

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise HyperparameterError(f"MinMaxNorm: low must be <= high ({self.high}), got {self.low}")
        super().__attrs_post_init__()

    def projected(self, w: Any) -> Any:
        n = lengths(w)
        xp = backend.of(w).xp
        wanted = self.rate * xp.clip(n, self.low, self.high) + (1.0 - self.rate) * n
        return w * (wanted / (n + EPS))


class NonNeg(Constraint):
    """No weight is negative: ``max(w, 0)``. Keras' ``NonNeg``."""

    def projected(self, w: Any) -> Any:
        return backend.of(w).xp.maximum(w, w.dtype.type(0))


class UnitNorm(Constraint):
    """Every unit has length one: ``w / (||w|| + 1e-7)``. Keras' ``UnitNorm``."""

    def projected(self, w: Any) -> Any:
        return w / (lengths(w) + EPS)
