"""Options of parts of a model: which optimizers, loops and the Trainer see them, and which counts."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.sigmoid import Tanh
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.training_options import parameter_options, regularizers_of, schedulers_of
from lunar_layers.dense import Dense
from lunar_layers.sequential import Sequential
from lunar_optimizers.adam import Adam
from lunar_optimizers.adamw import AdamW
from lunar_optimizers.hybrid import Hybrid
from lunar_optimizers.sgd import SGD
from lunar_schedulers.decay import Linear
from lunar_training.trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def net():
    lc.seed(0)
    return Sequential(Dense(3, in_features=4), Tanh(), Sequential(Dense(3, in_features=3), Dense(2, in_features=3)))


def values(optimizer, name):
    return {n: group[name] for group in optimizer.groups for n in group.names}


@pytest.mark.parametrize("params", [lambda m: m, lambda m: m.parameters()], ids=["model", "parameters"])
def test_hyperparameters_are_found_by_an_optimizer_of_the_model(params):
    model = net().train_with("2", lr=0.2).train_with("*.bias", weight_decay=0.0)
    opt = AdamW(params(model), lr=0.1, weight_decay=0.5)
    opt.bind()
    assert values(opt, "lr") == {n: 0.2 if n.startswith("2") else 0.1 for n, _ in model.named_parameters()}
    assert values(opt, "weight_decay") == {n: 0.0 if "bias" in n else 0.5 for n, _ in model.named_parameters()}
    assert len([g for g in opt.groups if g.params]) == 4
    plain = AdamW(model.named_parameters(), lr=0.1)
    plain.bind()
    assert len(plain.groups) == 1


def test_what_is_nearer_counts_then_what_was_said_last_then_the_optimizers_own_groups():
    model = net().train_with(lr=1.0).train_with("2.*", lr=2.0, momentum=0.1).train_with("2.1", lr=3.0)
    model[2][0].train_with("weight", lr=4.0)
    opt = SGD(model, lr=0.5, overrides={"0.bias": {"lr": 9.0}})
    opt.bind()
    assert values(opt, "lr") == {
        "0.weight": 1.0, "0.bias": 9.0, "2.0.weight": 4.0, "2.0.bias": 2.0, "2.1.weight": 3.0, "2.1.bias": 3.0,
    }  # fmt: skip
    assert values(opt, "momentum")["2.0.weight"] == 0.1  # merged key by key
    model[2].train_with("0.weight", lr=5.0)  # further out than what the layer says
    assert parameter_options(model)["2.0.weight"]["lr"] == 4.0


def test_an_unknown_hyperparameter_and_a_pattern_without_a_match_are_errors():
    with pytest.raises(HyperparameterError, match="SGD: no hyperparameter 'beta'"):
        SGD(net().train_with("0", beta=1), lr=0.1).bind()
    with pytest.raises(StateError, match="nothing matches '0.wieght'; did you mean '0.weight'"):
        net().train_with("0.wieght", lr=0.1)
    lazy = Sequential(Dense(3)).train_with("1", lr=0.1)
    opt = SGD(lazy, lr=0.1)
    lazy(X)
    with pytest.raises(StateError, match="nothing matches '1'"):
        opt.bind()
    with pytest.raises(HyperparameterError, match="nothing was given"):
        net().train_with("0")


def test_state_dicts_and_copies_keep_the_groups():
    model = net().train_with("2", lr=0.2)
    opt = Adam(model, lr=0.1)
    opt.bind()
    again = Adam(net().train_with("2", lr=0.7), lr=0.1)
    again.load_state_dict(opt.state_dict())
    assert values(again, "lr") == values(opt, "lr")
    copied = copy.deepcopy(opt)
    copied.bind()
    assert values(copied, "lr") == values(opt, "lr")


def test_another_optimizer_for_a_part_makes_a_hybrid_and_is_refused_elsewhere():
    model = net().train_with("2", optimizer="sgd", lr=0.3).train_with("0.bias", lr=0.7)
    with pytest.raises(HyperparameterError, match=r"train_with gives 2.0.weight another optimizer, 'sgd'\n  Hybrid"):
        Adam(model, lr=0.1).bind()
    opt = Hybrid(model, rest=lambda params: Adam(params, lr=0.1))
    opt.bind()
    assert [type(part) for part in opt.parts] == [SGD, Adam]
    assert values(opt["sgd"], "lr") == dict.fromkeys(("2.0.weight", "2.0.bias", "2.1.weight", "2.1.bias"), 0.3)
    assert values(opt["rest"], "lr") == {"0.weight": 0.1, "0.bias": 0.7}
    with pytest.raises(HyperparameterError, match="give no optimizer for 0.weight"):
        Hybrid(model).bind()
    trainer = Trainer(model, "cross_entropy", "adam", progress="off")
    trainer.fit((X, Y), epochs=1)
    assert [type(part) for part in trainer.optimizer.parts] == [SGD, Adam]
    with pytest.raises(HyperparameterError, match="another optimizer"):
        Trainer(model, "cross_entropy", Adam(model), progress="off").fit((X, Y))


def test_a_schedule_moves_its_own_groups_and_others_leave_them():
    model = net().train_with("2", lr=0.4, schedule=Linear(total=10))
    opt = SGD(model, lr=0.2)
    (own,) = schedulers_of(opt)
    other = Linear(total=20).bind(opt)
    for _ in range(5):
        own.step()
        other.step()
    assert {round(v, 6) for n, v in values(opt, "lr").items() if n[0] == "2"} == {0.2}
    assert {round(v, 6) for n, v in values(opt, "lr").items() if n[0] == "0"} == {0.15}
    trainer = Trainer(net().train_with("2", schedule="cosine"), "cross_entropy", "sgd", progress="off")
    trainer.fit((X, Y), epochs=2)
    lrs = values(trainer.optimizer, "lr")
    assert lrs["2.0.weight"] == pytest.approx(0, abs=1e-12) and lrs["0.weight"] > 0


def test_regularizers_are_confined_to_their_part():
    model = (
        net().train_with("2.*", regularizer={"@regularizer": "l2", "strength": 0.5}).train_with("2.1", regularizer="l1")
    )
    l2, l1 = regularizers_of(model)
    weight = {n: p.data for n, p in model.named_parameters()}
    assert l2(model).item() == pytest.approx(0.25 * (weight["2.0.weight"] ** 2).sum(), rel=1e-6)
    assert l1(model).item() == pytest.approx(l1.strength * np.abs(weight["2.1.weight"]).sum(), rel=1e-6)
    trainer = Trainer(model, "cross_entropy", "sgd", progress="off")
    assert trainer.fit((X, Y))["penalty"][0] > 0
    heard = net().train_with("1", regularizer="activity")
    (activity,) = regularizers_of(heard)
    assert activity.modules == ("1",)
    assert Trainer(heard, "cross_entropy", "sgd", progress="off").fit((X, Y))["penalty"][0] > 0
    with pytest.raises(HyperparameterError, match="Jacobian looks at the whole model"):
        regularizers_of(net().train_with("2", regularizer="jacobian"))


def test_a_constraint_on_a_part_takes_effect():
    model = net().train_with("0", regularizer={"@regularizer": "max_norm", "limit": 0.1})
    Trainer(model, "cross_entropy", "sgd", progress="off").fit((X, Y))
    assert np.linalg.norm(model[0].weight.data, axis=1).max() <= 0.1 + 1e-6
    assert np.linalg.norm(model[2][0].weight.data, axis=1).max() > 0.1


def test_hooks_and_norms_are_put_on_at_once():
    seen = []
    model = net().train_with(
        "2.?", hooks=lambda module, args, output: seen.append(type(module).__name__), norm="layer_norm"
    )
    y = model(X)
    assert (
        seen == ["Dense", "Dense"] and {"2.0.output_norm.weight", "2.1.output_norm.bias"} <= model.state_dict().keys()
    )
    np.testing.assert_allclose(y.data.mean(axis=-1), 0, atol=1e-5)
    copied = copy.deepcopy(model)
    copied[2][1].output_norm.weight.data[...] = 0
    assert not copied(X).data.any() and model(X).data.any()
    layer = Dense(3, in_features=4).train_with(norm="rms_norm", lr=0.1)
    np.testing.assert_allclose((layer(X).data ** 2).mean(axis=-1), 1, rtol=1e-3)
    with pytest.raises(StateError, match="no module matches '7'"):
        Sequential(Dense(2)).train_with("7", norm="layer_norm")
    with pytest.raises(HyperparameterError, match="hooks are functions"):
        net().train_with("0", hooks=3)
