"""MAML: against PyTorch's double backward and a hand-computed gradient, and what it does to a model."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import HyperparameterError
from lunar_losses.mse import MSE
from lunar_optimizers.adam import Adam
from lunar_optimizers.maml import MAML
from lunar_optimizers.sgd import SGD


@pytest.mark.parametrize(("first_order", "factor"), [(False, 0.9), (True, 1.0)])
def test_one_inner_step_on_a_parabola_by_hand(first_order, factor):
    # support (w - a)^2 / 2, query (w - b)^2 / 2: w' = w - r (w - a), d query / d w = (w' - b) (1 - r)
    w = lc.Parameter(np.array([2.0]))
    opt = MAML(SGD([w], lr=1.0), inner_lr=0.1, first_order=first_order)
    loss = opt.step([(lambda: 0.5 * (w - 1.0).square().sum(), lambda: 0.5 * (w - 5.0).square().sum())])
    assert loss.item() == pytest.approx((1.9 - 5) ** 2 / 2, rel=1e-14)
    assert w.item() == pytest.approx(2 - (1.9 - 5) * factor, rel=1e-14)


RNG = np.random.default_rng(0)
TASKS = [
    [RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2)), RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))]
    for _ in range(3)
]
WEIGHTS = [RNG.normal(size=(3, 6)), RNG.normal(size=(6,)), RNG.normal(size=(6, 2))]


def network(w, b, v):
    return lambda x: (x @ w + b).tanh() @ v


def task_of(model, xs, ys, xq, yq):
    loss = MSE()
    return lambda: loss(model(lc.tensor(xs)), ys), lambda: loss(model(lc.tensor(xq)), yq)


def tasks_of(params):
    return [task_of(network(*params), *task) for task in TASKS]


@pytest.mark.parity
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_the_gradient_is_pytorchs_through_the_inner_steps(inner_steps, first_order):
    torch = pytest.importorskip("torch")
    params = [lc.Parameter(w.copy()) for w in WEIGHTS]
    opt = MAML(SGD(params, lr=0.3), inner_lr=0.2, inner_steps=inner_steps, first_order=first_order)
    twins = [torch.tensor(w, requires_grad=True) for w in WEIGHTS]
    for _ in range(3):
        ours = opt.step(tasks_of(params))
        losses = []
        for xs, ys, xq, yq in (map(torch.tensor, task) for task in TASKS):
            fast = twins
            for _ in range(inner_steps):
                inner = ((network(*fast)(xs) - ys) ** 2).mean()
                grads = torch.autograd.grad(inner, fast, create_graph=not first_order)
                fast = [w - 0.2 * g for w, g in zip(fast, grads)]
            losses.append(((network(*fast)(xq) - yq) ** 2).mean())
        mean = sum(losses) / 3
        for t, g in zip(twins, torch.autograd.grad(mean, twins)):
            t.data -= 0.3 * g
        assert ours.item() == pytest.approx(mean.item(), rel=1e-12)
        for p, t in zip(params, twins):
            np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-10, atol=1e-13)


def test_it_learns_a_start_that_adapts_to_sines():
    lc.seed(1)
    model = lc.layers.Sequential(lc.layers.Dense(24), lc.layers.Tanh(), lc.layers.Dense(1))
    model(lc.zeros((1, 1)))
    opt = MAML(Adam(model.parameters(), lr=1e-2), inner_lr=0.1, inner_steps=1)
    rng, loss = np.random.default_rng(0), MSE()

    def episode():
        phase = rng.uniform(0, np.pi)
        x = rng.uniform(-3, 3, (40, 1)).astype(np.float32)
        y = np.sin(x + phase)
        return lambda: loss(model(lc.tensor(x[:20])), y[:20]), lambda: loss(model(lc.tensor(x[20:])), y[20:])

    held_out = [episode() for _ in range(20)]

    def judged():
        total = 0.0
        for support, query in held_out:
            with opt.adapted(support, steps=3):
                total += query().item()
        return total / 20

    before = judged()
    for _ in range(150):
        opt.step([episode() for _ in range(4)])
    assert judged() < 0.35 * before


def test_the_parameters_come_back_after_an_adaptation_even_a_failed_one():
    params = [lc.Parameter(w.copy()) for w in WEIGHTS]
    opt = MAML(SGD(params, lr=0.3))
    support, query = tasks_of(params)[0]
    nodes = [p.node for p in params]
    with opt.adapted(support, steps=5):
        assert query().item() > 0 and not np.array_equal(params[0].data, WEIGHTS[0])
    with pytest.raises(ZeroDivisionError):
        opt.step([(support, lambda: 1 / 0)])
    assert [p.node for p in params] == nodes
    for p, w in zip(params, WEIGHTS):
        np.testing.assert_array_equal(p.data, w)
    opt.step(tasks_of(params))


def test_a_parameter_that_the_support_does_not_use_is_learned_from_the_query_alone():
    a, b = lc.Parameter(np.array([1.0])), lc.Parameter(np.array([3.0]))
    opt = MAML(SGD([a, b], lr=0.1), inner_lr=0.5)
    opt.step([(lambda: ops.sum(a * a), lambda: ops.sum(a * b))])  # a' = 0
    assert b.item() == 3 and a.item() == 1


def test_state_and_configuration_come_back():
    params = [lc.Parameter(w.copy()) for w in WEIGHTS]
    first = MAML(Adam(params, lr=0.01), inner_lr=0.2, inner_steps=2)
    first.step(tasks_of(params))
    state = copy.deepcopy(first.state_dict())
    again = [lc.Parameter(p.data.copy()) for p in params]
    second = MAML.from_config_fields(Adam(again, lr=0.01), **first.config())
    second.load_state_dict(state)
    assert repr(second) == repr(first) and first.config() == {"inner_lr": 0.2, "inner_steps": 2, "first_order": False}
    for opt, ps in ((first, params), (second, again)):
        opt.step(tasks_of(ps))
    for p, q in zip(params, again):
        np.testing.assert_array_equal(p.data, q.data)


@pytest.mark.parametrize("tasks", [None, [], [lambda: 0.0], lambda: 0.0])
def test_a_step_without_tasks_is_refused(tasks):
    with pytest.raises(HyperparameterError, match="MAML: step needs tasks"):
        MAML(SGD([lc.Parameter(np.ones(2))], lr=0.1)).step(tasks)
    with pytest.raises(HyperparameterError, match="inner_lr"):
        MAML(SGD([lc.Parameter(np.ones(2))], lr=0.1), inner_lr=0.0)
