"""Schedules against the formulas of their papers over 1,000 positions, and what the combinators do."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, StateError
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.sequential import Sequential as Net
from lunar_optimizers.sgd import SGD
from lunar_schedulers.averaging import SwaLR
from lunar_schedulers.chebyshev import Chebyshev, fractal_order
from lunar_schedulers.combinators import Chained, PerLayer, Proportion, Sequential
from lunar_schedulers.constant import Constant
from lunar_schedulers.cosine import Cosine, CosineMin, CosinePower
from lunar_schedulers.cyclic import OneCycle, SlantedTriangular
from lunar_schedulers.decay import (
    Exponential,
    FlatThenAnneal,
    InverseTime,
    Linear,
    Noam,
    OneMinusSqrt,
    Rex,
    TimeBased,
)
from lunar_schedulers.functions import Lambda
from lunar_schedulers.metric_driven import Greedy, Plateau
from lunar_schedulers.stairs import Piecewise
from lunar_schedulers.warmup import Warmup
from lunar_schedulers.wsd import WSD

N, BASE = 1000, 0.3


def noam(t):
    return 512**-0.5 * min((t + 1) ** -0.5, (t + 1) * 400**-1.5)


def cosine_power(t):
    p, c = 10.0, 0.5 * (1 + math.cos(math.pi * t / N))
    return 0.1 + 0.9 * (p ** (c + 1) - p) / (p**2 - p)


def slanted(t):
    cut, ratio = math.floor(N * 0.1), 32
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / 0.1 - 1))
    return (1 + p * (ratio - 1)) / ratio


def flat_cos(t):
    if t <= 0.75 * N:
        return 1.0
    x = (t / N - 0.75) / 0.25
    return 1 + (1e-5 - 1) * (1 - math.cos(math.pi * x)) / 2


def one_minus_sqrt(t):
    return 1.0 if t <= 800 else 1 - math.sqrt((t - 800) / 200)


def chebyshev(t):
    order = [1, 8, 4, 5, 2, 7, 3, 6]
    big, small = 1.0, 1 / 20
    return 1 / ((big + small) / 2 - (big - small) / 2 * math.cos((order[t % 8] - 0.5) * math.pi / 8))


def time_based(t):
    value = 1.0
    for n in range(t):
        value /= 1 + 1e-4 * n
    return value


FORMULAS = {
    "noam": (Noam(warmup=400), noam),
    "cosine_power": (CosinePower(total=N, final=0.1), cosine_power),
    "cosine_power at 1": (CosinePower(total=N, power=1.0), lambda t: 0.5 * (1 + math.cos(math.pi * t / N))),
    "slanted_triangular": (SlantedTriangular(total=N), slanted),
    "flat_then_anneal": (FlatThenAnneal(total=N, final=1e-5), flat_cos),
    "one_minus_sqrt": (OneMinusSqrt(total=N), one_minus_sqrt),
    "rex": (Rex(total=N), lambda t: (1 - t / N) / (0.5 + 0.5 * (1 - t / N))),
    "chebyshev": (Chebyshev(), chebyshev),
    "inverse_time": (InverseTime(rate=0.7, every=50), lambda t: 1 / (1 + 0.7 * t / 50)),
    "inverse_time in stairs": (InverseTime(rate=0.7, every=50, staircase=True), lambda t: 1 / (1 + 0.7 * (t // 50))),
    "time_based": (TimeBased(), time_based),
    "exponential of TensorFlow": (Exponential(factor=0.5, every=100), lambda t: 0.5 ** (t / 100)),
    "wsd of MiniCPM": (
        WSD(total=900, warmup=50, decay=100, final=0.1, shape="exponential"),
        lambda t: 0.1 + 0.9 * t / 50 if t < 50 else 0.1 ** min(1, max(0, (t - 800) / 100)),
    ),
    "warmup, linear": (Warmup(positions=70, start=0.1), lambda t: 0.1 + 0.9 * min(1, t / 70)),
    "warmup, exponential": (Warmup(positions=70, mode="exponential"), lambda t: 1 - math.exp(-(t + 1) / 70)),
    "warmup, gradual": (Warmup(positions=70, mode="gradual"), lambda t: 1 + 7 * min(1, t / 70)),
    "proportion": (
        Proportion(follows=Cosine(total=N), final=0.2),
        lambda t: 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * t / N)),
    ),
    "piecewise, constant": (
        Piecewise(positions=(0, 100, 600), shares=(1, 0.5, 0.1)),
        lambda t: 1 if t < 100 else 0.5 if t < 600 else 0.1,
    ),
    "piecewise, linear": (
        Piecewise(positions=(100, 600), shares=(1, 0.5), between="linear"),
        lambda t: 1 - 0.5 * min(1, max(0, (t - 100) / 500)),
    ),
    "piecewise, cosine": (
        Piecewise(positions=(100, 600), shares=(1, 0.5), between="cosine"),
        lambda t: 1 - 0.25 * (1 - math.cos(math.pi * min(1, max(0, (t - 100) / 500)))),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_thousand_positions_follow_the_papers_formula(name):
    scheduler, formula = FORMULAS[name]
    expected = [BASE * formula(t) for t in range(N)]
    np.testing.assert_allclose(scheduler.simulate(N, BASE), expected, rtol=1e-12, atol=1e-15)


def test_time_based_follows_a_changed_hyperparameter():
    scheduler = TimeBased(decay=0.1)
    before = scheduler.simulate(5)
    scheduler.decay = 0.2
    assert scheduler.simulate(5).tolist() == TimeBased(decay=0.2).simulate(5).tolist() != before.tolist()


def test_the_fractal_order_is_a_permutation():
    for n in (1, 2, 4, 8, 64):
        assert sorted(fractal_order(n)) == list(range(1, n + 1))


def test_chebyshev_steps_solve_a_quadratic_faster_than_plain_gradient_descent():
    curvatures = np.geomspace(0.05, 1.0, 30)
    plain, fast = np.ones(30), np.ones(30)
    for step in Chebyshev(cycle=16, condition=20).simulate(32):
        plain *= 1 - curvatures
        fast *= 1 - step * curvatures
    assert np.abs(fast).max() < 1e-3 * np.abs(plain).max()


def test_cosine_min_leaves_a_base_below_the_floor_alone():
    assert CosineMin(total=10, minimum=0.5).simulate(12, 0.3).tolist() == [0.3] * 12


# -- combinators -------------------------------------------------------------------------------------------------------


def test_a_sequence_tells_each_schedule_its_own_length():
    both = Sequential(schedulers=(Linear(), Cosine()), milestones=(4,))
    expected = [*Linear(total=4).simulate(4), *Cosine(total=6).simulate(6)]
    np.testing.assert_allclose(both.simulate(10), expected)
    both.set_length(10)
    np.testing.assert_allclose(both.simulate(20)[:10], expected)
    with pytest.raises(HyperparameterError, match="how long the run is"):
        both.schedulers[1].value(2, 1.0)


def test_a_chain_multiplies():
    both = Chained(schedulers=(Warmup(positions=4), Exponential(factor=0.5)))
    np.testing.assert_allclose(both.simulate(6), [0, 0.125, 0.125, 0.09375, 0.0625, 0.03125])


def test_layers_go_their_own_ways():
    net = Net(Dense(3, in_features=2), Dense(1, in_features=3))
    opt = SGD(net.parameters(), lr=0.5, overrides={"1.*": {"lr": 0.1}})
    scheduler = PerLayer(schedulers={"1": Exponential(factor=0.5)}, default=Warmup(positions=2))
    bound = scheduler.bind(opt)
    bound.step()
    assert [g.lr for g in opt.groups] == [0.25, 0.05]
    bound.step()
    assert [g.lr for g in opt.groups] == [0.5, 0.025]
    rest_stays = PerLayer(schedulers={"1.*": Exponential(factor=0.5)}).bind(opt)
    rest_stays.step()
    assert [g.lr for g in opt.groups] == [0.5, 0.0125]


def test_a_group_must_not_be_claimed_by_two_schedules():
    net = Net(Dense(3, in_features=2), Dense(1, in_features=3))
    opt = SGD(net.parameters(), lr=0.5)
    with pytest.raises(StateError, match="parameters of one group fall to different schedules"):
        PerLayer(schedulers={"1": Constant()}, default=Constant()).bind(opt)
    with pytest.raises(StateError, match="falls to the pattern 'head'"):
        PerLayer(schedulers={"head": Constant()}).bind(opt)
    with pytest.raises(StateError, match="an optimizer or a module, got dict"):
        PerLayer(schedulers={"head": Constant()}).bind({})


def test_the_rates_of_dropout_layers_can_be_moved():
    net = Net(Dropout(0.4), Dense(3, in_features=2), Dropout(0.2))
    name = "p" if hasattr(net[0], "p") else "rate"
    bound = PerLayer(schedulers={"2": Warmup(positions=4)}).bind(net, name)
    assert [getattr(net[i], name) for i in (0, 2)] == [0.4, 0.0]
    bound.seek(2)
    assert [getattr(net[i], name) for i in (0, 2)] == [0.4, 0.1]


# -- schedules that follow a figure ------------------------------------------------------------------------------------


def test_greedy_goes_up_while_things_get_better_and_down_while_they_do_not():
    scheduler = Greedy(factor=0.5, patience=1, maximum=1.0, minimum=0.1)
    metrics = [5, 4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    values = scheduler.simulate(14, 0.4, metrics=metrics)
    assert values.tolist() == [0.4, 0.4, 0.8, 0.8, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.1, 0.1]


def test_greedy_pauses_after_a_move_and_averages_its_figures():
    down = Greedy(factor=0.5, patience=0, cooldown=2, minimum=0.0, maximum=9.0)
    assert down.simulate(6, 1.0, metrics=[math.nan] * 6).tolist() == [1, 0.5, 0.5, 0.5, 0.25, 0.25]
    up = Greedy(factor=0.5, patience=0, warmup=2, maximum=9.0)
    assert up.simulate(6, 1.0, metrics=[6, 5, 4, 3, 2, 1]).tolist() == [1, 2, 2, 2, 4, 4]
    # 2, 3 and 4 are each worse than what was best, their means with the figure before not all
    smooth = Greedy(factor=0.5, patience=0, window=2, maximum=9.0)
    assert smooth.simulate(4, 1.0, metrics=[4, 1, 2]).tolist() == [1, 2, 4, 8]


def test_a_base_outside_of_the_bounds_is_not_dragged_in():
    scheduler = Greedy(factor=0.5, patience=0, minimum=0.1, maximum=0.2)
    assert scheduler.simulate(3, 5.0, metrics=[3, 2]).tolist() == [5, 5, 5]


def test_figures_can_be_replayed_sought_and_overwritten():
    class Thing:
        lr = 1.0

    thing = Thing()
    scheduler = Plateau(factor=0.5, patience=0)
    bound = scheduler.bind(thing)
    for metric in [3.0, 2.0, 2.0, 2.0]:
        bound.step(metric=metric)
    assert thing.lr == 0.25
    bound.seek(3)
    assert thing.lr == 0.5
    bound.step(metric=1.0)  # this time it got better
    assert thing.lr == 0.5 and scheduler.history == [3.0, 2.0, 2.0, 1.0]
    bound.step()  # nobody measured
    bound.step(metric=5.0)
    assert thing.lr == 0.25 and scheduler.history == [3.0, 2.0, 2.0, 1.0, None, 5.0]
    with pytest.raises(HyperparameterError, match="a metric is a number"):
        bound.step(metric="good")
    own = Plateau(thing, factor=0.5, patience=0)
    own.step(metric=math.nan)
    assert thing.lr == 0.125


def test_a_state_of_another_kind_changes_nothing():
    class Thing:
        lr = 1.0

    bound = Plateau(factor=0.5, patience=0).bind(Thing())
    bound.step(metric=1.0)
    with pytest.raises(StateError, match="history"):
        bound.load_state_dict({"position": 1, "bases": [1.0]})
    with pytest.raises(StateError, match="2"):
        bound.load_state_dict({"position": 1, "bases": [1.0, 2.0], "history": []})
    assert bound.scheduler.history == [1.0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Piecewise(positions=(0, 1), shares=(1,)), "shares must be as many as positions"),
        (lambda: Piecewise(positions=(1, 1), shares=(1, 1)), "positions must increase"),
        (lambda: Chebyshev(cycle=6), "cycle must be a power of two"),
        (lambda: Chebyshev(condition=0.5), "condition must be >= 1"),
        (lambda: WSD(total=10, warmup=5, decay=6), r"warmup \+ decay must be <= total"),
        (lambda: WSD(shape="exponential"), "final > 0"),
        (lambda: Sequential(schedulers=(Constant(), Constant())), "milestones must be one less"),
        (lambda: Sequential(schedulers=(Constant(),) * 3, milestones=(4, 4)), "milestones must increase"),
        (lambda: Chained(schedulers=(Constant(SGD([lc.Parameter(np.ones(1))])),)), "must not be bound"),
        (lambda: Proportion(s_low=1.0), "s_low must be < s_high"),
        (lambda: Lambda(function=3), "function must be a function"),
        (lambda: Greedy(minimum=2.0), "minimum must be <= maximum"),
        (lambda: OneCycle(anneal="steep"), "anneal must be"),
        (lambda: Rex(total=5, warmup=5), "Rex: warmup must be < total"),
        (lambda: SwaLR(anneal=-1), "anneal must be"),
    ],
)
def test_bad_hyperparameters_are_named(make, words):
    with pytest.raises(HyperparameterError, match=words):
        make()
