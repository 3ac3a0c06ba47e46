"""PSGD Kron against pytorch_optimizer's Kron in float64, with the same noise."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import random
from lunar_optimizers.psgd_kron import PSGDKron, _schedule

torch = pytest.importorskip("torch")
psgd = pytest.importorskip("pytorch_optimizer.optimizer.psgd")

pytestmark = pytest.mark.parity

SHAPES = [(4, 3), (7,), (2, 3, 4), (), (1, 5)]
OPTIONS = {
    "plain": ({}, {}),
    "rarely": ({"probability": 0.3}, {"pre_conditioner_update_probability": 0.3}),
    "momentum": ({"momentum": 0.5, "lr": 0.05}, {"momentum": 0.5, "lr": 0.05}),
    "decay": ({"weight_decay": 0.1}, {"weight_decay": 0.1}),
    "balance": ({"balance": 1}, {"balance_prob": 1.1}),
    "one_diag": ({"memory_save": "one_diag"}, {"memory_save_mode": "one_diag"}),
    "smart_one_diag": ({"memory_save": "smart_one_diag"}, {"memory_save_mode": "smart_one_diag"}),
    "all_diag": ({"memory_save": "all_diag"}, {"memory_save_mode": "all_diag"}),
    "short": ({"max_size": 3}, {"max_size_triangular": 3}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_thirty_steps_agree(name, monkeypatch):
    ours, theirs = OPTIONS[name]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in SHAPES]
    params = [lc.Parameter(a.copy()) for a in arrays]
    twins = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    first = PSGDKron(params, **{"lr": 0.02, "balance": None, **ours})
    second = psgd.Kron(twins, **{"lr": 0.02, "balance_prob": 0.0, "precondition_dtype": torch.float64, **theirs})
    steps = [0]

    def noise(x, dtype=None):
        return torch.tensor(random.generator("psgd_kron", steps[-1]).standard_normal(x.shape or (1,)).reshape(x.shape))

    def solve(x, a):  # the reference solves in single precision
        return torch.linalg.solve_triangular(a, x.reshape(-1, x.size(-1)), upper=True, left=False).reshape_as(x)

    monkeypatch.setattr(torch, "randn_like", noise)
    monkeypatch.setattr(psgd, "solve_triangular_right", solve)
    for step in range(1, 31):
        steps.append(step)
        for p, t in zip(params, twins):
            g = rng.normal(size=p.shape) * 3 + p.data
            p.grad, t.grad = lc.Tensor(g), torch.tensor(g)
        first.step()
        second.step()
        for p, t in zip(params, twins):
            np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("probability", [None, 1.0, 0.3, 0.03])
def test_the_factors_are_updated_when_the_reference_does(probability):
    share = psgd.precondition_update_prob_schedule()
    counter, updates = 0, 0
    for n in range(6000):
        counter += 1
        due = counter >= 1 / float(share(n) if probability is None else probability)
        counter = 0 if due else counter
        updates += due
        if n % 7 == 0 or n < 600:
            assert _schedule(probability, n + 1) == (due, updates)
