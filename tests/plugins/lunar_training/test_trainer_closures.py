"""Optimizers that need more than gradients, those that train other weights than those to judge, and constraints."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.sigmoid import Tanh
from lunar_core.errors import HyperparameterError
from lunar_layers.dense import Dense
from lunar_layers.sequential import Sequential
from lunar_losses.mse import MSE
from lunar_optimizers.adahessian import AdaHessian
from lunar_optimizers.adam import Adam
from lunar_optimizers.ema import EMA
from lunar_optimizers.hybrid import Hybrid
from lunar_optimizers.lbfgs import LBFGS
from lunar_optimizers.maml import MAML
from lunar_optimizers.sam import SAM
from lunar_optimizers.schedule_free_sgd import ScheduleFreeSGD
from lunar_optimizers.sgd import SGD
from lunar_optimizers.sophia import Sophia
from lunar_regularizers.constraints import MaxNorm
from lunar_regularizers.l2 import L2
from lunar_training.trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3))
Y = np.sin(X @ RNG.normal(size=(3, 2)))
MAKE = {
    "lbfgs": lambda p: LBFGS(p, line_search="strong_wolfe", max_iter=5),
    "sam": lambda p: SAM(SGD(p, lr=0.1), rho=0.05),
    "adahessian": lambda p: AdaHessian(p, lr=0.05, every=2),
    "sophia": lambda p: Sophia(p, lr=0.02, every=2),
    "sam in ema": lambda p: EMA(SAM(SGD(p, lr=0.1)), decay=0.9),
    "adahessian in ema": lambda p: EMA(AdaHessian(p, lr=0.05), decay=0.9),
}


def net():
    lc.seed(0)
    return Sequential(Dense(5, in_features=3), Tanh(), Dense(2, in_features=5)).astype("float64")


def trainer(model, optimizer, **options):
    return Trainer(model, MSE(), optimizer, progress="off", installed_plugins=False, **options)


@pytest.mark.parametrize("name", MAKE, ids=[n.replace(" ", "-") for n in MAKE])
def test_the_trainer_takes_the_steps_of_a_loop_by_hand(name):
    model, own = net(), net()
    t = trainer(model, MAKE[name](model.parameters()), regularizers=[L2(0.01)])
    t.fit((X, Y), epochs=4, batch_size=12, shuffle=False)
    opt, loss, penalty = MAKE[name](own.parameters()), MSE(), L2(0.01)
    lc.seed(0)
    for _ in range(4):
        for i in (0, 12):

            def closure(x=X[i : i + 12], y=Y[i : i + 12]):
                opt.zero_grad()
                value = loss(own(lc.tensor(x, dtype="float64")), y) + penalty(own)
                if opt.needs != "loss":
                    value.backward()
                return value

            opt.step(closure)
    for a, b in zip(model.parameters(), own.parameters()):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["lbfgs", "sam", "adahessian"])
def test_it_learns_and_the_first_evaluation_is_not_done_twice(name):
    model = net()
    calls = []
    model.register_forward_hook(lambda module, args, output: calls.append(1))
    t = trainer(model, MAKE[name](model.parameters()))
    t.fit((X, Y), epochs=1, batch_size=24)
    assert len(calls) == {"sam": 2, "adahessian": 1}.get(name, len(calls))
    history = t.fit((X, Y), epochs=20, batch_size=24)
    assert history["loss"][-1] < 0.6 * history["loss"][0]


def test_micro_batches_give_a_closure_the_whole_batch():
    whole, cut = net(), net()
    for model, parts in ((whole, 1), (cut, 3)):
        trainer(model, SAM(SGD(model.parameters(), lr=0.1)), micro_batches=parts).fit((X, Y), epochs=2, shuffle=False)
    for a, b in zip(whole.parameters(), cut.parameters()):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)


def test_what_the_trainer_cannot_give_is_an_error_before_the_first_step():
    model = net()
    before = [p.data.copy() for p in model.parameters()]
    for optimizer, options, words in (
        (MAML(SGD(model.parameters())), {}, "MAML steps by tasks, which the Trainer does not have"),
        (AdaHessian(model.parameters()), {"clip_norm": 1.0}, "so clip_norm has no gradients to work on"),
        (Sophia(model.parameters()), {"micro_batches": 2}, "so micro_batches has no gradients to work on"),
    ):
        with pytest.raises(HyperparameterError, match=words):
            trainer(model, optimizer, **options).fit((X, Y))
    with pytest.raises(HyperparameterError, match="SAM wraps optimizers that step by gradients, LBFGS needs a closure"):
        SAM(LBFGS(model.parameters()))
    with pytest.raises(HyperparameterError, match="Hybrid: LBFGS steps by a closure"):
        Hybrid(model, {"*": LBFGS}).bind()
    for p, b in zip(model.parameters(), before):
        np.testing.assert_array_equal(p.data, b)


def test_a_second_optimizer_evaluates_at_the_weights_that_the_first_left():
    model, own = net(), net()
    pair = [Adam(model[0].parameters(), lr=0.05), SAM(SGD(model[2].parameters(), lr=0.1))]
    trainer(model, pair).fit((X, Y), batch_size=24, shuffle=False)
    first, second = Adam(own[0].parameters(), lr=0.05), SAM(SGD(own[2].parameters(), lr=0.1))

    def closure():
        own.zero_grad()
        loss = MSE()(own(lc.tensor(X, dtype="float64")), Y)
        loss.backward()
        return loss

    closure()
    first.step()
    second.step(closure)
    for a, b in zip(model.parameters(), own.parameters()):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)


def test_schedule_free_weights_are_switched_for_evaluation_and_files(tmp_path):
    model = net()
    opt = ScheduleFreeSGD(model.parameters(), lr=0.5)
    t = trainer(model, opt)
    history = t.fit((X, Y), val=(X, Y), epochs=3, batch_size=8, out=tmp_path / "run")
    trained = {n: p.data.copy() for n, p in model.named_parameters()}
    assert not opt.averaged
    opt.eval()
    averaged = {n: p.data.copy() for n, p in model.named_parameters()}
    value = MSE()(model(lc.tensor(X, dtype="float64")), Y).item()
    assert history["val_loss"][-1] == pytest.approx(value, rel=1e-12)
    assert t.evaluate((X, Y))["loss"] == pytest.approx(value, rel=1e-12) and opt.averaged  # as it was before
    written = lc.load(tmp_path / "run" / "weights.safetensors")
    for name, array in averaged.items():
        np.testing.assert_array_equal(written[name], array)
        assert (array != trained[name]).any()
    t.fit((X, Y), epochs=1, batch_size=8)  # goes back to what is trained by itself
    assert not opt.averaged


def test_constraints_among_the_regularizers_take_effect_after_each_step():
    for given in (MaxNorm(0.2), "max_norm", {"@regularizer": "max_norm", "limit": 0.2}):
        model = net()
        for p in model.parameters():
            p.data *= 50
        limit = 3.0 if given == "max_norm" else 0.2
        trainer(model, SGD(model.parameters(), lr=1e-3), regularizers=[given]).fit((X, Y))
        assert max(np.linalg.norm(layer.weight.data, axis=1).max() for layer in (model[0], model[2])) <= limit + 1e-6
