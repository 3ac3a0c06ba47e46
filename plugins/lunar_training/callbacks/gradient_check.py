"""Whether the gradients of a model are those of its loss."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np

from lunar_core import random as streams
from lunar_core.component import field, positive
from lunar_core.contracts.callback import Callback
from lunar_core.dtypes import is_floating
from lunar_core.errors import GradientError, HyperparameterError
from lunar_core.tensor import Tensor

from ..data import loss_terms


class GradientCheck(Callback):
    """Compares the gradient of the first batch with differences, parameter by parameter, and stops if they disagree.

    A copy of the model in float64 is evaluated, so the run itself, its weights and its random state are untouched. For
    each parameter p the derivative of the mean loss along a random direction v of length 1 is compared with
    ``(L(p + h v) - L(p - h v)) / 2h``. A kink (ReLU) within a step of size h can look like an error, so a parameter
    is accused only if several directions disagree. ``worst`` is the largest relative difference that was accepted.

    Raises GradientError naming the parameters.
    """

    band: ClassVar[str] = "control"

    tolerance: float = field(default=1e-4, validator=positive, doc="largest relative difference")
    step: float = field(default=1e-5, validator=positive, doc="h, the length of a step")
    tries: int = field(default=3, validator=positive, doc="directions that have to disagree")
    examples: int = field(default=8, validator=positive, doc="examples of the batch that are used")

    worst: float | None = None

    def lunar_fit_start(self) -> None:
        self._due = True

    def lunar_batch_start(self, batch: tuple[Any, ...], ctx: Any) -> None:
        if self._due:
            self._due = False
            if ctx.trainer is None or ctx.trainer.loss is None:
                raise HyperparameterError("GradientCheck needs the Trainer's loss")
            with streams.preserved():
                self.worst = self.check(ctx.model, ctx.trainer.loss, batch)

    def check(self, model: Any, loss: Any, batch: tuple[Any, ...]) -> float:
        """The largest relative difference for ``model`` and ``loss`` on ``batch`` (inputs, targets, ...)."""
        model, loss = copy.deepcopy(model).to("cpu"), copy.deepcopy(loss)
        model.astype(np.float64)
        parts = [np.asarray(part[: self.examples]) for part in batch]
        parts = [part.astype(np.float64) if is_floating(part.dtype) else part for part in parts]
        before = streams.state()

        def mean() -> Tensor:
            streams.load_state(before)  # the same dropout masks at each evaluation
            weights = Tensor(parts[2]) if len(parts) > 2 else None
            total, weight = loss_terms(loss, model(Tensor(parts[0])), Tensor(parts[1]), weights)
            return total / weight if weight else total

        model.zero_grad()
        mean().backward()
        rng = np.random.default_rng(0)
        grads = {name: p.grad.data.copy() for name, p in model.named_parameters() if p.grad is not None}
        scale = max((float(np.linalg.norm(g)) for g in grads.values()), default=0.0)
        wrong, worst = [], 0.0
        for name, parameter in model.named_parameters():
            if name not in grads:
                continue
            differences = []
            for _ in range(self.tries):
                v = rng.standard_normal(parameter.shape)
                v /= max(float(np.linalg.norm(v)), 1e-300)
                said, found = float((grads[name] * v).sum()), self._slope(mean, parameter, v)
                differences.append(abs(said - found) / max(abs(said), abs(found), 1e-6 * scale, 1e-12))
                if differences[-1] <= self.tolerance:
                    break
            if min(differences) > self.tolerance:
                wrong.append(f"{name}: its gradient says {said:.6g} along a direction, differences say {found:.6g}")
            worst = max(worst, min(differences))
        if wrong:
            raise GradientError("gradient check: " + "; ".join(wrong), hint="look at the rules of the ops behind it")
        return worst

    def _slope(self, mean: Any, parameter: Any, v: np.ndarray) -> float:
        kept = parameter.data.copy()
        values = []
        for sign in (1, -1):
            parameter.data = kept + sign * self.step * v
            values.append(mean().item())
        parameter.data = kept
        return (values[0] - values[1]) / (2 * self.step)
