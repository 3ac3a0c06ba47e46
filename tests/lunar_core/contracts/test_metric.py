"""The metric contract: what the base class does for a metric of three lines."""

from __future__ import annotations

import copy
from typing import ClassVar

import numpy as np
import pytest

from lunar_core.component import field, positive
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError, HyperparameterError, StateError
from lunar_core.tensor import Tensor


class MeanError(Metric):
    """Mean absolute error, in multiples of ``unit``."""

    totals: ClassVar = {"error": 0.0, "weight": 0.0}
    unit: float = field(default=1.0, validator=positive)

    def add(self, pred, target, weight):
        error = abs(pred - target)
        self.error += (error if weight is None else error * weight).sum()
        self.weight += error.size if weight is None else weight.sum()

    def result(self):
        return self.error / self.weight / self.unit


class Counts(Metric):
    """Class frequencies: an array as a total, a dict as the result, an ``__init__`` of its own."""

    totals: ClassVar = {"counts": np.zeros(3)}

    def __init__(self, names):
        self.names = names

    def add(self, pred, target, weight):
        self.counts += np.bincount(target, minlength=3)

    def result(self):
        return dict(zip(self.names, self.counts.tolist()))


def test_tensors_arrays_and_lists_may_be_given():
    for pred, target in ((Tensor(np.ones(2)), [1, 3]), (np.ones(2), Tensor(np.array([1.0, 3.0]))), ([1, 1], [1, 3])):
        metric = MeanError()
        metric.update(pred, target)
        assert metric.compute() == 1.0
        assert type(metric.compute()) is float


def test_each_metric_has_totals_of_its_own():
    a, b = Counts(["x", "y", "z"]), Counts(["x", "y", "z"])
    a.update(np.zeros(2), np.array([0, 2]))
    b.update(np.zeros(1), np.array([1]))
    assert a.compute() == {"x": 1, "y": 0, "z": 1}
    twin = copy.deepcopy(a)
    a.merge(b)
    assert a.compute() == {"x": 1, "y": 1, "z": 1}
    assert twin.compute() == {"x": 1, "y": 0, "z": 1}
    a.reset()
    assert Counts.totals["counts"].sum() == 0
    with pytest.raises(DataError, match="Counts has seen no example"):
        a.compute()


def test_totals_of_arrays_survive_the_state_dict():
    a, b = Counts(["x", "y", "z"]), Counts(["x", "y", "z"])
    a.update(np.zeros(2), np.array([0, 2]))
    state = a.state_dict()
    a.update(np.zeros(1), np.array([1]))
    assert state["counts"].tolist() == [1, 0, 1]
    b.load_state_dict(state)
    b.update(np.zeros(1), np.array([0]))
    assert b.compute() == {"x": 2, "y": 0, "z": 1}
    assert state["counts"].tolist() == [1, 0, 1]
    with pytest.raises(StateError, match="'counts', 'seen'"):
        b.load_state_dict({"counts": 1, "seen": 1, "more": 2})


def test_weights_are_one_per_example():
    metric = MeanError()
    metric.update([1, 1], [1, 3], [3, 1])
    assert metric.compute() == 0.5
    with pytest.raises(DataError, match="one weight for each of 2 examples"):
        metric.update([1, 1], [1, 3], [1])


def test_only_metrics_that_count_the_same_are_merged():
    for other in (MeanError(unit=2.0), Counts([])):
        with pytest.raises(HyperparameterError, match="cannot be merged"):
            MeanError().merge(other)


def test_a_class_that_leaves_a_method_out_is_told_which():
    class Nothing(Metric):
        pass

    with pytest.raises(NotImplementedError, match="Nothing must define add"):
        Nothing().update([1], [1])
