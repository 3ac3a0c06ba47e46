"""Copies and state dicts of optimizers."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
from optimizer_parts import Momentum, Net, backward, trained

import lunar_core as lc
from lunar_core.errors import StateError

# -- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_of_model_and_optimizer_goes_its_own_way_from_the_same_place(clone):
    net = Net()
    opt = Momentum(net.parameters(), lr=0.2, overrides={"bias": {"lr": 0.01}})
    for _ in range(2):
        backward([net.first, net.bias])
        opt.step()
    twin, other = clone((net, opt))
    assert other.groups[1].lr == 0.01
    value = net.first.data.copy()
    for o, n in ((opt, net), (other, twin)):
        o.zero_grad()
        backward([n.first, n.bias], 2.0)
        o.step()
    assert not np.array_equal(net.first.data, value)
    np.testing.assert_array_equal(twin.first.data, net.first.data)
    assert not np.shares_memory(twin.first.data, net.first.data)
    assert other.groups[0].params[0] is twin.first
    other.lr = 0.9
    assert opt.lr == 0.2


def test_a_shallow_copy_keeps_the_state_of_its_moment():
    params, opt = trained()
    m = opt.state_dict()["state"]["0"]["m"].copy()
    other = copy.copy(opt)
    backward(params)
    opt.step()
    np.testing.assert_array_equal(other.state_dict()["state"]["0"]["m"], m)


def test_an_optimizer_that_never_stepped_can_be_copied():
    net = Net()
    twin, other = copy.deepcopy((net, Momentum(net.parameters())))
    backward([twin.first])
    other.step()
    assert not np.array_equal(twin.first.data, net.first.data)


# -- state dicts ------------------------------------------------------------------------------------------------------


def test_a_state_dict_continues_exactly_where_it_was_taken():
    net = Net()
    opt = Momentum(net, lr=0.2, overrides={"bias": {"beta": 0.5}})
    for i in range(3):
        opt.zero_grad()
        backward([net.first, net.bias] if i else [net.bias])
        opt.step()
    state = copy.deepcopy(opt.state_dict())
    twin = Net()
    twin.load_state_dict(net.state_dict())
    other = Momentum(twin, lr=99.0, overrides={"bias": {"beta": 0.1}})
    other.load_state_dict(state)
    assert other.lr == 0.2 and other.groups[1].beta == 0.5
    assert json.dumps(state["groups"])  # plain data
    for o, n in ((opt, net), (other, twin)):
        o.zero_grad()
        backward([n.first, n.bias])
        o.step()
    for a, b in zip(net.parameters(), twin.parameters()):
        np.testing.assert_array_equal(a.data, b.data)
    assert {k: v["step"] for k, v in other.state_dict()["state"].items()} == {"first": 3, "bias": 4, "last": 0}


def test_state_comes_back_from_a_file_too(tmp_path):
    params, opt = trained()
    state = opt.state_dict()
    flat = {f"{name}.{key}": value for name, record in state["state"].items() for key, value in record.items()}
    lc.save(flat, tmp_path / "opt.safetensors")
    loaded = lc.load(tmp_path / "opt.safetensors")
    records = {n: {"step": int(loaded[f"{n}.step"]), "m": loaded[f"{n}.m"]} for n in state["state"]}
    other = Momentum([lc.Parameter(p.data.copy()) for p in params])
    other.load_state_dict({"groups": json.loads(json.dumps(state["groups"])), "state": records})
    np.testing.assert_array_equal(other.state_dict()["state"]["0"]["m"], state["state"]["0"]["m"])


def change(state, path, value):
    for key in path[:-1]:
        state = state[key]
    if value is None:
        del state[path[-1]]
    else:
        state[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["state", "1"], None, "the state of 1 is missing"),
        (["state", "7"], {"step": 1, "m": np.ones(3)}, "there is no parameter 7"),
        (["state", "0", "m"], None, "0: m is missing"),
        (["state", "0", "v"], np.ones(3), "0: v is unexpected"),
        (["state", "0", "m"], np.ones((2, 3)), r"0: m has shape \(2, 3\), expected \(3, 2\)"),
        (["state", "0", "step"], None, "0: step is missing"),
        (["state", "0", "step"], -1, "number of updates, got -1"),
        (["groups"], None, "expected a dict with 'groups' and 'state', got the keys"),
        (["groups", 0], None, "expected 1 groups, got 0"),
        (["groups", 0, "lr"], None, "group 0: lr is missing"),
        (["groups", 0, "nesterov"], True, "group 0: nesterov is unexpected"),
        (["groups", 0, "lr"], math.nan, "group 0: Momentum: lr must be a finite number"),
        (["groups", 0, "params"], ["0", "a"], "parameter 1 is missing\n.*parameter a is unexpected"),
        (["groups", 0, "arrays"], ["m", "n"], "no state array 'n'"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(path, value, words):
    _, opt = trained()
    state = copy.deepcopy(opt.state_dict())
    state["groups"][0]["beta"] = 0.1
    state["state"]["0"]["m"] += 1
    before = copy.deepcopy(opt.state_dict())
    change(state, path, value)
    with pytest.raises(StateError, match=words):
        opt.load_state_dict(state)
    after = opt.state_dict()
    assert after["groups"] == before["groups"]
    np.testing.assert_array_equal(after["state"]["0"]["m"], before["state"]["0"]["m"])


def test_something_else_than_a_dict_is_refused():
    _, opt = trained()
    with pytest.raises(StateError, match="got list"):
        opt.load_state_dict([])


def test_a_state_from_before_the_first_step_takes_the_moments_away():
    import lunar_core as lc

    def play(rewind):
        p = lc.Parameter(np.ones(4))
        optimizer = lc.optimizers.Adam([p], lr=0.1)
        optimizer.bind()
        fresh = optimizer.state_dict()
        if rewind:
            p.grad = lc.Tensor(np.full(4, 5.0))
            optimizer.step()
            p.data[...] = 1.0
            optimizer.load_state_dict(fresh)
        p.grad = lc.Tensor(np.full(4, 0.5))
        optimizer.step()
        p.grad = lc.Tensor(np.full(4, -0.25))
        optimizer.step()
        return p.data.copy()

    np.testing.assert_array_equal(play(True), play(False))
