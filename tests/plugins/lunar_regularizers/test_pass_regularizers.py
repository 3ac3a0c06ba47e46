"""Penalties on activations and on how outputs answer: definitions, gradients by differences, listening."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.sigmoid import Tanh
from lunar_core import ops, random
from lunar_core.contracts.regularizer import Seen
from lunar_core.errors import HyperparameterError, ShapeError, StateError
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_core.testing.gradcheck import gradcheck
from lunar_layers.dense import Dense
from lunar_layers.sequential import Sequential
from lunar_optimizers.sgd import SGD
from lunar_regularizers.activations import (
    Activity,
    AttentionEntropy,
    Diversity,
    Entropy,
    GraphLaplacian,
    InformationBottleneck,
    Variance,
)
from lunar_regularizers.adversarial import Adversarial, divergence
from lunar_regularizers.sensitivity import R1, Contractive, FisherTrace, HessianTrace, Jacobian, Noise
from lunar_training.trainer import Trainer

A = np.random.default_rng(0).normal(size=(6, 4))
X = np.random.default_rng(1).normal(size=(6, 3))


def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def covariance(a):
    c = a - a.mean(axis=0)
    return c.T @ c / len(a)


def kl(a):
    mu, sigma = a[:, :2], np.log1p(np.exp(a[:, 2:] - 5))
    return (0.5 * (mu**2 + sigma**2 - 1) - np.log(sigma)).sum() / len(a)


DEFINITIONS = {
    "activity": (Activity(l1=0.2, l2=0.3), lambda a: (0.2 * np.abs(a).sum() + 0.3 * (a**2).sum()) / len(a)),
    "entropy": (Entropy(), lambda a: (softmax(a) * np.log(softmax(a))).sum(axis=-1).mean()),
    "variance": (
        Variance(target=1.3),
        lambda a: np.maximum(0, 1.3 - np.sqrt(a.var(axis=0, ddof=1) + 1e-4)).mean(),
    ),
    "diversity": (
        Diversity(),
        lambda a: 0.5 * ((covariance(a) ** 2).sum() - (np.diag(covariance(a)) ** 2).sum()),
    ),
    "information_bottleneck": (InformationBottleneck(), kl),
}
PASSES = {
    **{name: r for name, (r, _) in DEFINITIONS.items()},
    "attention_entropy": AttentionEntropy(),
    "graph_laplacian": GraphLaplacian(neighbors=2),
    "jacobian": Jacobian(),
    "contractive": Contractive(),
    "r1": R1(),
    "noise": Noise(),
    "fisher_trace": FisherTrace(),
    "hessian_trace": HessianTrace(),
    "adversarial": Adversarial(),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_penalty_is_its_definition_and_its_gradient_right(name):
    regularizer, definition = DEFINITIONS[name]
    a = lc.tensor(A, requires_grad=True)
    assert regularizer.penalty(a).item() == pytest.approx(definition(A), rel=1e-12)
    gradcheck(regularizer.penalty, [a])
    total, weight = regularizer.terms(None, Seen(outputs=a))
    assert weight == 1 and total.item() == pytest.approx(regularizer.strength * definition(A), rel=1e-12)


def test_attention_lacks_entropy_where_it_is_sharp():
    uniform = np.full((2, 3, 4), 0.25)
    assert AttentionEntropy().penalty(lc.tensor(uniform)).item() == pytest.approx(0, abs=1e-12)
    sharp = lc.tensor(np.eye(4)[None], requires_grad=True)
    value = AttentionEntropy().penalty(sharp)
    assert value.item() == pytest.approx(np.log(4))
    value.backward()
    assert np.isfinite(sharp.grad.numpy()).all()
    gradcheck(lambda a: AttentionEntropy().penalty(ops.softmax(a)), [lc.tensor(A, requires_grad=True)])


def test_neighbours_among_the_inputs_are_pulled_together():
    regularizer = GraphLaplacian(2.0, width=0.8)
    s = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1) / (2 * 0.8**2)) * (1 - np.eye(6))
    distances = ((A[:, None] - A[None]) ** 2).sum(-1)
    seen = Seen(inputs=lc.tensor(X), outputs=lc.tensor(A))
    assert regularizer.terms(None, seen)[0].item() == pytest.approx(2.0 * (s * distances).sum() / 36, rel=1e-12)
    gradcheck(lambda a: regularizer.terms(None, Seen(lc.tensor(X), a))[0], [lc.tensor(A, requires_grad=True)])
    near = GraphLaplacian(neighbors=1).similarities(X)
    assert (near == near.T).all() and ((near > 0).sum(axis=1) >= 1).all() and (near > 0).sum() < 30


@pytest.mark.parametrize("name", PASSES)
def test_the_configuration_comes_back(name):
    r = PASSES[name]
    again = type(r).from_config_fields(**json.loads(json.dumps(lc.to_config(r.config()))))
    assert repr(again) == repr(r) and r.looks_at in ("activations", "gradients")
    type(r)()
    with pytest.raises(HyperparameterError, match="bananas"):
        type(r)(bananas=3)
    with pytest.raises(StateError, match="has seen no training pass|needs the targets"):
        again.terms(net())


@pytest.mark.parametrize("name", PASSES)
def test_it_stays_on_the_device(name):
    values = []
    x, t = X.astype(np.float32), np.abs(X[:, :1]).astype(np.float32)
    for on_device in (False, True):
        lc.seed(0)
        model = net(1 if name == "r1" else 4).astype(np.float32)
        with fake_device() as device:
            if on_device:
                model.to("fake")
            wrap = (lambda a: lc.Tensor(FakeArray(a.copy()))) if on_device else lc.Tensor
            inputs = wrap(x)
            outputs = model(inputs)
            before = device.synchronizations
            value = PASSES[name](model, Seen(inputs, outputs, wrap(t), squared_error))
            assert device.synchronizations - before <= (name in ("graph_laplacian", "fisher_trace"))
            if name != "attention_entropy":  # outputs are no attention rows: the value is none, only the place counts
                value.backward()
            values.append(value.item())
    assert values[0] == pytest.approx(values[1], rel=1e-5, nan_ok=True)


# -- listening ---------------------------------------------------------------------------------------------------------


def net(out=2):
    model = Sequential(Dense(4, in_features=3), Tanh(), Dense(out, in_features=4)).astype(np.float64)
    for i, p in enumerate(model.parameters()):
        p.data[...] = np.random.default_rng(i).normal(size=p.shape)
    return model


def test_it_hears_the_chosen_modules_of_the_last_training_pass():
    model = net()
    regularizer = Activity(1.0, l1=1.0, l2=0.0, modules=("1", ""))
    detach = regularizer.attach(model)
    with pytest.raises(StateError, match="attach"):
        regularizer(model)
    model(lc.tensor(X[:3]))
    y = model(lc.tensor(X))
    model.eval()
    model(lc.tensor(X[:1]))
    model.train()
    hidden = model[1](model[0](X))
    expected = (np.abs(hidden.detach().numpy()).sum() + np.abs(y.detach().numpy()).sum()) / 6
    model(lc.tensor(X))
    assert regularizer(model).item() == pytest.approx(expected)
    regularizer(model).backward()
    assert model[0].weight.grad is not None
    detach()
    with pytest.raises(StateError):
        regularizer(model)
    with pytest.raises(StateError, match="no module matches 'head'"):
        Activity(modules=("head",)).attach(model)
    with pytest.raises(HyperparameterError, match="modules is empty"):
        Activity(modules=())


def test_running_the_model_again_is_not_heard():
    model = net()
    activity, jacobian = Activity(modules=("1",)), Jacobian()
    activity.attach(model)
    jacobian.attach(model)
    model(lc.tensor(X))
    before = activity(model).item()
    jacobian(model)
    assert activity(model).item() == before


@pytest.mark.parametrize("name", ["activity", "variance", "jacobian", "r1", "fisher_trace"])
def test_an_attached_one_works_in_a_trainer(name):
    model = net(1 if name == "r1" else 2)
    regularizer = PASSES[name]
    detach = regularizer.attach(model)
    trainer = Trainer(
        model, lambda p, t: (p - t).square().mean(), SGD(model.parameters(), lr=0.01), regularizers=[regularizer],
        progress="off", installed_plugins=False,
    )  # fmt: skip
    history = trainer.fit((X, np.zeros((6, 1 if name == "r1" else 2))), epochs=2, batch_size=3)
    assert np.isfinite(history["penalty"][-1]) and history["penalty"][-1] != 0
    detach()


# -- how outputs answer ------------------------------------------------------------------------------------------------


def jacobian_of(model, x):
    j = lc.functional.jacobian(lambda t: model(t.reshape(1, -1)).reshape(-1), lc.tensor(x, requires_grad=True))
    return j.detach().numpy()


def squared(model):
    return np.mean([(jacobian_of(model, x) ** 2).sum() for x in X])


def check_gradients(model, penalty):
    """The gradient by the parameters against a difference along a random direction."""
    model.zero_grad()
    with random.preserved():
        penalty().backward()
    rng = np.random.default_rng(3)
    moved = [(p, rng.normal(size=p.shape)) for p in model.parameters()]
    analytic = sum((p.grad.numpy() * d).sum() for p, d in moved if p.grad is not None)

    def at(t):
        for p, d in moved:
            p.data += t * d
        with random.preserved():
            value = penalty().item()
        for p, d in moved:
            p.data -= t * d
        return value

    h = 1e-4
    numeric = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_the_jacobian_is_exact_or_right_in_the_mean():
    model, seen = net(), Seen(inputs=lc.tensor(X))
    exact = Jacobian(2.0, projections=None)
    assert exact.terms(model, seen)[0].item() == pytest.approx(squared(model), rel=1e-12)
    estimates = [Jacobian(2.0).terms(model, seen)[0].item() for _ in range(3000)]
    assert np.mean(estimates) == pytest.approx(squared(model), rel=0.03)
    for regularizer in (exact, Jacobian(projections=2)):
        check_gradients(model, lambda r=regularizer: r.terms(model, seen)[0])


def test_a_contractive_code_has_a_small_jacobian():
    model, seen = net(), Seen(inputs=lc.tensor(X))
    assert Contractive(0.5).terms(model, seen)[0].item() == pytest.approx(0.5 * squared(model), rel=1e-12)
    value = Contractive(0.5, encoder="0").terms(model, seen)[0].item()
    assert value == pytest.approx(0.5 * (model[0].weight.data ** 2).sum(), rel=1e-12)
    check_gradients(model, lambda: Contractive().terms(model, seen)[0])
    with pytest.raises(StateError, match="no module 'body'"):
        Contractive(encoder="body").terms(model, seen)


def test_r1_is_the_squared_slope_of_the_discriminator():
    model, seen = net(1), Seen(inputs=lc.tensor(X))
    assert R1(4.0).terms(model, seen)[0].item() == pytest.approx(2 * squared(model), rel=1e-12)
    check_gradients(model, lambda: R1().terms(model, seen)[0])
    with pytest.raises(ShapeError, match="one output an example"):
        R1().terms(net(2), seen)


def test_small_noise_measures_the_jacobian():
    model, seen = net(), Seen(inputs=lc.tensor(X))
    estimates = [Noise(1.0, std=1e-4).terms(model, seen)[0].item() for _ in range(3000)]
    assert np.mean(estimates) == pytest.approx(squared(model) / 2, rel=0.05)  # a mean over the 2 outputs
    check_gradients(model, lambda: Noise(std=0.1).terms(model, seen)[0])


def test_the_fisher_penalty_is_the_squared_gradient_for_drawn_labels():
    model, seen = net(), Seen(inputs=lc.tensor(X))
    with random.preserved():
        value = FisherTrace(0.5).terms(model, seen)[0].item()
    u = random.stream("fisher_trace").at(0).random((6, 1))
    p = softmax(model(X).detach().numpy()).cumsum(axis=1)
    labels = (p <= u).sum(axis=1)
    model.zero_grad()
    lc.ops.cross_entropy(model(X), labels).mean().backward()
    expected = 0.5 * sum((q.grad.numpy() ** 2).sum() for q in model.parameters())
    assert value == pytest.approx(expected, rel=1e-10)
    check_gradients(model, lambda: FisherTrace().terms(model, seen)[0])


def squared_error(y, t):
    return (y - t).square().mean()


def test_the_hessians_trace_is_right_in_the_mean():
    model = net()
    target = lc.tensor(np.random.default_rng(5).normal(size=(6, 2)))
    seen = Seen(lc.tensor(X), None, target, squared_error)
    estimate = HessianTrace(1.0, samples=3000).terms(model, seen)[0].item()
    trace, h = 0.0, 1e-3
    for p in model.parameters():
        for i in np.ndindex(p.shape):
            values = []
            for step in (-h, 0.0, h):
                before = p.data[i]
                p.data[i] = before + step
                values.append(squared_error(model(X), target).item())
                p.data[i] = before
            trace += (values[0] - 2 * values[1] + values[2]) / h**2
    assert estimate == pytest.approx(trace, rel=0.05)
    check_gradients(model, lambda: HessianTrace(1.0).terms(model, seen)[0])


def test_fgsm_is_the_loss_at_the_moved_inputs():
    model = net()
    target = lc.tensor(np.random.default_rng(5).normal(size=(6, 2)))
    x = lc.tensor(X, requires_grad=True)
    squared_error(model(x), target).backward()
    moved = X + 0.05 * np.sign(x.grad.numpy())
    seen = Seen(lc.tensor(X), None, target, squared_error)
    value = Adversarial(0.7, eps=0.05).terms(model, seen)[0]
    assert value.item() == pytest.approx(0.7 * squared_error(model(moved), target).item(), rel=1e-12)
    check_gradients(model, lambda: Adversarial(eps=0.05).terms(model, seen)[0])


def test_vat_finds_a_worse_direction_than_chance():
    model, seen = net(), Seen(inputs=lc.tensor(X))
    worst = Adversarial(method="vat", eps=0.1, iterations=5).terms(model, seen)[0].item()
    clean = softmax(model(X).detach().numpy())
    rng = np.random.default_rng(0)
    for _ in range(50):
        r = rng.normal(size=X.shape)
        r *= 0.1 / np.linalg.norm(r, axis=1, keepdims=True)
        moved = softmax(model(X + r).detach().numpy())
        assert (clean * np.log(clean / moved)).sum(axis=1).mean() <= worst * 1.05
    assert worst > 0
    # The direction and p(x) are constants of the penalty, as in the paper, so differences through the whole of it give
    # another number; what is differentiated is the divergence at a fixed direction.
    logs = ops.log_softmax(lc.tensor(A)).detach()
    gradcheck(lambda z: divergence(logs, z), [lc.tensor(A + 0.3 * A**2, requires_grad=True)])
    Adversarial(method="vat").terms(model, seen)[0].backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())


def test_vat_finds_a_direction_in_single_precision_too():
    model, seen = net().astype(np.float32), Seen(inputs=lc.tensor(X.astype(np.float32)))
    double = Adversarial(method="vat", iterations=3).terms(net(), Seen(inputs=lc.tensor(X)))[0].item()
    lc.seed(0)
    assert Adversarial(method="vat", iterations=3).terms(model, seen)[0].item() == pytest.approx(double, rel=0.02)
