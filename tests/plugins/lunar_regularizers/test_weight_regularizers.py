"""Penalties on weights against their definitions, gradients by differences; constraints."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.contracts.parametrization import is_parametrized
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_core.testing.gradcheck import gradcheck
from lunar_layers.dense import Dense
from lunar_layers.sequential import Sequential
from lunar_optimizers.sgd import SGD
from lunar_regularizers.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from lunar_regularizers.drop_connect import DropConnect
from lunar_regularizers.l2 import L2
from lunar_regularizers.prior import KLToPrior
from lunar_regularizers.sparse import L1, ElasticNet, GroupLasso
from lunar_regularizers.spectra import Nuclear, Orthogonal, Spectral
from lunar_training.trainer import Trainer


def matrix(w):
    return w.reshape(len(w), -1)


def gram(m):
    return m @ m.T - np.eye(len(m))


def svd(w):
    return np.linalg.svd(matrix(w), compute_uv=False)


PENALTIES = {
    "l1": (L1(0.3), lambda w: np.abs(w).sum()),
    "l2": (L2(0.3), lambda w: 0.5 * (w**2).sum()),
    "elastic_net": (ElasticNet(0.3, ratio=0.7), lambda w: 0.7 * np.abs(w).sum() + 0.15 * (w**2).sum()),
    "group_lasso": (
        GroupLasso(0.3),
        lambda w: sum(np.sqrt(row.size) * np.linalg.norm(row) for row in matrix(w)),
    ),
    "group_lasso of inputs": (
        GroupLasso(0.3, axis=1),
        lambda w: sum(np.sqrt(w[:, i].size) * np.linalg.norm(w[:, i]) for i in range(w.shape[1])),
    ),
    "spectral": (Spectral(0.3), lambda w: 0.5 * svd(w)[0] ** 2),
    "nuclear": (Nuclear(0.3), lambda w: svd(w).sum()),
    "orthogonal": (Orthogonal(0.3), lambda w: (gram(matrix(w)) ** 2).sum()),
    "orthogonal, double": (
        Orthogonal(0.3, mode="double"),
        lambda w: (gram(matrix(w)) ** 2).sum() + (gram(matrix(w).T) ** 2).sum(),
    ),
    "orthogonal, coherence": (Orthogonal(0.3, mode="coherence"), lambda w: np.abs(gram(matrix(w))).max()),
    "orthogonal, srip": (
        Orthogonal(0.3, mode="srip"),
        lambda w: np.abs(np.linalg.eigvalsh(gram(matrix(w)))).max(),
    ),
}
SHAPES = [(3, 4), (4, 3), (3, 2, 2, 2)]


def weights(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PENALTIES)
def test_the_penalty_is_its_definition_and_its_gradient_right(name, shape):
    regularizer, definition = PENALTIES[name]
    w = lc.tensor(weights(shape), requires_grad=True)
    assert regularizer.penalty(w).item() == pytest.approx(definition(w.data), rel=1e-12)
    gradcheck(regularizer.penalty, [w], rtol=1e-6)


@pytest.fixture
def net():
    model = Sequential(Dense(4, in_features=3), Dense(2, in_features=4)).astype(np.float64)
    for i, p in enumerate(model.parameters()):
        p.data[...] = weights(p.shape, i)
    return model


@pytest.mark.parametrize("name", PENALTIES)
def test_it_is_summed_over_the_chosen_weights(name, net):
    regularizer, definition = PENALTIES[name]
    total, weight = regularizer.terms(net)
    expected = 0.3 * sum(definition(layer.weight.data) for layer in net)
    assert weight == 1.0 and total.item() == pytest.approx(expected, rel=1e-12)
    total.backward()
    assert net[0].weight.grad is not None and net[0].bias.grad is None
    one = type(regularizer)(**{**regularizer.config(), "patterns": ("1",)})
    assert one(net).item() == pytest.approx(0.3 * definition(net[1].weight.data), rel=1e-12)
    with pytest.raises(StateError, match="no parameter matches 'head'"):
        type(regularizer)(patterns=("head",))(net)


def everything():
    rows = {name: r for name, (r, _) in PENALTIES.items()}
    rows |= {"max_norm": MaxNorm(0.5), "min_max_norm": MinMaxNorm(0.2, 0.5, 0.5), "non_neg": NonNeg()}
    return {**rows, "unit_norm": UnitNorm(), "kl_to_prior": KLToPrior(0.1, 2.0), "drop_connect": DropConnect(0.3)}


@pytest.mark.parametrize("name", everything())
def test_the_configuration_comes_back(name):
    r = everything()[name]
    again = type(r).from_config_fields(**json.loads(json.dumps(lc.to_config(r.config()))))
    assert repr(again) == repr(r) and r.looks_at == ("steps" if isinstance(r, Constraint) else "weights")
    type(r)()
    with pytest.raises(HyperparameterError, match="bananas"):
        type(r)(bananas=3)


@pytest.mark.parametrize("name", ["l1", "elastic_net", "group_lasso", "orthogonal"])
def test_a_penalty_stays_on_the_device(name):
    with fake_device() as device:
        layer = Dense(3)
        layer(lc.Tensor(FakeArray(weights((5, 4)).astype(np.float32))))
        before = device.synchronizations
        PENALTIES[name][0](layer).backward()
        assert device.synchronizations == before
        assert isinstance(layer.weight.grad.data, FakeArray)


def test_at_zero_the_gradients_are_zero():
    for regularizer in (L1(), ElasticNet(), GroupLasso()):
        w = lc.tensor(np.zeros((3, 4)), requires_grad=True)
        regularizer.penalty(w).backward()
        assert (w.grad.numpy() == 0).all()


# -- the prior ---------------------------------------------------------------------------------------------------------


class Bayes(lc.Module):
    def __init__(self):
        self.weight_mu = lc.Parameter(weights((3, 2)))
        self.weight_rho = lc.Parameter(weights((3, 2), 1))
        self.other = lc.Parameter(weights(4))


def test_the_distance_from_the_prior_is_the_integral():
    model = Bayes()
    value = KLToPrior(0.5, prior_std=1.7).terms(model)[0]
    x = np.linspace(-40, 40, 400_001)
    total = 0.0
    for mu, rho in zip(model.weight_mu.data.ravel(), model.weight_rho.data.ravel()):
        sigma = np.log1p(np.exp(rho))
        q = -0.5 * ((x - mu) / sigma) ** 2 - np.log(sigma)
        p = -0.5 * (x / 1.7) ** 2 - np.log(1.7)
        total += np.trapezoid(np.exp(q) / np.sqrt(2 * np.pi) * (q - p), x)
    assert value.item() == pytest.approx(0.5 * total, rel=1e-9)
    value.backward()
    assert model.other.grad is None

    def f(mu, rho):
        model.weight_mu, model.weight_rho = lc.Parameter(np.zeros(1)), lc.Parameter(np.zeros(1))
        named = {"a_mu": mu, "a_rho": rho}
        fake = type("Fake", (), {"named_parameters": lambda self: named.items()})()
        return KLToPrior(0.5, prior_std=1.7).terms(fake)[0]

    gradcheck(f, [lc.tensor(weights((3, 2), i), requires_grad=True) for i in range(2)])


def test_a_model_without_distributions_is_an_error(net):
    with pytest.raises(StateError, match="no parameter's name ends in '_mu'"):
        KLToPrior()(net)
    model = Bayes()
    del model.weight_rho
    with pytest.raises(StateError, match="weight_mu has no partner 'weight_rho'"):
        KLToPrior()(model)
    with pytest.raises(HyperparameterError, match="two different endings"):
        KLToPrior(mean="_x", scale="_x")


# -- constraints -------------------------------------------------------------------------------------------------------

EPS = 1e-7


def keras(name, w):
    """The formula of Keras' constraint, units in the rows."""
    n = np.sqrt((matrix(w) ** 2).sum(axis=1)).reshape(-1, *[1] * (w.ndim - 1))
    return {
        "max_norm": lambda: w * (np.clip(n, 0, 0.5) / (EPS + n)),
        "min_max_norm": lambda: w * ((0.5 * np.clip(n, 0.2, 0.5) + 0.5 * n) / (EPS + n)),
        "non_neg": lambda: w * (w >= 0),
        "unit_norm": lambda: w / (EPS + n),
    }[name]()


@pytest.mark.parametrize("name", ["max_norm", "min_max_norm", "non_neg", "unit_norm"])
def test_a_constraint_projects_as_keras_does_and_is_no_penalty(name, net):
    constraint = everything()[name]
    before = {n: p.data.copy() for n, p in net.named_parameters()}
    constraint.project(net)
    for key, p in net.named_parameters():
        expected = keras(name, before[key]) if p.ndim > 1 else before[key]
        np.testing.assert_allclose(p.data, expected, rtol=1e-12)
    with pytest.raises(HyperparameterError, match=r"adds nothing to a loss\n  .*project\(model\) after each step"):
        constraint(net)
    again = {n: p.data.copy() for n, p in net.named_parameters()}
    if name != "min_max_norm":
        constraint.project(net)
        for key, p in net.named_parameters():
            np.testing.assert_allclose(p.data, again[key], rtol=1e-6)
    conv = weights((3, 2, 2, 2))
    np.testing.assert_allclose(constraint.projected(conv), keras(name, conv), rtol=1e-12)


@pytest.mark.parametrize("name", ["max_norm", "min_max_norm", "non_neg", "unit_norm"])
def test_half_precision_is_projected_without_overflow(name):
    layer = Dense(3, in_features=5).astype(np.float16)
    layer.weight.data[...] = 400 * weights((3, 5))
    everything()[name].project(layer)
    assert layer.weight.dtype == np.float16 and np.isfinite(layer.weight.data).all()
    if name == "unit_norm":
        np.testing.assert_allclose(np.linalg.norm(layer.weight.data.astype(float), axis=1), 1, rtol=1e-2)


@pytest.mark.parametrize("name", ["max_norm", "min_max_norm", "non_neg", "unit_norm", "drop_connect"])
def test_what_costs_nothing_costs_nothing_on_the_device(name):
    with fake_device() as device:
        layer = Dense(3, in_features=4).to("fake")
        regularizer = everything()[name]
        detach = regularizer.attach(layer)
        before = device.synchronizations
        y = layer(lc.Tensor(FakeArray(weights((5, 4)).astype(np.float32)))).sum()
        if regularizer.looks_at != "steps":
            y = y + regularizer(layer)
        y.backward()
        regularizer.project(layer)
        assert device.synchronizations == before
        detach()


def test_a_trainer_projects_after_each_step(net):
    rng = np.random.default_rng(0)
    trainer = Trainer(
        net, lambda p, t: (p - t).square().mean(), SGD(net.parameters(), lr=0.5), plugins=[NonNeg(include_vectors=True)],
        progress="off", installed_plugins=False,
    )  # fmt: skip
    trainer.fit((rng.normal(size=(16, 3)), rng.normal(size=(16, 2))), epochs=2, batch_size=4)
    assert all((p.data >= 0).all() for p in net.parameters())


# -- drop connect ------------------------------------------------------------------------------------------------------


def test_weights_are_dropped_in_training_only_and_their_mean_stays(net):
    weight = net[0].weight.data.copy()
    x = weights((2, 3))
    expected = net(x).detach().numpy()
    detach = DropConnect(0.4, patterns=("0",)).attach(net)
    assert is_parametrized(net[0], "weight") and not is_parametrized(net[1])
    seen = np.stack([net[0].weight.detach().numpy() for _ in range(4000)])
    kept = seen != 0
    assert kept.mean() == pytest.approx(0.6, abs=0.01)
    np.testing.assert_allclose(seen[kept], np.broadcast_to(weight / 0.6, seen.shape)[kept])
    net.eval()
    np.testing.assert_array_equal(net(x).detach().numpy(), expected)
    net.train()
    net(x).sum().backward()
    detach()
    assert type(net[0]) is Dense
    np.testing.assert_array_equal(net[0].weight.data, weight)
    assert DropConnect().terms(net)[0].item() == 0


@pytest.mark.parametrize(
    "make",
    [lambda: L1(-1), lambda: L1(patterns=()), lambda: ElasticNet(ratio=2), lambda: MinMaxNorm(2, 1), lambda: MaxNorm(0),
     lambda: Orthogonal(mode="x"), lambda: DropConnect(1.0), lambda: KLToPrior(prior_std=0), lambda: NonNeg(patterns=())],
)  # fmt: skip
def test_bad_hyperparameters_are_refused(make):
    with pytest.raises(HyperparameterError):
        make()
