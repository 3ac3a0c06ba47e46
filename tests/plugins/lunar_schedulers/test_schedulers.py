"""The schedules' shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.errors import HyperparameterError
from lunar_optimizers.sgd import SGD
from lunar_schedulers.constant import Constant
from lunar_schedulers.cosine import Cosine
from lunar_schedulers.step import Step


def test_constant_moves_nothing_after_the_warmup():
    assert Constant().simulate(3, 0.5).tolist() == [0.5] * 3
    assert Constant(warmup=2).simulate(4, 0.5).tolist() == [0, 0.25, 0.5, 0.5]
    assert Constant(warmup=2, warmup_start=0.5).simulate(3).tolist() == [0.5, 0.75, 1]


def test_step_goes_down_after_every_so_many_positions():
    assert Step(every=2, factor=0.5).simulate(6).tolist() == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert Step(every=1, factor=0.5, warmup=2).simulate(5).tolist() == [0, 0.5, 1, 0.5, 0.25]


def test_cosine_ends_at_its_final_share_and_stays_there():
    values = Cosine(total=10, final=0.1).simulate(14, base=2.0)
    assert values[0] == 2.0
    assert values[5] == pytest.approx(1.1)
    assert values[10:].tolist() == pytest.approx([0.2] * 4)


def test_cosine_without_a_total_ends_with_the_run():
    opt = SGD([lc.Parameter(np.ones(1))], lr=1.0)
    scheduler = Cosine(opt, warmup=2)
    assert opt.lr == 0.0
    scheduler.seek(2)
    assert opt.lr == 1.0
    with pytest.raises(HyperparameterError, match="how long the run is"):
        scheduler.seek(3)
    scheduler.set_length(12)
    scheduler.seek(12)
    assert opt.lr == pytest.approx(0.0)


@given(st.integers(1, 200), st.integers(0, 50), st.floats(0, 1))
def test_cosine_stays_between_its_ends_and_never_rises_after_the_warmup(total, warmup, final):
    values = Cosine(total=total + warmup, warmup=warmup, final=final).simulate(total + warmup + 5)
    assert (np.diff(values[warmup:]) <= 1e-15).all()
    assert (np.diff(values[: warmup + 1]) >= 0).all()
    assert values[warmup:].min() >= final - 1e-12 and values.max() <= 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cosine(total=10, warmup=10), r"warmup must be < total \(10\), got 10"),
        (lambda: Cosine(total=0), "total must be .*> 0"),
        (lambda: Cosine(warmup=-1), "warmup must be"),
        (lambda: Cosine(final=float("nan")), "final must be"),
        (lambda: Step(None), "missing 'every'"),
        (lambda: Step(every=0), "every must be"),
        (lambda: Constant(warmup=1.5), "warmup must be an integer"),
        (lambda: Constant(warm_up=3), "did you mean 'warmup'"),
    ],
)
def test_bad_hyperparameters_are_named(make, words):
    with pytest.raises(HyperparameterError, match=words):
        make()
