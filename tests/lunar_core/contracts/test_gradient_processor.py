"""A gradient processor of one's own is a few lines, and a hook plugin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import numpy as np

import lunar_core as lc
from lunar_core.contracts.gradient_processor import GradientProcessor
from lunar_core.hooks import Bus


class Negate(GradientProcessor):
    def process(self, grads):
        for g in grads.values():
            g *= -1


class TowardsZero(GradientProcessor):
    needs_parameters: ClassVar[bool] = True

    def process(self, grads, parameters):
        assert parameters.keys() == grads.keys()
        for name, g in grads.items():
            g += parameters[name]


class Net(lc.Module):
    def __init__(self):
        self.used = lc.Parameter(np.array([5.0]))
        self.unused = lc.Parameter(np.array([7.0]))


def test_a_bus_runs_processors_in_their_order():
    bus = Bus([Negate(), TowardsZero(), Negate()], ctx=SimpleNamespace(model=Net()))
    grads = {"used": np.array([1.0])}
    bus.grads_ready(grads, 1.0)
    assert grads["used"].tolist() == [-4.0]


def test_most_have_no_state():
    processor = Negate()
    assert processor.state_dict() == {}
    processor.load_state_dict({})
