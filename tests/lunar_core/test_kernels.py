"""Which provider runs a heavy op: order, switching off, answers that pass a signature on."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import kernels, ops
from lunar_core.op import OPS


class Recorder:
    """A provider that notes what it was asked, and answers with ones, or passes on."""

    def __init__(self, name, priority, answers=True, reason=""):
        self.name, self.priority, self.answers, self.reason = name, priority, answers, reason
        self.asked = 0

    def kernel(self, op, array_type):
        return self.softmax if op == "softmax" and array_type is np.ndarray else None

    def softmax(self, x, axis):
        self.asked += 1
        return np.ones_like(x) if self.answers else NotImplemented


@pytest.fixture
def alone():
    """No providers but those that the test adds."""
    kernels.reset()
    kernels.providers.found = []
    yield kernels
    kernels.reset()


X = lc.tensor([[1.0, 1.0]])


def test_the_provider_of_the_highest_priority_answers(alone):
    low, high = Recorder("low", 1), Recorder("high", 2)
    alone.add(low)
    alone.add(high)
    assert alone.chosen("softmax") == ["high", "low", "reference"]
    assert ops.softmax(X).tolist() == [[1, 1]]
    assert (low.asked, high.asked) == (0, 1)


def test_a_signature_that_all_pass_on_is_computed_by_the_reference(alone):
    first, second = Recorder("first", 2, answers=False), Recorder("second", 1, answers=False)
    alone.add(first)
    assert ops.softmax(X).tolist() == [[0.5, 0.5]]
    alone.add(second)
    assert ops.softmax(X).tolist() == [[0.5, 0.5]]
    assert (first.asked, second.asked) == (2, 1)


def test_ops_without_a_kernel_go_straight_to_the_reference(alone):
    alone.add(Recorder("one", 1))
    assert alone.chosen("log_softmax") == ["reference"]
    forward = OPS["log_softmax"].bound(np.ndarray)
    assert forward.func is OPS["log_softmax"].forward


def test_a_provider_that_was_switched_off_comes_back_also_after_another_was_added(alone):
    one = Recorder("one", 1)
    alone.add(one)
    alone.disable("one")
    assert ops.softmax(X).tolist() == [[0.5, 0.5]]
    alone.add(Recorder("two", 2, answers=False))
    alone.enable("one")
    assert ops.softmax(X).tolist() == [[1, 1]]


def test_a_provider_replaces_the_one_of_its_name(alone):
    alone.add(Recorder("one", 1))
    alone.add(Recorder("one", 1, answers=False))
    assert alone.chosen("softmax") == ["one", "reference"]


def test_the_status_says_what_each_offers_and_why_not(alone):
    alone.add(Recorder("one", 1))
    broken = Recorder("broken", 2, reason="its library is missing")
    broken.kernel = lambda op, array_type: None
    alone.add(broken)
    alone.disable("one")
    assert alone.status() == [
        kernels.Status("broken", 2, True, "its library is missing", ()),
        kernels.Status("one", 1, False, "", ("softmax",)),
    ]
