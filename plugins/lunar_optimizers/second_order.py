"""What the optimizers that look at curvature share: an estimate of the Hessian's diagonal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import lunar_core as lc
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.errors import HyperparameterError

from .entries import Place, places, state_of


class SecondOrder(Optimizer):
    """Base of optimizers that use the diagonal of the Hessian, estimated by Hutchinson's method.

    ``step(closure)`` needs a closure that computes and returns the loss, without ``backward``::

        opt.step(lambda: loss(model(x), y))

    Every ``every`` steps the optimizer differentiates the gradient once more, along ``samples`` random directions z of
    +-1 each, and takes the mean of z * (H z), whose expectation is the diagonal (Bekas, Kokiopoulou and Saad, An
    estimator for the diagonal of a matrix, 2007). The n-th step draws from the random stream "hessian" at n, so a
    resumed run draws the same.

    A subclass has a state array ``hessian``, the last estimate, and asks in ``update`` for ``fresh``, whether it is of
    this step. Raises HyperparameterError for a step without a closure.
    """

    needs: ClassVar[str] = "loss"

    every: int = field(default=1, validator=positive, kw_only=True, doc="steps between two estimates of the Hessian")
    samples: int = field(default=1, validator=positive, kw_only=True, doc="random directions for one estimate")
    count: int = field(default=0, init=False, config=False, validator=non_negative, doc="steps so far")
    fresh: bool = field(default=False, init=False, config=False, doc="whether the estimate is of this step")

    state: ClassVar[Any] = ("hessian",)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            raise HyperparameterError(
                f"{type(self).__name__}: step needs a closure that returns the loss",
                hint="opt.step(lambda: loss(model(x), y))",
            )
        self.zero_grad()
        with lc.enable_grad():
            loss = closure()
        first = self.groups[0].values
        count, fresh = first["count"], first["count"] % first["every"] == 0
        for group in self.groups:
            group.values.update(count=count + 1, fresh=fresh)
        found = list(places(self))
        params = [place.entry.parameter for place in found]
        grads = lc.grad(loss, params, create_graph=fresh, allow_unused=True)
        used = [(place, p, g) for place, p, g in zip(found, params, grads) if g is not None]
        if fresh:
            self._estimate(used, lc.random.stream("hessian").at(count), first["samples"])
        for _, p, g in used:
            p.grad = g.detach()
        super().step()
        return loss.detach()

    def _estimate(self, used: list[tuple[Place, Any, Any]], generator: np.random.Generator, samples: int) -> None:
        sums = [0.0] * len(used)
        for sample in range(samples):
            signs = [
                lc.tensor(generator.integers(0, 2, p.shape) * 2.0 - 1.0, dtype=p.dtype, device=p.device)
                for _, p, _ in used
            ]
            depends = [i for i, (_, _, g) in enumerate(used) if g.node is not None]
            products = lc.grad(
                [used[i][2] for i in depends],
                [p for _, p, _ in used],
                [signs[i] for i in depends],
                retain_graph=sample + 1 < samples,
                allow_unused=True,
            )
            sums = [s if h is None else s + z.data * h.data for s, z, h in zip(sums, signs, products)]
        for (place, _, _), total in zip(used, sums):
            state_of(self, place, "hessian")[...] = self.refine(total / samples)

    def refine(self, estimate: Any) -> Any:
        """What is kept of one parameter's estimate."""
        return estimate
