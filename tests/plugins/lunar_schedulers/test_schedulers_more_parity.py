"""Schedules against PyTorch's, and against the formulas of transformers and timm, over 1,000 positions."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_optimizers.sgd import SGD
from lunar_schedulers.averaging import SwaLR
from lunar_schedulers.combinators import Chained, Sequential
from lunar_schedulers.constant import Constant
from lunar_schedulers.cosine import CosineMin
from lunar_schedulers.cyclic import Cyclic, OneCycle
from lunar_schedulers.decay import Exponential, InverseSqrt, Linear, Polynomial, Tanh
from lunar_schedulers.functions import Lambda, Multiplicative
from lunar_schedulers.metric_driven import Greedy, Plateau
from lunar_schedulers.restarts import CosineDecayedRestarts, CosineRestarts
from lunar_schedulers.stairs import MultiStep
from lunar_schedulers.wsd import WSD

torch = pytest.importorskip("torch")
schedulers = torch.optim.lr_scheduler

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore::UserWarning")]

BASES = [0.3, 0.02]
N = 1000


def theirs(make, n=N):
    """Learning rates of two groups over ``n`` positions."""
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in BASES]
    opt = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(params, BASES)], momentum=0.9)
    scheduler = make(opt)
    rates = []
    for i in range(n):
        rates.append([g["lr"] for g in opt.param_groups])
        if i < n - 1:
            opt.step()
            scheduler.step()
    return np.array(rates)


def ours(scheduler, n=N):
    opt = SGD([{"params": lc.Parameter(np.zeros(1)), "lr": lr} for lr in BASES])
    bound = scheduler.bind(opt)
    rates = []
    for _ in range(n):
        rates.append([g.lr for g in opt.groups])
        bound.step()
    return np.array(rates)


def cycles(o, **options):
    return schedulers.CyclicLR(o, BASES, [4 * b for b in BASES], cycle_momentum=False, **options)


def one_cycle(o, **options):
    return schedulers.OneCycleLR(o, BASES, total_steps=N, cycle_momentum=False, **options)


PYTORCH = {
    "multistep": (
        MultiStep(milestones=(700, 30, 30, 200), factor=0.3),
        lambda o: schedulers.MultiStepLR(o, [30, 30, 200, 700], 0.3),
    ),
    "exponential": (Exponential(factor=0.995), lambda o: schedulers.ExponentialLR(o, 0.995)),
    "linear": (Linear(total=600, start=0.2, final=0.7), lambda o: schedulers.LinearLR(o, 0.2, 0.7, 600)),
    "linear up to the base": (Linear(total=50, start=0.1, final=1.0), lambda o: schedulers.LinearLR(o, 0.1, 1, 50)),
    "polynomial": (Polynomial(total=700, power=2.5), lambda o: schedulers.PolynomialLR(o, 700, 2.5)),
    "polynomial, default power": (Polynomial(total=N - 1), lambda o: schedulers.PolynomialLR(o, N - 1, 0.9)),
    "cosine_restarts": (CosineRestarts(cycle=70), lambda o: schedulers.CosineAnnealingWarmRestarts(o, 70)),
    "cosine_restarts, growing": (
        CosineRestarts(cycle=10, growth=2),
        lambda o: schedulers.CosineAnnealingWarmRestarts(o, 10, 2),
    ),
    "cosine_restarts, tripling": (
        CosineRestarts(cycle=7, growth=3),
        lambda o: schedulers.CosineAnnealingWarmRestarts(o, 7, 3),
    ),
    "cyclic": (Cyclic(up=70), lambda o: cycles(o, step_size_up=70)),
    "cyclic, uneven": (Cyclic(up=20, down=70), lambda o: cycles(o, step_size_up=20, step_size_down=70)),
    "cyclic, triangular2": (
        Cyclic(up=70, mode="triangular2"),
        lambda o: cycles(o, step_size_up=70, mode="triangular2"),
    ),
    "cyclic, exp_range": (
        Cyclic(up=70, mode="exp_range", gamma=0.999),
        lambda o: cycles(o, step_size_up=70, mode="exp_range", gamma=0.999),
    ),
    "one_cycle": (OneCycle(total=N), one_cycle),
    "one_cycle, linear": (
        OneCycle(total=N, anneal="linear", rise=0.25, div=10, final_div=100),
        lambda o: one_cycle(o, anneal_strategy="linear", pct_start=0.25, div_factor=10, final_div_factor=100),
    ),
    "one_cycle, three phases": (OneCycle(total=N, three_phase=True), lambda o: one_cycle(o, three_phase=True)),
    "lambda": (Lambda(function=lambda n: 0.99**n), lambda o: schedulers.LambdaLR(o, lambda n: 0.99**n)),
    "multiplicative": (
        Multiplicative(function=lambda n: 1 + 0.1 * math.sin(n)),
        lambda o: schedulers.MultiplicativeLR(o, lambda n: 1 + 0.1 * math.sin(n)),
    ),
    "sequential": (
        Sequential(
            schedulers=(
                Constant(warmup=20, warmup_start=0.1),
                Exponential(factor=0.99),
                MultiStep(milestones=(100,)),
            ),
            milestones=(20, 400),
        ),
        lambda o: schedulers.SequentialLR(
            o,
            [schedulers.LinearLR(o, 0.1, 1, 20), schedulers.ExponentialLR(o, 0.99), schedulers.MultiStepLR(o, [100])],
            [20, 400],
        ),
    ),
    "chained": (
        Chained(schedulers=(Constant(warmup=20, warmup_start=0.1), Exponential(factor=0.99))),
        lambda o: schedulers.ChainedScheduler([schedulers.LinearLR(o, 0.1, 1, 20), schedulers.ExponentialLR(o, 0.99)]),
    ),
    "swa_lr": (SwaLR(swa_lr=0.05, anneal=60), lambda o: torch.optim.swa_utils.SWALR(o, 0.05, 60)),
    "swa_lr, linear": (
        SwaLR(swa_lr=0.05, anneal=60, strategy="linear"),
        lambda o: torch.optim.swa_utils.SWALR(o, 0.05, 60, "linear"),
    ),
}


@pytest.mark.parametrize("name", PYTORCH)
def test_a_thousand_positions_have_pytorchs_rates(name):
    mine, make = PYTORCH[name]
    np.testing.assert_allclose(ours(mine), theirs(make), rtol=1e-12, atol=1e-15)


def test_a_smallest_rate_of_warm_restarts_is_a_final_share():
    expected = theirs(lambda o: schedulers.CosineAnnealingWarmRestarts(o, 30, 2, eta_min=0.03))[:, 0]
    np.testing.assert_allclose(ours(CosineRestarts(cycle=30, growth=2, final=0.1))[:, 0], expected, rtol=1e-12)


def test_one_cycle_moves_a_momentum_as_pytorch_does():
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    scheduler = schedulers.OneCycleLR(opt, 0.1, total_steps=N)
    expected = []
    for i in range(N):
        expected.append(opt.param_groups[0]["momentum"])
        if i < N - 1:
            opt.step()
            scheduler.step()
    mine = OneCycle(total=N, div=0.85 / 0.95, final_div=1.0).simulate(N, 0.85)
    np.testing.assert_allclose(mine, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 3, "factor": 0.5},
        {"patience": 2, "cooldown": 4, "factor": 0.7},
        {"mode": "max", "threshold_mode": "abs", "threshold": 0.05, "patience": 1, "minimum": 0.001},
        {"mode": "max", "patience": 4, "factor": 0.3, "eps": 1e-3},
        {"threshold_mode": "abs", "threshold": 0.01, "patience": 5, "factor": 0.9},
    ],
)
def test_plateau_reduces_where_pytorch_does(options):
    rng = np.random.default_rng(0)
    metrics = np.cumsum(rng.normal(size=N)) * 0.1 + np.exp(-np.arange(N) / 50) + 3
    metrics[40] = np.nan
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in BASES]
    opt = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(params, BASES)])
    translated = {{"minimum": "min_lr"}.get(k, k): v for k, v in options.items()}
    reference = schedulers.ReduceLROnPlateau(opt, **translated)
    mine = SGD([{"params": lc.Parameter(np.zeros(1)), "lr": lr} for lr in BASES])
    bound = Plateau(**options).bind(mine)
    for metric in metrics:
        reference.step(metric)
        bound.step(metric=metric)
        np.testing.assert_allclose([g.lr for g in mine.groups], [g["lr"] for g in opt.param_groups], rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"patience": 0, "cooldown": 3, "warmup": 2, "factor": 0.8},
        {"patience": 2, "window": 5, "mode": "max"},
        {"patience": 1, "threshold_mode": "rel", "threshold": 1e-3, "maximum": 0.4},
    ],
)
def test_greedy_moves_by_the_rules_of_transformers(options):
    rng = np.random.default_rng(0)
    metrics = np.cumsum(rng.normal(size=N)) * 0.1 + 5 * np.exp(-np.arange(N) / 100) + 20
    if options.get("mode") == "max":
        metrics = 50 - metrics
    mine = Greedy(**options)
    sign = 1 if mine.mode == "min" else -1
    values, lr, best, good, bad, pause, recent = [], 0.3, math.inf, 0, 0, 0, []
    for metric in metrics:
        values.append(lr)
        recent = [*recent, metric][-mine.window :]
        current = sum(recent) / len(recent)
        if pause:
            pause, good, bad = pause - 1, 0, 0
            continue
        slack = mine.threshold * (abs(best) if mine.threshold_mode == "rel" else 1)
        if best == math.inf or sign * current < sign * best - slack:
            best, good, bad = current, good + 1, 0
        else:
            good, bad = 0, bad + 1
        if good > mine.patience:
            new = min(lr / mine.factor, mine.maximum)
            lr, pause, good = new if new - lr > 1e-8 else lr, mine.warmup, 0
        elif bad > mine.patience:
            new = max(lr * mine.factor, mine.minimum)
            lr, pause, bad = new if lr - new > 1e-8 else lr, mine.cooldown, 0
    assert len(set(values)) > 10
    np.testing.assert_allclose(mine.simulate(N, 0.3, metrics=list(metrics)), values, rtol=1e-12)


# -- formulas of transformers and timm, written out --------------------------------------------------------------------


def transformers_linear(step, warmup, total):
    """``_get_linear_schedule_with_warmup_lr_lambda``."""
    if step < warmup:
        return float(step) / float(max(1, warmup))
    return max(0.0, float(total - step) / float(max(1, total - warmup)))


def transformers_polynomial(step, warmup, total, lr_end, power, lr_init):
    """``_get_polynomial_decay_schedule_with_warmup_lr_lambda``."""
    if step < warmup:
        return float(step) / float(max(1, warmup))
    if step > total:
        return lr_end / lr_init
    remaining = 1 - (step - warmup) / (total - warmup)
    return ((lr_init - lr_end) * remaining**power + lr_end) / lr_init


def transformers_inverse_sqrt(step, warmup, timescale=None):
    """``_get_inverse_sqrt_schedule_lr_lambda`` with its choice of the time scale."""
    timescale = timescale or warmup or 10_000
    if step < warmup:
        return float(step) / float(max(1, warmup))
    return 1.0 / math.sqrt((step + timescale - warmup) / timescale)


def transformers_cosine_min(step, warmup, total, rate, cycles):
    """``_get_cosine_with_min_lr_schedule_with_warmup_lr_lambda``."""
    if step < warmup:
        return float(step) / float(max(1, warmup))
    progress = float(step - warmup) / float(max(1, total - warmup))
    factor = 0.5 * (1.0 + math.cos(math.pi * float(cycles) * 2.0 * progress))
    return max(0, factor * (1 - rate) + rate)


def transformers_wsd(step, warmup, stable, decay, rate, shape):
    """``_get_wsd_scheduler_lambda`` with a linear warm-up."""
    if step < warmup:
        return max(0.0, step / max(1, warmup) * (1.0 - rate) + rate)
    if step < warmup + stable:
        return 1.0
    if step < warmup + stable + decay:
        x = (step - warmup - stable) / decay
        factor = {"linear": 1 - x, "cosine": 0.5 * (1 + math.cos(math.pi * x)), "1-sqrt": 1 - math.sqrt(x)}[shape]
        return max(0.0, factor * (1.0 - rate) + rate)
    return rate


def timm_tanh(t, total, lb, ub, lr_min, base):
    """``TanhLRScheduler._get_lr`` within its only cycle."""
    tr = t / total
    return lr_min + 0.5 * (base - lr_min) * (1 - math.tanh(lb * (1.0 - tr) + ub * tr))


def timm_cosine(t, cycle, mul, decay, lr_min, base):
    """``CosineLRScheduler._get_lr`` without warm-up and without a limit of cycles."""
    if mul != 1:
        i = math.floor(math.log(1 - t / cycle * (1 - mul), mul))
        t_i = mul**i * cycle
        t_curr = t - (1 - mul**i) / (1 - mul) * cycle
    else:
        i = t // cycle
        t_i, t_curr = cycle, t - cycle * i
    top = max(base * decay**i, lr_min)
    return lr_min + 0.5 * (top - lr_min) * (1 + math.cos(math.pi * t_curr / t_i))


FORMULAS = {
    "linear": (Linear(total=900, warmup=70), lambda b, t: b * transformers_linear(t, 70, 900)),
    "polynomial": (
        Polynomial(total=900, warmup=70, power=1.5, final=0.1),
        lambda b, t: b * transformers_polynomial(t, 70, 900, 0.1 * b, 1.5, b),
    ),
    "inverse_sqrt": (InverseSqrt(warmup=70), lambda b, t: b * transformers_inverse_sqrt(t, 70)),
    "inverse_sqrt, no warm-up": (InverseSqrt(), lambda b, t: b * transformers_inverse_sqrt(t, 0)),
    "inverse_sqrt, time scale": (
        InverseSqrt(warmup=70, timescale=300),
        lambda b, t: b * transformers_inverse_sqrt(t, 70, 300),
    ),
    "cosine_min": (
        CosineMin(total=N, warmup=70, minimum=0.005),
        lambda b, t: b * transformers_cosine_min(t, 70, N, 0.005 / b, 0.5),
    ),
    "cosine_min, a rate and more waves": (
        CosineMin(total=N, warmup=70, final=0.1, cycles=2.5),
        lambda b, t: b * transformers_cosine_min(t, 70, N, 0.1, 2.5),
    ),
    "tanh": (
        Tanh(total=N, lower=-7.0, upper=3.0, final=0.1),
        lambda b, t: timm_tanh(t, N, -7.0, 3.0, 0.1 * b, b),
    ),
    "cosine_decayed_restarts": (
        CosineDecayedRestarts(cycle=70, growth=2, decay=0.6, final=0.3),
        lambda b, t: timm_cosine(t, 70, 2, 0.6, 0.3 * b, b),
    ),
    "cosine_decayed_restarts, equal cycles": (
        CosineDecayedRestarts(cycle=70, decay=0.9),
        lambda b, t: timm_cosine(t, 70, 1, 0.9, 0.0, b),
    ),
    **{
        f"wsd, {shape}": (
            WSD(total=950, warmup=70, decay=200, final=0.1, shape=shape),
            lambda b, t, shape=shape: b * transformers_wsd(t, 70, 680, 200, 0.1, shape),
        )
        for shape in ("linear", "cosine", "1-sqrt")
    },
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_thousand_positions_follow_the_libraries_formula(name):
    mine, formula = FORMULAS[name]
    expected = [[formula(base, t) for base in BASES] for t in range(N)]
    np.testing.assert_allclose(ours(mine), expected, rtol=1e-12, atol=1e-14)
