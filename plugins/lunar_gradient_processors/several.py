"""Gradients of several batches or tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lunar_core import backend, random
from lunar_core.component import field, positive
from lunar_core.contracts.gradient_processor import GradientProcessor
from lunar_core.errors import StateError

from .arrays import wide


class Accumulate(GradientProcessor):
    """A step is made of the mean of ``steps`` batches' gradients.

    The gradients of the batches before the last are kept (one array more a parameter) and zeroed; ``ready`` says
    whether those that are there now are the mean. In a run the optimizer does not step, and the clock and the
    schedulers stand, until they are. The mean is over batches, each of the same weight; ``micro_batches`` of the
    Trainer, which cuts a batch, weighs by examples and needs no memory for gradients beyond the usual.
    """

    steps: int = field(default=2, validator=positive, doc="batches that make a step")

    def __attrs_post_init__(self) -> None:
        self.seen = 0
        self.sums: dict[str, Any] = {}

    @property
    def ready(self) -> bool:
        """Whether the gradients that were processed last are the mean of ``steps`` batches."""
        return self.seen == 0

    def process(self, grads: dict[str, Any]) -> None:
        self.seen += 1
        last = self.seen >= self.steps
        for name, g in grads.items():
            kept = self.sums.get(name)
            if last:
                g[...] = (wide(g) if kept is None else wide(g) + kept) / self.seen
            else:
                self.sums[name] = wide(g).copy() if kept is None else kept + wide(g)
                g[...] = 0
        if last:
            for name in self.sums.keys() - grads.keys():
                # A parameter that the last batch had no gradient for; there is no array to put its mean into.
                raise StateError(
                    f"Accumulate: {name} had a gradient in an earlier batch of the step and has none in the last"
                )
            self.seen, self.sums = 0, {}

    def state_dict(self) -> dict[str, Any]:
        """``{"seen": batches since the last step, "sums": {name: their sum}}``."""
        return {"seen": self.seen, "sums": dict(self.sums)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state.keys() != {"seen", "sums"}:
            raise StateError(f"Accumulate: its state has 'seen' and 'sums', got {sorted(state)}")
        self.seen = int(state["seen"])
        self.sums = {name: array.copy() for name, array in state["sums"].items()}

    def lunar_before_step(self) -> str | None:
        """Hook: no step before the mean is complete."""
        return None if self.ready else "skip"


class PCGrad(GradientProcessor):
    """Gradients of several tasks, each without what goes against the others.

    ``combine`` takes the tasks' gradients: from a copy of each, for every other task in random order, the projection on
    that task's own gradient is taken off where their product is negative, ``g_i -= <g_i, g_j> / ||g_j||^2 g_j``; the sum
    of what is left is the result. Yu et al., Gradient Surgery for Multi-Task Learning (2020), arXiv:2001.06782,
    algorithm 1, over all parameters as one vector.

    In a loop of processors ``add(grads)`` notes a task's gradients, and ``process`` then writes the combination of those
    that were noted into the gradients that it is given; with none noted it leaves them.

    The orders are drawn from the stream "pcgrad".
    """

    def __attrs_post_init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []

    def add(self, grads: Mapping[str, Any]) -> None:
        """Note a copy of one task's gradients for the next :meth:`process`."""
        self.tasks.append({name: g.copy() for name, g in grads.items()})

    def combine(self, tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The sum of the tasks' gradients after surgery; a parameter that a task lacks counts as zeros there."""
        rng = random.stream("pcgrad").next()
        total: dict[str, Any] = {}
        for i, task in enumerate(tasks):
            own = {name: wide(g).copy() for name, g in task.items()}
            others = [j for j in range(len(tasks)) if j != i]
            for k in rng.permutation(len(others)):
                other = {name: wide(g) for name, g in tasks[others[k]].items()}
                product = _dot(own, other)
                length = _dot(other, other)
                if product < 0.0 < length:
                    for name in own.keys() & other.keys():
                        own[name] -= other[name] * (product / length)
                    for name in other.keys() - own.keys():
                        own[name] = backend.of(other[name]).xp.asarray(other[name] * (-product / length))
            for name, g in own.items():
                total[name] = total[name] + g if name in total else g
        return total

    def process(self, grads: dict[str, Any]) -> None:
        if not self.tasks:
            return
        for name, g in self.combine(self.tasks).items():
            if name in grads:
                grads[name][...] = g
        self.tasks = []


def _dot(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The product of two sets of gradients as vectors, added up in float64."""
    return sum(float(backend.of(a[n]).xp.vdot(a[n].reshape(-1), b[n].reshape(-1))) for n in a if n in b)
