"""What every scheduler does: one row each."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import ConfigError, HyperparameterError, StateError
from lunar_schedulers.adas import Adas
from lunar_schedulers.averaging import SwaLR
from lunar_schedulers.chebyshev import Chebyshev
from lunar_schedulers.combinators import Chained, PerLayer, Proportion, Sequential
from lunar_schedulers.constant import Constant
from lunar_schedulers.cosine import Cosine, CosineMin, CosinePower
from lunar_schedulers.cyclic import Cyclic, OneCycle, SlantedTriangular
from lunar_schedulers.decay import (
    Exponential,
    FlatThenAnneal,
    InverseSqrt,
    InverseTime,
    Linear,
    Noam,
    OneMinusSqrt,
    Polynomial,
    Rex,
    Tanh,
    TimeBased,
)
from lunar_schedulers.functions import Lambda, Multiplicative
from lunar_schedulers.metric_driven import Greedy, MetricScheduler, Plateau
from lunar_schedulers.restarts import CosineDecayedRestarts, CosineRestarts
from lunar_schedulers.stairs import MultiStep, Piecewise
from lunar_schedulers.step import Step
from lunar_schedulers.warmup import Warmup
from lunar_schedulers.wsd import WSD

N = 40


def warm_cosine():
    return Sequential(schedulers=(Warmup(positions=5), Cosine()), milestones=(5,))


ROWS = {
    "constant": lambda: Constant(warmup=3),
    "step": lambda: Step(every=7),
    "multistep": lambda: MultiStep(milestones=(20, 5, 5), factor=0.5),
    "exponential": lambda: Exponential(factor=0.9, every=3),
    "linear": lambda: Linear(warmup=4, final=0.2),
    "polynomial": lambda: Polynomial(total=30, power=2.0),
    "inverse_time": lambda: InverseTime(rate=0.5, every=10, staircase=True),
    "inverse_sqrt": lambda: InverseSqrt(warmup=10),
    "noam": lambda: Noam(d_model=64, warmup=10),
    "cosine": lambda: Cosine(warmup=3),
    "cosine_restarts": lambda: CosineRestarts(cycle=5, growth=2, final=0.1),
    "cosine_decayed_restarts": lambda: CosineDecayedRestarts(cycle=5, growth=2, final=0.1, decay=0.7),
    "cosine_power": lambda: CosinePower(total=30, power=5.0),
    "cosine_min": lambda: CosineMin(total=30, minimum=0.01, cycles=1.5),
    "tanh": lambda: Tanh(total=30, lower=-5.0),
    "cyclic": lambda: Cyclic(factor=3.0, up=4, down=6, mode="triangular2"),
    "one_cycle": lambda: OneCycle(total=30, three_phase=True),
    "slanted_triangular": lambda: SlantedTriangular(total=30, rise=0.2),
    "flat_then_anneal": lambda: FlatThenAnneal(flat=0.5),
    "one_minus_sqrt": lambda: OneMinusSqrt(cooldown=0.5),
    "wsd": lambda: WSD(warmup=3, decay=9, final=0.1, shape="exponential"),
    "rex": lambda: Rex(warmup=3),
    "chebyshev": lambda: Chebyshev(cycle=16, condition=30.0),
    "adas": lambda: Adas(beta=0.9),
    "plateau": lambda: Plateau(factor=0.5, patience=2, cooldown=1, mode="max"),
    "greedy": lambda: Greedy(factor=0.8, patience=1, window=3),
    "piecewise": lambda: Piecewise(positions=(2, 8, 20), shares=(1.0, 0.3, 0.6), between="cosine"),
    "lambda": lambda: Lambda(function=lambda n: 1 / (1 + n)),
    "multiplicative": lambda: Multiplicative(function=lambda n: 1 - 0.01 * n),
    "swa_lr": lambda: SwaLR(swa_lr=0.02, anneal=8, strategy="linear", start=5),
    "proportion": lambda: Proportion(follows=Cosine(), final=0.2),
    "time_based": lambda: TimeBased(decay=0.01),
    "warmup": lambda: Warmup(positions=10, mode="exponential"),
    "sequential": warm_cosine,
    "chained": lambda: Chained(schedulers=(Warmup(positions=10), Exponential(factor=0.9))),
    "per_layer": lambda: PerLayer(schedulers={"head": Constant(warmup=3)}, default=Cosine()),
}
CLASSES = {name: type(make()) for name, make in ROWS.items()}


class Thing:
    """Something with a number."""

    rate = 0.3


class Groups:
    """Something with parameter groups."""

    def __init__(self):
        self.groups = [Thing(), Thing()]
        for group, name in zip(self.groups, ["body", "head"]):
            group.names, group.pattern = [f"{name}.weight"], None


def made(name):
    scheduler = ROWS[name]()
    if isinstance(scheduler, MetricScheduler):
        for i in range(N):
            scheduler.observe(1 + math.sin(i))
    return scheduler


@pytest.fixture
def registered():
    for name, cls in CLASSES.items():
        if lc.registry.component_of(cls) is None:
            lc.registry.register("scheduler", name, cls)


@pytest.mark.parametrize("name", ROWS)
def test_it_can_be_simulated_without_training(name):
    values = made(name).simulate(N, 0.3)
    assert values.shape == (N,) and values.dtype == np.float64
    assert np.isfinite(values).all() and (values >= 0).all()
    assert np.unique(values).size > 1


@pytest.mark.parametrize("name", ROWS)
def test_it_is_proportional_or_says_so(name):
    if name in ("cosine_min", "swa_lr", "plateau", "greedy"):  # have bounds in the attribute's own unit
        return
    np.testing.assert_allclose(made(name).simulate(N, 0.6), 2 * made(name).simulate(N, 0.3), rtol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_any_position_can_be_sought_and_a_state_taken_over(name):
    scheduler = made(name)
    expected = scheduler.simulate(N, 0.3)
    scheduler.set_length(N)
    target = Groups()
    bound = scheduler.bind(target, "rate")
    which = 0  # the second group of a per-layer one has a schedule of its own
    walked = []
    for _ in range(N):
        walked.append(bound.values[which])
        bound.step()
    np.testing.assert_array_equal(walked, expected)
    for position in (31, 2, 17, 0, 39):
        bound.seek(position)
        assert bound.values[which] == expected[position]
    bound.seek(23)
    state = json.loads(json.dumps(bound.state_dict()))

    again = ROWS[name]()
    again.set_length(N)
    other = Groups()
    for group in other.groups:
        group.rate = 7.0
    resumed = again.bind(other, "rate")
    resumed.load_state_dict(state)
    assert resumed.values == bound.values
    resumed.step()
    bound.step()
    assert resumed.values == bound.values
    with pytest.raises(StateError):
        resumed.load_state_dict({"position": 3})


@pytest.mark.parametrize("name", ROWS)
def test_the_configuration_comes_back_as_the_same_schedule(name, registered):
    scheduler = made(name)
    if name in ("lambda", "multiplicative"):
        with pytest.raises(ConfigError, match="function"):
            lc.to_config(scheduler)
        return
    config = json.loads(json.dumps(lc.to_config(scheduler)))
    assert config.pop("@scheduler") == name
    again = lc.from_config({"@scheduler": name, **config})
    assert type(again) is type(scheduler)
    metrics = {"metrics": scheduler.history} if isinstance(scheduler, MetricScheduler) else {}
    np.testing.assert_array_equal(again.simulate(N, 0.3, **metrics), scheduler.simulate(N, 0.3))


@pytest.mark.parametrize("name", [n for n in ROWS if n not in ("lambda", "multiplicative", "step")])
def test_its_defaults_are_a_schedule(name):
    values = CLASSES[name]().simulate(N, 0.3)
    assert np.isfinite(values).all() and (values >= 0).all()


@pytest.mark.parametrize("name", ROWS)
def test_an_unknown_hyperparameter_is_refused(name):
    with pytest.raises(HyperparameterError, match="bananas"):
        CLASSES[name](bananas=3)


@pytest.mark.parametrize("name", ROWS)
def test_its_docstring_says_more_than_a_line(name):
    assert len(CLASSES[name].__doc__.strip().splitlines()) > 2
