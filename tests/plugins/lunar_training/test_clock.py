"""The clock, the periods that are given in its units, and what is triggered by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resuming import classes, make_trainer

import lunar_core as lc
from lunar_core.errors import HyperparameterError, StateError
from lunar_training import Clock, Period, Trigger, parse_period


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("2ep", (2, "epoch")),
        ("1 epoch", (1, "epoch")),
        ("0.5ep", (0.5, "epoch")),
        ("500step", (500, "step")),
        ("1_000 steps", (1000, "step")),
        ("1e6sample", (1e6, "sample")),
        ("1E6 Samples", (1e6, "sample")),
        ("3e4token", (3e4, "token")),
        ("90s", (90, "second")),
        ("30min", (1800, "second")),
        ("1.5h", (5400, "second")),
        ("2d", (172800, "second")),
        ("7", (7, "step")),
        (7, (7, "step")),
    ],
)
def test_a_period_is_a_number_and_a_unit(text, period):
    assert parse_period(text) == period


@pytest.mark.parametrize(
    "bad", ["", "ep", "0ep", "-1ep", "nan step", "inf", "1e999s", "2 weeks", "1e", True, None, [], 0, -3]
)
def test_what_is_no_period_is_refused(bad):
    with pytest.raises(HyperparameterError, match="a place"):
        parse_period(bad, "a place")


def test_an_unknown_unit_gets_a_suggestion():
    with pytest.raises(HyperparameterError, match="no unit 'epoc' in '3epoc'.*epoch"):
        parse_period("3epoc")


def test_the_default_unit_is_the_one_that_the_place_counts_in():
    assert parse_period(2, unit="ep") == Period(2, "epoch")
    assert parse_period("2", unit="second") == Period(2, "second")


@given(st.integers(1, 10**9), st.sampled_from(["epoch", "step", "sample", "token", "second"]))
def test_the_text_of_a_period_is_read_back(count, unit):
    period = Period(float(count), unit)
    assert parse_period(str(period)) == period


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 50))
def test_a_trigger_fires_once_for_each_multiple_that_was_reached(jumps, every):
    clock, trigger, fired = Clock(), Trigger(f"{every}sample"), []
    for jump in jumps:
        clock.sample += jump
        if trigger.due(clock):
            fired.append(clock.sample)
        assert not trigger.due(clock)
    expected, before, at = [], 0, 0
    for jump in jumps:
        at += jump
        if at // every > before:
            expected.append(at)
            before = at // every
    assert fired == expected


def test_a_trigger_that_is_told_where_a_run_goes_on_fires_where_it_would_have():
    whole = Trigger("0.3ep")
    clock = Clock()
    clock.batches = 10

    def fires(trigger, start):
        found = []
        for position in range(start, 50):
            clock.epoch, clock.batch = divmod(position, 10)
            if trigger.due(clock):
                found.append(position)
        return found

    expected = fires(whole, 1)
    assert expected[:5] == [3, 6, 9, 12, 15]
    clock.epoch, clock.batch = 1, 4
    resumed = Trigger("0.3ep")
    resumed.reset(clock)
    assert fires(resumed, 15) == [p for p in expected if p >= 15]


def test_an_epoch_is_not_over_with_its_last_batch():
    clock, trigger = Clock(), Trigger("1ep")
    clock.batches = clock.batch = 8
    assert not trigger.due(clock)
    clock.epoch, clock.batch = 1, 0
    assert trigger.due(clock)


def test_time_goes_on_between_start_and_pause_and_across_resumption():
    clock = Clock()
    assert clock.second == 0
    clock.load_state_dict({**Clock().state_dict(), "second": 100.0})
    assert clock.second == 100.0
    clock.start()
    assert clock.second >= 100.0
    clock.pause()
    assert clock.second == clock.second >= 100.0


def test_the_state_of_a_clock_is_checked():
    with pytest.raises(StateError, match="not the state of a clock"):
        Clock().load_state_dict({"epoch": 1})
    with pytest.raises(StateError, match="counts from 0"):
        Clock().load_state_dict({**Clock().state_dict(), "step": -1})


@pytest.mark.parametrize(("unit", "last"), [("step", 16), ("ep", 2), ("epoch", 2), ("samples", 122), ("token", 122)])
def test_a_schedule_counts_in_the_unit_that_it_names(unit, last):
    trainer = make_trainer(scheduler=lambda: lc.schedulers["exponential"](factor=0.99, unit=unit))
    trainer.fit(classes(), epochs=2, batch_size=8)
    (bound,) = trainer.context.schedulers
    assert bound.position == last
    assert trainer.optimizer.lr == pytest.approx(1e-2 * 0.99**last)


def test_a_schedule_by_time_follows_the_time_that_the_run_has_taken():
    trainer = make_trainer(scheduler=lambda: lc.schedulers["exponential"](factor=0.5, unit="s"))
    trainer.fit(classes(), epochs=2, batch_size=8)
    (bound,) = trainer.context.schedulers
    assert 0 < bound.position <= trainer.context.clock.second


def test_a_schedule_in_a_unit_that_the_clock_lacks_is_refused():
    with pytest.raises(HyperparameterError, match="no unit 'min'"):
        make_trainer(scheduler=lambda: lc.schedulers["exponential"](unit="min")).fit(classes())
