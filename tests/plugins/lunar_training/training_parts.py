"""Small exact parts for the tests of training: a linear model, a squared error, plain gradient descent, a recorder."""

from __future__ import annotations

import numpy as np

from lunar_core import ops, random
from lunar_core.autograd import note_write
from lunar_core.contracts.loss import Loss
from lunar_core.contracts.metric import Metric
from lunar_core.hookspecs import SPECS
from lunar_core.modes import modes
from lunar_core.module import Module, Parameter
from lunar_core.tensor import tensor


class Line(Module):
    """``y = x w + b`` in the dtype of ``w``."""

    def __init__(self, features=3, dtype=np.float64, seed=0):
        generator = np.random.default_rng(seed)
        self.w = Parameter(generator.standard_normal((features, 1)).astype(dtype))
        self.b = Parameter(np.zeros(1, dtype))

    def forward(self, x):
        return ops.matmul(x, self.w) + self.b


class LazyLine(Module):
    """The same, sized by its first input."""

    def __init__(self):
        self._missing_build = self._special = True

    def build(self, x):
        drawn = random.stream("init").next().standard_normal((x.shape[-1], 1))
        self.w = Parameter(tensor(drawn, dtype=modes.dtype, device=modes.device))

    def forward(self, x):
        return ops.matmul(x, self.w)


class SquaredError(Loss):
    """One squared error per example, weighted."""

    def elements(self, pred, target):
        return ops.sum(ops.square(pred - target), axis=1), None


class MeanError(Metric):
    """Mean absolute error per example."""

    totals = {"error": 0.0, "weight": 0.0}  # noqa: RUF012

    def add(self, pred, target, weight):
        error = np.abs(pred - target).sum(1)
        self.error += float((error * (1 if weight is None else weight)).sum())
        self.weight += float(len(error) if weight is None else weight.sum())

    def result(self):
        return self.error / self.weight


class Descent:
    """Gradient descent: the least that the Trainer asks of an optimizer."""

    def __init__(self, params, lr=0.05):
        self.params = params
        self.lr = lr

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def step(self):
        for p in self.params:
            if p.grad is not None:
                p.data[...] -= p.dtype.type(self.lr) * p.grad.data
                note_write(p.data)


def regression(n=50, features=3, seed=1, dtype=np.float64):
    """A linear problem with noise."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, features)).astype(dtype)
    y = x @ np.arange(1, features + 1, dtype=dtype)[:, None] + 0.1 * generator.standard_normal((n, 1)).astype(dtype)
    return x, y


def recorder(*hooks, band="reader"):
    """A plugin that writes down the names of ``hooks`` (default: all that fire) in the order in which they come."""
    chosen = hooks or tuple(name for name, spec in SPECS.items() if spec.live and spec.kind != "wrap")
    seen = []

    def writing(name):
        def hook(self):
            seen.append(name)

        return hook

    members = {f"lunar_{name}": writing(name) for name in chosen}
    return type("Recorder", (), {**members, "band": band, "draws": False, "seen": seen})()


def plugin(**members):
    """A plugin of the given methods and attributes."""
    return type("Plugin", (), members)()
