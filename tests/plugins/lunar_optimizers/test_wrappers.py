"""Optimizers around optimizers: each against its formula, worked out by hand, and what they share."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, StateError
from lunar_optimizers.adam import Adam
from lunar_optimizers.adamw import AdamW
from lunar_optimizers.adaptive_gradient_clipping import AdaptiveGradientClipping
from lunar_optimizers.cautious import Cautious
from lunar_optimizers.ema import EMA
from lunar_optimizers.gradient_centralization import GradientCentralization
from lunar_optimizers.hybrid import Hybrid
from lunar_optimizers.lookahead import Lookahead
from lunar_optimizers.muon import Muon
from lunar_optimizers.sam import SAM
from lunar_optimizers.sgd import SGD
from lunar_optimizers.swa import SWA

ROWS = [
    (Lookahead, {"k": 3}),
    (SAM, {"rho": 0.01}),
    (SAM, {"rho": 0.01, "adaptive": True}),
    (EMA, {"decay": 0.8}),
    (SWA, {"start": 3, "every": 2}),
    (Cautious, {}),
    (GradientCentralization, {}),
    (AdaptiveGradientClipping, {"clip": 0.5}),
]
every = pytest.mark.parametrize(("cls", "kwargs"), ROWS, ids=[f"{c.__name__}-{len(k)}" for c, k in ROWS])


def parameters(dtype=np.float64):
    rng = np.random.default_rng(3)
    return [lc.Parameter(rng.uniform(-1, 1, s).astype(dtype)) for s in ((3, 2), (3, 2), (4,))]


def valley(a, b, c):
    return ((1 - a) ** 2).sum() + 5 * ((b - a * a) ** 2).sum() + (c * c).sum()


def train(optimizer, params, steps):
    def closure():
        optimizer.zero_grad()
        loss = valley(*params)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)


@every
def test_it_descends_into_the_valley(cls, kwargs):
    params = parameters()
    before = float(valley(*params))
    optimizer = cls(Adam(params, lr=0.05), **kwargs)
    train(optimizer, params, 300)
    # Centralization holds the sum of each row of the matrices, so that they cannot get all the way.
    assert float(valley(*params)) < (0.9 if cls is GradientCentralization else 0.05) * before


@every
def test_a_loaded_state_and_a_copy_continue_exactly(cls, kwargs):
    params = parameters()
    first = cls(Adam(params, lr=0.05), **kwargs)
    train(first, params, 7)
    kept, values = copy.deepcopy(first.state_dict()), [p.data.copy() for p in params]
    third, copies = copy.deepcopy((first, params))
    train(first, params, 6)
    train(third, copies, 6)
    again = [lc.Parameter(v) for v in values]
    second = cls(Adam(again, lr=0.05), **kwargs)
    second.load_state_dict(kept)
    train(second, again, 6)
    for p, q, r in zip(params, again, copies):
        np.testing.assert_array_equal(p.data, q.data)
        np.testing.assert_array_equal(p.data, r.data)
    for a, b in zip(first.state_dict()["state"].values(), second.state_dict()["state"].values()):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_dtype_stays(cls, kwargs, dtype):
    params = parameters(dtype)
    optimizer = cls(Adam(params, lr=0.01), **kwargs)
    train(optimizer, params, 4)
    assert all(p.dtype == dtype and np.isfinite(p.data.astype(np.float32)).all() for p in params)


@every
def test_hyperparameters_of_the_optimizer_pass_through(cls, kwargs):
    inner = Adam(parameters(), lr=0.1)
    optimizer = cls(Lookahead(inner), **kwargs)
    optimizer.lr = 0.25
    assert inner.lr == optimizer.lr == 0.25 and optimizer.groups is inner.groups
    with pytest.raises(HyperparameterError, match="wraps an optimizer, got str"):
        cls("adam", **kwargs)
    with pytest.raises(HyperparameterError, match="no_such"):
        cls(inner, no_such=1)


@every
def test_a_foreign_state_is_refused(cls, kwargs):
    params = parameters()
    optimizer = cls(Adam(params), **kwargs)
    with pytest.raises(StateError, match="does not fit"):
        optimizer.load_state_dict(Adam(params).state_dict())


def one(values, gradient):
    p = lc.Parameter(np.array(values, dtype=float))
    p.grad = lc.Tensor(np.array(gradient, dtype=float))
    return p


def test_lookahead_goes_half_the_way_every_k_steps():
    p = one([1.0, 2.0], [1.0, -1.0])
    optimizer = Lookahead(SGD([p], lr=0.1), k=2)
    optimizer.step()
    np.testing.assert_allclose(p.data, [0.9, 2.1])
    optimizer.step()
    np.testing.assert_allclose(p.data, [0.9, 2.1])  # half of [1, 2] and [0.8, 2.2]
    optimizer.step()
    np.testing.assert_allclose(p.data, [0.8, 2.2])


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_steps_with_the_gradient_at_the_worst_place(adaptive):
    p = lc.Parameter(np.array([1.0, -2.0, 0.5]))
    optimizer = SAM(SGD([p], lr=0.1), rho=0.3, adaptive=adaptive)

    def closure():
        optimizer.zero_grad()
        loss = (p**4).sum()
        loss.backward()
        return loss

    x = p.data.copy()
    g = 4 * x**3
    scale = np.abs(x) if adaptive else np.ones(3)
    e = 0.3 * scale**2 * g / np.linalg.norm(scale * g)
    loss = optimizer.step(closure)
    np.testing.assert_allclose(p.data, x - 0.1 * 4 * (x + e) ** 3, rtol=1e-14)
    assert float(loss) == pytest.approx(float((x**4).sum()))
    with pytest.raises(HyperparameterError, match="closure"):
        optimizer.step()


def test_sam_puts_the_parameters_back_when_the_second_closure_fails():
    p = lc.Parameter(np.array([1.0, -2.0]))
    optimizer = SAM(SGD([p], lr=0.1), rho=0.3)
    calls = []

    def closure():
        if calls:
            raise RuntimeError("no more data")
        calls.append(1)
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="no more data"):
        optimizer.step(closure)
    np.testing.assert_array_equal(p.data, [1.0, -2.0])


def test_ema_is_the_weighted_mean_and_comes_and_goes():
    p = one([0.0], [-1.0])
    optimizer = EMA(SGD([p], lr=1.0), decay=0.75)
    for _ in range(3):
        optimizer.step()  # 1, 2, 3
    optimizer.eval()
    optimizer.eval()
    np.testing.assert_allclose(p.data, [0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 3])
    with pytest.raises(StateError, match="train"):
        optimizer.step()
    saved = optimizer.state_dict()
    optimizer.train()
    np.testing.assert_array_equal(p.data, [3.0])
    np.testing.assert_allclose(saved["state"]["0"]["average"], [1.6875])


def test_ema_with_warmup_begins_with_a_small_decay():
    p = one([0.0], [-1.0])
    optimizer = EMA(SGD([p], lr=1.0), decay=0.999, warmup=True)
    optimizer.step()
    optimizer.step()
    optimizer.eval()
    np.testing.assert_allclose(p.data, [1 + (1 - 3 / 12) * 1])


def test_swa_is_the_plain_mean_of_every_second_step_from_the_third():
    p = one([0.0], [-1.0])
    optimizer = SWA(SGD([p], lr=1.0), start=3, every=2)
    for _ in range(8):
        optimizer.step()
    optimizer.eval()
    np.testing.assert_allclose(p.data, [(3 + 5 + 7) / 3])
    optimizer.train()
    np.testing.assert_array_equal(p.data, [8.0])


def test_cautious_drops_what_goes_against_the_gradient():
    p = one([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0])
    optimizer = Cautious(SGD([p], lr=1.0, momentum=1.0))
    optimizer.step()
    np.testing.assert_allclose(p.data, [-1, -1, -1, -1])
    p.grad = lc.Tensor(np.array([1.0, -0.5, 1.0, -3.0]))
    optimizer.step()  # momentum 2, 0.5, 2, -2: the second has the wrong sign; the others are enlarged by 4/3
    np.testing.assert_allclose(p.data, np.array([-1, -1, -1, -1]) + np.array([-2, 0, -2, 2]) * 4 / 3)


def test_gradient_centralization_takes_the_mean_of_each_row():
    w, b = one([[0.0, 0.0], [0.0, 0.0]], [[1.0, 3.0], [5.0, -5.0]]), one([0.0, 0.0], [1.0, 3.0])
    GradientCentralization(SGD([w, b], lr=1.0)).step()
    np.testing.assert_allclose(w.data, [[1.0, -1.0], [-5.0, 5.0]])
    np.testing.assert_allclose(b.data, [-1.0, -3.0])


def test_adaptive_clipping_bounds_each_row_by_its_weights():
    w = one([[3.0, 4.0], [0.0, 0.0]], [[30.0, 40.0], [0.0, 1e-9]])
    AdaptiveGradientClipping(SGD([w], lr=1.0), clip=0.1, eps=1e-3).step()
    np.testing.assert_allclose(w.data, [[3 - 0.3, 4 - 0.4], [0.0, -1e-9]])


class Net(lc.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.first = lc.Parameter(rng.normal(size=(4, 3)))
        self.bias = lc.Parameter(np.zeros(4))
        self.head = lc.Parameter(rng.normal(size=(2, 4)))


def set_gradients(model):
    for p in model.parameters():
        p.grad = lc.Tensor(np.cos(p.data))


def test_hybrid_gives_each_parameter_to_one_optimizer():
    model, alone = Net(), Net()
    both = Hybrid(model, {"first": lambda p: Muon(p, lr=0.1)}, rest=lambda p: AdamW(p, lr=0.01))
    muon, adam = Muon([alone.first], lr=0.1), AdamW([alone.bias, alone.head], lr=0.01)
    for _ in range(3):
        set_gradients(model)
        set_gradients(alone)
        both.step()
        muon.step()
        adam.step()
    for p, q in zip(model.parameters(), alone.parameters()):
        np.testing.assert_array_equal(p.data, q.data)
    assert [g.names for g in both.groups] == [["first"], ["bias", "head"]]
    assert both.lr == 0.1 and isinstance(both["rest"], AdamW)


def test_hybrid_continues_exactly_from_its_state():
    model = Net()
    rules = {"first": Adam, "*[sd]": lambda p: SGD(p, lr=0.1, momentum=0.9)}
    first = Hybrid(model, rules)
    for _ in range(3):
        set_gradients(model)
        first.step()
    kept, again = copy.deepcopy(first.state_dict()), copy.deepcopy(model)
    second = Hybrid(again.named_parameters(), rules)
    second.load_state_dict(kept)
    for net, optimizer in ((model, first), (again, second)):
        set_gradients(net)
        optimizer.step()
    for p, q in zip(model.parameters(), again.parameters()):
        np.testing.assert_array_equal(p.data, q.data)
    with pytest.raises(StateError, match="expected parts"):
        Hybrid(Net(), {"*": Adam}).load_state_dict(kept)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "rules is empty"),
        ({"first": Adam}, "no pattern covers bias and 1 more"),
        ({"*": Adam, "head": Adam}, "'\\*' and 'head' both cover head"),
        ({"*": Adam, "tail": Adam}, "'tail' covers no parameter"),
        ({"*": 3}, "makes an optimizer, got int"),
        ({"rest": Adam}, "'rest' is no pattern"),
    ],
)
def test_hybrid_refuses_gaps_and_overlaps(rules, words):
    with pytest.raises(HyperparameterError, match=words):
        Hybrid(Net(), rules).step()


def test_a_wrapper_around_a_hybrid_sees_all_parameters():
    model = Net()
    before = [p.data.copy() for p in model.parameters()]
    optimizer = Lookahead(Hybrid(model, {"first": SGD}, rest=SGD), k=1, alpha=0.0)
    set_gradients(model)
    optimizer.step()
    for p, old in zip(model.parameters(), before):
        np.testing.assert_array_equal(p.data, old)


def test_a_hybrid_has_a_configuration_that_names_its_optimizers():
    rules = {"first": {"@optimizer": "muon", "lr": 0.02}, "head": "sgd"}
    hybrid = Hybrid(Net(), rules, rest={"optimizer": "adam", "lr": 0.1})
    config = lc.to_config(hybrid)
    assert config["rules"] == {"first": {"optimizer": "muon", "lr": 0.02}, "head": "sgd"}
    again = lc.from_config(config, Net())
    assert [type(part) for part in again.parts] == [type(part) for part in hybrid.parts] == [Muon, SGD, Adam]
    assert again["first"].lr == 0.02 and lc.to_config(again) == config


@pytest.mark.parametrize("cls", [EMA, SWA])
def test_whether_averages_are_in_place_is_no_hyperparameter(cls):
    optimizer = cls(SGD(parameters()))
    assert "swapped" not in optimizer.config() and not optimizer.averaged
    with pytest.raises(HyperparameterError, match="swapped"):
        cls(SGD(parameters()), swapped=True)
    optimizer.eval()
    assert optimizer.averaged and Lookahead(optimizer).averaged
