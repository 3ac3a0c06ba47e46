"""Trajectories against PyTorch's optimizers, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_optimizers.adam import Adam
from lunar_optimizers.adamw import AdamW
from lunar_optimizers.sgd import SGD

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity

CASES = [
    (SGD, "SGD", {"lr": 0.05}),
    (SGD, "SGD", {"lr": 0.05, "weight_decay": 0.1}),
    (SGD, "SGD", {"lr": 0.05, "momentum": 0.9}),
    (SGD, "SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    (SGD, "SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    (SGD, "SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (Adam, "Adam", {"lr": 0.01}),
    (Adam, "Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (Adam, "Adam", {"lr": 0.01, "amsgrad": True}),
    (Adam, "Adam", {"lr": 0.01, "betas": (0.0, 0.9)}),
    (AdamW, "AdamW", {"lr": 0.01}),
    (AdamW, "AdamW", {"lr": 0.01, "weight_decay": 0.0}),
    (AdamW, "AdamW", {"lr": 0.01, "weight_decay": 0.3, "betas": (0.8, 0.95), "eps": 1e-4, "amsgrad": True}),
]
IDS = [f"{name}-{'-'.join(map(str, kwargs.values()))}" for _, name, kwargs in CASES]
SHAPES = [(4, 3), (), (7,), (2, 2, 5), (1,)]


def pairs(dtype=np.float64):
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.normal(size=s)).astype(dtype) for s in SHAPES]
    return [lc.Parameter(a.copy()) for a in arrays], [torch.nn.Parameter(torch.tensor(a)) for a in arrays]


def give(ours, theirs, rng, skip=()):
    """A gradient that depends on the parameter, with noise; none for the parameters in ``skip``."""
    for i, (p, q) in enumerate(zip(ours, theirs)):
        p.grad = q.grad = None
        if i not in skip:
            g = np.asarray(np.sin(3 * p.data) + 0.3 * rng.normal(size=p.shape)).astype(p.dtype)
            p.grad, q.grad = lc.Tensor(g), torch.tensor(g)


def same(ours, theirs, rtol):
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("ours", "theirs", "kwargs"), CASES, ids=IDS)
def test_sixty_steps_follow_pytorch(ours, theirs, kwargs):
    params, twins = pairs()
    a, b = ours(params, **kwargs), getattr(torch.optim, theirs)(twins, **kwargs)
    rng = np.random.default_rng(1)
    for _ in range(60):
        give(params, twins, rng)
        a.step()
        b.step()
        same(params, twins, 1e-11)


@pytest.mark.parametrize(("ours", "theirs", "kwargs"), CASES, ids=IDS)
def test_parameters_without_gradients_are_skipped_as_in_pytorch(ours, theirs, kwargs):
    params, twins = pairs()
    a, b = ours(params, **kwargs), getattr(torch.optim, theirs)(twins, **kwargs)
    rng = np.random.default_rng(2)
    for step in range(40):
        give(params, twins, rng, skip=[i for i in range(5) if rng.random() < 0.3] if step else [1, 3])
        a.step()
        b.step()
        same(params, twins, 1e-11)


@pytest.mark.parametrize(("ours", "theirs", "kwargs"), CASES, ids=IDS)
def test_groups_and_changing_rates_follow_pytorch(ours, theirs, kwargs):
    params, twins = pairs()
    rest = {k: v for k, v in kwargs.items() if k != "lr"}

    def groups(ps):
        return [{"params": ps[:2], "lr": 0.002}, {"params": ps[2:], "weight_decay": 0.05}]

    a, b = ours(groups(params), lr=0.01, **rest), getattr(torch.optim, theirs)(groups(twins), lr=0.01, **rest)
    rng = np.random.default_rng(3)
    for step in range(40):
        for i in range(2):
            a.groups[i].lr = b.param_groups[i]["lr"] = 0.02 / (1 + step + i)
        give(params, twins, rng)
        a.step()
        b.step()
        same(params, twins, 1e-11)


@pytest.mark.parametrize(("ours", "theirs", "kwargs"), CASES, ids=IDS)
def test_float32_agrees_to_its_precision(ours, theirs, kwargs):
    params, twins = pairs(np.float32)
    a, b = ours(params, **kwargs), getattr(torch.optim, theirs)(twins, **kwargs)
    rng = np.random.default_rng(4)
    for _ in range(30):
        give(params, twins, rng)
        a.step()
        b.step()
    same(params, twins, 2e-5)
    assert all(p.dtype == np.float32 for p in params)


def test_the_first_velocity_is_the_gradient_in_spite_of_dampening_for_each_parameter():
    params, twins = pairs()
    kwargs = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}
    a, b = SGD(params, **kwargs), torch.optim.SGD(twins, **kwargs)
    rng = np.random.default_rng(5)
    for step in range(4):
        give(params, twins, rng, skip=[0] if step < 2 else [])
        a.step()
        b.step()
    same(params, twins, 1e-13)


def test_a_small_network_trains_as_in_pytorch():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(64, 5)), rng.normal(size=(64, 1))
    weights = [rng.normal(size=(8, 5)), rng.normal(size=8), rng.normal(size=(1, 8)), rng.normal(size=1)]
    ours = [lc.Parameter(w.copy()) for w in weights]
    theirs = [torch.nn.Parameter(torch.tensor(w)) for w in weights]
    a, b = AdamW(ours, lr=0.02), torch.optim.AdamW(theirs, lr=0.02)

    def loss(w1, b1, w2, b2, inputs, targets):
        hidden = (inputs @ w1.T + b1).tanh()
        return ((hidden @ w2.T + b2 - targets) ** 2).mean()

    for _ in range(50):
        a.zero_grad()
        mine = loss(*ours, lc.tensor(x), lc.tensor(y))
        mine.backward()
        a.step()
        b.zero_grad()
        his = loss(*theirs, torch.tensor(x), torch.tensor(y))
        his.backward()
        b.step()
        assert mine.item() == pytest.approx(his.item(), rel=1e-10)
