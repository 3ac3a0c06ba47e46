"""Schedules against PyTorch's."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_optimizers.sgd import SGD
from lunar_schedulers.constant import Constant
from lunar_schedulers.cosine import Cosine
from lunar_schedulers.step import Step

torch = pytest.importorskip("torch")
schedulers = torch.optim.lr_scheduler

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore::UserWarning")]

BASES = [0.3, 0.02]


def theirs(make, n):
    """Learning rates of two groups over ``n`` positions."""
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in BASES]
    opt = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(params, BASES)])
    scheduler = make(opt)
    rates = []
    for _ in range(n):
        rates.append([g["lr"] for g in opt.param_groups])
        opt.step()
        scheduler.step()
    return np.array(rates)


def ours(scheduler, n):
    opt = SGD([{"params": lc.Parameter(np.zeros(1)), "lr": lr} for lr in BASES])
    bound = scheduler.bind(opt)
    rates = []
    for _ in range(n):
        rates.append([g.lr for g in opt.groups])
        bound.step()
    return np.array(rates)


def transformers_cosine(step, warmup, total):
    """``_get_cosine_schedule_with_warmup_lr_lambda`` of transformers, with its default of half a cycle."""
    if step < warmup:
        return float(step) / float(max(1, warmup))
    progress = float(step - warmup) / float(max(1, total - warmup))
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * 0.5 * 2.0 * progress)))


@pytest.mark.parametrize(
    ("mine", "make", "n"),
    [
        (Cosine(total=40), lambda o: schedulers.CosineAnnealingLR(o, 40), 41),
        (Cosine(total=40, warmup=7), lambda o: schedulers.LambdaLR(o, lambda s: transformers_cosine(s, 7, 40)), 41),
        (
            Cosine(total=40, warmup=10, warmup_start=0.1),
            lambda o: schedulers.SequentialLR(
                o, [schedulers.LinearLR(o, 0.1, 1.0, 10), schedulers.CosineAnnealingLR(o, 30)], [10]
            ),
            41,
        ),
        (Step(every=7, factor=0.3), lambda o: schedulers.StepLR(o, 7, 0.3), 50),
        (
            Step(every=4, factor=0.3, warmup=5, warmup_start=0.2),
            lambda o: schedulers.SequentialLR(
                o, [schedulers.LinearLR(o, 0.2, 1.0, 5), schedulers.StepLR(o, 4, 0.3)], [5]
            ),
            50,
        ),
        (Constant(), lambda o: schedulers.ConstantLR(o, 1.0), 20),
        (Constant(warmup=8, warmup_start=0.25), lambda o: schedulers.LinearLR(o, 0.25, 1.0, 8), 20),
        (Constant(warmup=8), lambda o: schedulers.LambdaLR(o, lambda s: min(1.0, s / 8)), 20),
    ],
)
def test_every_position_has_pytorchs_rate(mine, make, n):
    np.testing.assert_allclose(ours(mine, n), theirs(make, n), rtol=1e-12, atol=1e-15)


def test_a_final_share_is_pytorchs_smallest_rate():
    expected = theirs(lambda o: schedulers.CosineAnnealingLR(o, 30, eta_min=0.03), 31)[:, 0]
    np.testing.assert_allclose(ours(Cosine(total=30, final=0.1), 31)[:, 0], expected, rtol=1e-12)
