"""The scheduler contract: positions, bindings, state."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.component import field
from lunar_core.contracts.scheduler import Scheduler, linear_warmup
from lunar_core.errors import HyperparameterError, StateError
from lunar_optimizers.sgd import SGD


class Halving(Scheduler):
    after: float = field(default=1.0)

    def value(self, position, base):
        return base * 0.5 ** (position / self.after)


class ToTheEnd(Scheduler):
    def value(self, position, base):
        return base * (1 - position / self.length) if position else base


def optimizer(**kwargs):
    return SGD([lc.Parameter(np.ones(2))], **kwargs)


def test_a_binding_moves_an_attribute_of_any_object():
    thing = SimpleNamespace(rate=8, name="drop")
    bound = Halving().bind(thing, "rate")
    assert thing.rate == 8.0
    bound.step()
    bound.step()
    assert thing.rate == 2.0 and bound.values == [2.0] and bound.position == 2
    bound.step(5)
    assert thing.rate == 0.25
    bound.seek(1)
    assert thing.rate == 4.0


def test_one_scheduler_serves_many_objects_independently():
    scheduler = Halving(after=2.0)
    a, b = SimpleNamespace(lr=1.0), SimpleNamespace(lr=3.0)
    first, second = scheduler.bind(a), scheduler.bind(b)
    first.seek(2)
    assert (a.lr, b.lr) == (0.5, 3.0)
    second.seek(4)
    assert (a.lr, b.lr) == (0.5, 0.75)


def test_each_parameter_group_keeps_its_proportion():
    a, b, c = (lc.Parameter(np.ones(2)) for _ in range(3))
    opt = SGD([{"params": a}, {"params": b, "lr": 0.4}], lr=1.0)
    bound = Halving().bind(opt, "lr")
    bound.step()
    assert [g.lr for g in opt.groups] == [0.5, 0.2] and opt.lr == 0.5
    opt.add_group({"params": c, "lr": 4.0})
    bound.step()
    assert [g.lr for g in opt.groups] == [0.25, 0.1, 1.0]


def test_a_scheduler_made_with_its_target_is_bound_at_once():
    opt = optimizer(lr=1.0, momentum=0.8)
    scheduler = Halving(opt, attribute="momentum")
    scheduler.step()
    assert (opt.momentum, opt.lr) == (0.4, 1.0)
    scheduler.seek(0)
    assert opt.momentum == 0.8
    assert scheduler.config() == {"attribute": "momentum", "unit": "step", "after": 1.0}
    assert Halving.from_config_fields(opt, after=2.0).bound.target is opt


def test_an_unbound_scheduler_cannot_step():
    with pytest.raises(HyperparameterError, match=r"not bound.*\n.*bind"):
        Halving().step()


def test_simulate_gives_the_curve_without_training():
    np.testing.assert_array_equal(Halving().simulate(4, base=2.0), [2, 1, 0.5, 0.25])
    np.testing.assert_array_equal(ToTheEnd().simulate(4), [1, 0.75, 0.5, 0.25])
    known = ToTheEnd()
    known.set_length(8)
    np.testing.assert_array_equal(known.simulate(4), [1, 0.875, 0.75, 0.625])


def test_the_length_of_the_run_is_told_by_the_loop():
    opt = optimizer(lr=1.0)
    scheduler = ToTheEnd(opt)
    with pytest.raises(HyperparameterError, match="does not know how long the run is"):
        scheduler.step()
    assert opt.lr == 1.0
    scheduler.set_length(10)
    scheduler.step()
    assert opt.lr == 0.9
    scheduler.set_length(2)
    assert opt.lr == 0.5


def test_a_state_dict_continues_where_it_was_taken():
    opt = optimizer(lr=1.0)
    bound = Halving().bind(opt)
    bound.seek(3)
    state = bound.state_dict()
    other = optimizer(lr=77.0)
    again = Halving().bind(other)
    again.load_state_dict(state)
    assert other.lr == 0.125 and again.position == 3
    again.step()
    assert other.lr == 0.0625


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"position": 1}, "has 'position' and 'bases', got \\['position'\\]"),
        ([1], "got list"),
        ({"position": 1, "bases": [1.0, 2.0]}, "of 1 groups cannot take over the state of 2"),
        ({"position": -1, "bases": [5.0]}, "position is a number >= 0, got -1"),
        ({"position": math.nan, "bases": [5.0]}, "position is a number >= 0, got nan"),
        ({"position": 0, "bases": [math.nan]}, "lr must be a finite number"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state, words):
    opt = optimizer(lr=1.0)
    bound = Halving().bind(opt)
    bound.seek(1)
    with pytest.raises(StateError, match=words):
        bound.load_state_dict(state)
    assert (opt.lr, bound.position, bound.bases) == (0.5, 1, [1.0])


@pytest.mark.parametrize(
    ("value", "words"), [("fast", "is 'fast'"), (True, "is True"), (None, "is None"), ((0.9, 0.99), "is \\(")]
)
def test_only_numbers_are_moved(value, words):
    with pytest.raises(HyperparameterError, match=rf"moves a number, but SimpleNamespace\.lr {words}"):
        Halving().bind(SimpleNamespace(lr=value))
    with pytest.raises(HyperparameterError, match=r"SGD\.speed does not exist"):
        Halving().bind(optimizer(), "speed")


def test_a_value_that_the_target_refuses_is_an_error_at_the_step():
    class Broken(Scheduler):
        def value(self, position, base):
            return base if position == 0 else math.nan

    opt = optimizer(lr=1.0)
    bound = Broken().bind(opt)
    with pytest.raises(HyperparameterError, match="lr must be a finite number"):
        bound.step()
    assert opt.lr == 1.0 and bound.position == 0


def test_a_linear_warmup_goes_from_its_start_to_one():
    assert [linear_warmup(i, 4) for i in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert [linear_warmup(i, 2, 0.5) for i in range(3)] == [0.5, 0.75, 1]
    assert linear_warmup(0, 0) == 1
