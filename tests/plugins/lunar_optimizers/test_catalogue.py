"""What every optimizer does: descends, is refused bad values, keeps dtypes, and goes on exactly from its state.

A new optimizer is a row of ``optimizer_rows.ROWS``.
"""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
from optimizer_rows import ROWS, load

import lunar_core as lc
from lunar_core.errors import HyperparameterError
from lunar_core.testing.fake_device import fake_device

IDS = [row[1] for row in ROWS]
every = pytest.mark.parametrize(("module", "cls", "kwargs"), ROWS, ids=IDS)


def parameters(dtype=np.float64):
    rng = np.random.default_rng(3)
    return [lc.Parameter(rng.uniform(-1, 1, s).astype(dtype)) for s in ((3, 2), (3, 2), (4,))]


def valley(a, b, c):
    """Rosenbrock's valley in six pairs of numbers, and a bowl."""
    return ((1 - a) ** 2).sum() + 5 * ((b - a * a) ** 2).sum() + (c * c).sum()


def make_closure(optimizer, params):
    def closure():
        optimizer.zero_grad()
        loss = valley(*params)
        if optimizer.needs != "loss":
            loss.backward()
        return loss

    return closure


def train(optimizer, params, steps):
    closure = make_closure(optimizer, params)
    for _ in range(steps):
        optimizer.step(closure)


def value(optimizer, params):
    if hasattr(optimizer, "eval"):
        optimizer.eval()
    return float(valley(*params))


@every
def test_it_descends_into_the_valley(module, cls, kwargs):
    params = parameters()
    before = float(valley(*params))
    optimizer = load(module, cls)(params, **kwargs)
    train(optimizer, params, 400)
    assert value(optimizer, params) < 0.05 * before


@every
def test_a_loaded_state_continues_exactly(module, cls, kwargs):
    params = parameters()
    first = load(module, cls)(params, **kwargs)
    train(first, params, 7)
    kept, values = copy.deepcopy(first.state_dict()), [p.data.copy() for p in params]
    train(first, params, 5)
    again = [lc.Parameter(v) for v in values]
    second = load(module, cls)(again, **kwargs)
    second.load_state_dict(kept)
    train(second, again, 5)
    for p, q in zip(params, again):
        np.testing.assert_array_equal(p.data, q.data)


@every
def test_a_copy_continues_exactly(module, cls, kwargs):
    params = parameters()
    first = load(module, cls)(params, **kwargs)
    train(first, params, 6)
    second, again = copy.deepcopy((first, params))
    train(first, params, 4)
    train(second, again, 4)
    for p, q in zip(params, again):
        np.testing.assert_array_equal(p.data, q.data)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_dtype_stays_and_half_precision_has_state_in_single(module, cls, kwargs, dtype):
    if cls == "LBFGS" and dtype == np.float16:
        pytest.skip("the line search has no meaning in half precision")
    params = parameters(dtype)
    optimizer = load(module, cls)(params, **kwargs)
    train(optimizer, params, 5)
    assert all(p.dtype == dtype and np.isfinite(p.data.astype(np.float64)).all() for p in params)
    for record in optimizer.state_dict()["state"].values():
        arrays = [v for k, v in record.items() if k != "step"]
        assert all(a.dtype == np.float32 for a in arrays)


@every
def test_bad_hyperparameters_are_refused_by_name(module, cls, kwargs):
    component = load(module, cls)
    params = [lc.Parameter(np.ones(2))]
    for name, bad in (("lr", -1.0), ("lr", float("nan")), ("weight_decay", -0.1), ("betas", (1.0,)), ("eps", "x")):
        if name in component.config_names():
            with pytest.raises(HyperparameterError, match=name):
                component(params, **{name: bad})
    with pytest.raises(HyperparameterError, match="no_such"):
        component(params, no_such=1)


@every
def test_the_configuration_builds_it_again(module, cls, kwargs):
    component = load(module, cls)
    first = component(parameters(), **kwargs)
    second = component.from_config_fields(parameters(), **first.config())
    assert first.config() == second.config() and first.config().items() >= kwargs.items()


@every
def test_a_parameter_without_a_gradient_stays(module, cls, kwargs):
    component = load(module, cls)
    if cls == "LBFGS" or component.needs == "loss":
        pytest.skip("all parameters are one vector")
    a, b = lc.Parameter(np.ones((3, 2))), lc.Parameter(np.ones((3, 2)))
    optimizer = component([a, b], **kwargs)
    a.grad = lc.Tensor(np.full((3, 2), 0.5))
    for _ in range(3):
        optimizer.step()
    assert (b.data == 1).all() and (a.data != 1).all()


@every
def test_parameters_on_a_device_stay_there_and_move_alike(module, cls, kwargs):
    if cls == "LBFGS" or load(module, cls).needs == "loss":
        pytest.skip("it needs a closure")
    component = load(module, cls)
    rng = np.random.default_rng(0)
    with fake_device():
        host = parameters()
        params = [lc.Parameter(p.to("fake")) for p in host]
        first, second = component(params, **kwargs), component(host, **kwargs)
        for _ in range(4):
            for p, q in zip(params, host):
                g = lc.Tensor(rng.normal(size=q.shape))
                p.grad, q.grad = g.to("fake"), g
            first.step()
            second.step()
        for p, q in zip(params, host):
            np.testing.assert_allclose(p.to("cpu").detach().numpy(), q.data, rtol=1e-12)


@every
def test_the_docstring_names_its_source(module, cls, kwargs):
    text = load(module, cls).__doc__
    assert "arXiv" in text or re.search(r"\b(19|20)\d\d\b", text)
