"""Half-precision parameters with float32 copies, and parameters that weight decay leaves alone."""

from __future__ import annotations

import copy

import ml_dtypes
import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_layers.dense import Dense
from lunar_layers.normalization import LayerNorm
from lunar_layers.sequential import Sequential

HALF = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
KINDS = {
    "adamw": {"lr": 1e-3, "weight_decay": 0.1},
    "sgd": {"lr": 1e-3, "momentum": 0.9},
    "lion": {"lr": 1e-4},
    "muon": {"lr": 1e-3},
    "adafactor": {"lr": 1e-3},
    "schedule_free_sgd": {"lr": 0.1},
}
every = pytest.mark.parametrize("name, dtype", [(n, d) for n in KINDS for d in HALF], ids=str)


def made(name, array, **options):
    p = lc.Parameter(array)
    return p, lc.create("optimizer", name, [("w", p)], **KINDS[name], **options)


def step(p, opt, g):
    p.grad = lc.Tensor(g.astype(p.dtype))
    opt.step()


def gradients(dtype, n, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(4, 3)).astype(HALF[dtype]) for _ in range(n)]


@every
def test_the_copy_is_the_trajectory_in_float32_and_the_parameter_its_rounding(name, dtype):
    start = np.random.default_rng(0).normal(size=(4, 3)).astype(HALF[dtype])
    half, exact = made(name, start.copy(), master_weights=True)
    single, reference = made(name, start.astype(np.float32))
    plain, without = made(name, start.copy())
    for g in gradients(dtype, 100):
        step(half, exact, g)
        step(single, reference, g)
        step(plain, without, g)
    master = exact.state_dict()["state"]["w"]["master"]
    assert master.dtype == np.float32
    np.testing.assert_array_equal(master, single.data)
    np.testing.assert_array_equal(half.data, single.data.astype(HALF[dtype]))
    assert (plain.data != half.data).any()  # what small updates lose without


@every
def test_the_state_goes_round_exactly(name, dtype):
    start = np.random.default_rng(0).normal(size=(4, 3)).astype(HALF[dtype])
    p, opt = made(name, start, master_weights=True)
    for g in gradients(dtype, 20):
        step(p, opt, g)
    q, again = made(name, p.data.copy(), master_weights=True)
    again.load_state_dict(copy.deepcopy(opt.state_dict()))
    for g in gradients(dtype, 20, seed=2):
        step(p, opt, g)
        step(q, again, g)
    np.testing.assert_array_equal(opt.state_dict()["state"]["w"]["master"], again.state_dict()["state"]["w"]["master"])
    np.testing.assert_array_equal(p.data, q.data)


def test_values_that_are_written_from_outside_count():
    p, opt = made("sgd", np.ones((4, 3), np.float16), master_weights=True)
    step(p, opt, np.full((4, 3), 1e-2))
    master = opt.state_dict()["state"]["w"]["master"]
    before = master.copy()
    p.data[0] = 5
    step(p, opt, np.zeros((4, 3)))
    assert (master[0] > 4.9).all()
    np.testing.assert_allclose(master[1:], before[1:], rtol=1e-4)


def test_a_state_without_copies_is_taken_and_one_with_them_refused_without_the_switch():
    p, opt = made("sgd", np.ones((4, 3), np.float16), master_weights=True)
    q, plain = made("sgd", np.ones((4, 3), np.float16))
    for optimizer, parameter in ((opt, p), (plain, q)):
        step(parameter, optimizer, np.ones((4, 3)))
    opt.load_state_dict(plain.state_dict())
    with pytest.raises(StateError, match="w: master is unexpected"):
        plain.load_state_dict(made_state(opt))
    single, of_single = made("sgd", np.ones((4, 3), np.float32), master_weights=True)
    step(single, of_single, np.ones((4, 3)))
    assert "master" not in of_single.state_dict()["state"]["w"]  # float32 is exact itself


def made_state(opt):
    return copy.deepcopy(opt.state_dict())


def test_copies_stay_on_the_device():
    expected, reference = made("adamw", np.ones((4, 3), np.float16), master_weights=True)
    for g in gradients("float16", 5):
        step(expected, reference, g)
    with fake_device() as device:
        p, opt = made("adamw", FakeArray(np.ones((4, 3), np.float16)), master_weights=True)
        for g in gradients("float16", 5):
            p.grad = lc.Tensor(FakeArray(g))
            opt.step()
        assert device.synchronizations <= 5  # one question a step: was anything written from outside
        np.testing.assert_array_equal(p.data._a, expected.data)


def test_lbfgs_keeps_none():
    with pytest.raises(HyperparameterError, match="LBFGS keeps no master weights"):
        lc.optimizers.LBFGS([lc.Parameter(np.ones(2, np.float16))], master_weights=True).step(lambda: 0.0)


# -- weight decay -----------------------------------------------------------------------------------------------------


def net():
    return Sequential(Dense(3, in_features=4), LayerNorm(), Dense(2, in_features=3))


def decays(opt):
    opt.bind()
    return {n: g.weight_decay for g in opt.groups for n in g.names}


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "shampoo", "adafactor"])
def test_norms_and_biases_are_left_out_by_a_switch(name):
    model = net()
    model(np.ones((2, 4), np.float32))
    opt = lc.create("optimizer", name, model.parameters(), weight_decay=0.3, no_decay="vectors")
    found = decays(opt)
    assert {n for n, v in found.items() if v} == {"0.weight", "2.weight"} and len(found) == 6
    opt.weight_decay = 0.7  # the mask stays
    assert {n: v for n, v in decays(opt).items() if v} == {"0.weight": 0.7, "2.weight": 0.7}
    again = lc.create("optimizer", name, model.parameters(), weight_decay=0.1, no_decay="vectors")
    again.load_state_dict(opt.state_dict())
    assert decays(again) == decays(opt) and copy.deepcopy(opt).groups[0].weight_decay == 0.7


def test_the_mask_is_a_tuple_of_globs_or_a_function_and_what_is_said_for_a_parameter_stands():
    model = net().train_with("0.bias", weight_decay=0.5)
    model(np.ones((2, 4), np.float32))
    adamw = lc.optimizers.AdamW
    globs = decays(adamw(model, weight_decay=0.2, no_decay=["*.bias", "1"]))
    assert globs == {"0.weight": 0.2, "0.bias": 0.5, "1.weight": 0, "1.bias": 0, "2.weight": 0.2, "2.bias": 0}
    assert decays(adamw(model, weight_decay=0.2, no_decay=lambda name, p: p.size == 12))["0.weight"] == 0
    masked = decays(adamw(model, weight_decay=0.2, no_decay="vectors", overrides={"1": {"weight_decay": 0.9}}))
    assert masked["1.weight"] == 0.9 and masked["2.bias"] == 0
    with pytest.raises(HyperparameterError, match="no parameter matches 'conv'"):
        adamw(model, no_decay=("conv",)).bind()
    with pytest.raises(HyperparameterError, match='no_decay must be "vectors"'):
        adamw(model, no_decay="biases")
    with pytest.raises(HyperparameterError, match="Rprop has no weight_decay"):
        lc.optimizers.Rprop(model, no_decay="vectors")


def test_both_kinds_of_decay_spare_the_same():
    for options in ({}, {"decoupled_weight_decay": True}):
        weight, bias = lc.Parameter(np.ones((2, 2))), lc.Parameter(np.ones(2))
        opt = lc.optimizers.NAdam([weight, bias], lr=0.1, weight_decay=0.5, no_decay="vectors", **options)
        for p in (weight, bias):
            p.grad = lc.Tensor(np.zeros(p.shape))
        opt.step()
        assert (weight.data < 1).all() and (bias.data == 1).all()
