"""Which parameters an optimizer has, in which groups."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from optimizer_parts import Momentum, Net, backward, parameters

import lunar_core as lc
from lunar_core.errors import HyperparameterError, NotBuiltError


def test_groups_have_hyperparameters_of_their_own():
    a, b = parameters((3,), (2,))
    start = [a.data.copy(), b.data.copy()]
    opt = Momentum([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    assert [g.lr for g in opt.groups] == [0.1, 0.5]
    assert opt.lr == 0.1
    backward([a, b])
    opt.step()
    np.testing.assert_allclose(a.data, 0.9 * start[0])
    np.testing.assert_allclose(b.data, 0.5 * start[1])
    opt.groups[1].lr = 0.25
    opt.groups[1]["decay"] = 1
    assert (opt.groups[1]["lr"], opt.groups[1].decay, opt.lr) == (0.25, 1.0, 0.1)
    opt.lr = 0.3
    assert [g.lr for g in opt.groups] == [0.3, 0.3]


def test_overrides_choose_groups_by_the_names_of_parameters():
    net = Net()
    opt = Momentum(net.parameters(), decay=0.5, overrides={"bias": {"decay": 0.0}, "l*": {"lr": 0.01, "beta": 0.5}})
    assert [g.decay for g in opt.groups] == [0.5, 0.0, 0.5]
    opt.bind()
    assert [g.names for g in opt.groups] == [["first"], ["bias"], ["last"]]
    assert opt.groups[2].params[0] is net.last
    everywhere = Momentum(net, overrides={"*": {"decay": 0.1}})
    everywhere.bind()
    assert [g.names for g in everywhere.groups] == [[], ["first", "bias", "last"]]
    everywhere.add_group({"params": lc.Parameter(np.ones(2))})
    assert [len(g.params) for g in copy.deepcopy(everywhere).groups] == [0, 0, 0]  # walked at its first step
    assert [len(g.params) for g in everywhere.groups] == [0, 3, 1]


def test_a_group_can_be_added_before_and_after_the_first_step():
    a, b, c = parameters((3,), (2,), (4,))
    opt = Momentum([a], lr=0.5)
    opt.add_group({"params": [b], "lr": 0.2})
    backward([a, b, c])
    opt.step()
    start = c.data.copy()
    assert opt.add_group({"params": c}).lr == 0.5
    opt.step()
    np.testing.assert_allclose(c.data, 0.5 * start)
    assert [g.names for g in opt.groups] == [["0"], ["1"], ["2"]]
    with pytest.raises(HyperparameterError, match="in two groups"):
        opt.add_group({"params": a})
    assert len(opt.groups) == 3


def test_a_model_may_be_built_after_its_optimizer():
    class Lazy(lc.Layer):
        def build(self, x):
            self.weight = lc.Parameter(np.ones((2, x.shape[-1])))

        def forward(self, x):
            return (x @ self.weight.T).sum()

    model = Lazy()
    opt = Momentum(model.parameters())
    opt.zero_grad()
    with pytest.raises(NotBuiltError):
        opt.step()
    model(lc.ones((1, 3), dtype="float64")).backward()
    opt.step()
    np.testing.assert_allclose(model.weight.data, 0.9)
    assert opt.groups[0].names == ["weight"]


def test_a_shared_parameter_is_updated_once():
    net = Net(shared=True)
    start = net.first.data.copy()
    opt = Momentum([*net.parameters(), net.first])
    backward([net.first])
    opt.step()
    np.testing.assert_allclose(net.first.data, 0.9 * start)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda a, b: Momentum([]), "got no parameters"),
        (lambda a, b: Momentum(iter([])), "got no parameters"),
        (lambda a, b: Momentum([{"params": []}]), "got no parameters"),
        (lambda a, b: Momentum(lc.Module()), "got no parameters"),
        (lambda a, b: Momentum(a), "an iterable of parameters, got Parameter"),
        (lambda a, b: Momentum(3), "an iterable of parameters, got int"),
        (lambda a, b: Momentum({"params": [a]}), "got dict"),
        (lambda a, b: Momentum([{"lr": 0.1}]), "a dict with 'params', got \\['lr'\\]"),
        (lambda a, b: Momentum([{"params": a}, a]), "expected parameters, got dict"),
        (lambda a, b: Momentum([a, np.ones(3)]), "expected parameters, got ndarray"),
        (lambda a, b: Momentum([a * 2]), "is the result of mul"),
        (lambda a, b: Momentum([{"params": a}, {"params": [b, a]}]), "in two groups"),
        (lambda a, b: Momentum([("w", a), ("w", b)]), "two parameters are named 'w'"),
        (lambda a, b: Momentum([("w", a)], overrides={"v*": {}}), "no parameter matches the override 'v\\*'"),
        (lambda a, b: Momentum([{"params": a}], overrides={"*": {}}), "got groups and overrides"),
        (lambda a, b: Momentum([{"params": a, "lrr": 1}]), "no hyperparameter 'lrr'; did you mean 'lr'"),
        (lambda a, b: Momentum([a], overrides={"*": {"rate": 1}}), "no hyperparameter 'rate'"),
        (lambda a, b: Momentum([a], learning_rate=1), "no hyperparameter 'learning_rate'; did you mean 'lr'"),
        (lambda a, b: Momentum([a], lr=math.nan), "lr must be a finite number"),
        (lambda a, b: Momentum([a], lr=-1), "lr must be >= 0"),
        (lambda a, b: Momentum([{"params": a, "lr": math.nan}]), "lr must be a finite number"),
        (lambda a, b: Momentum(), "missing 'params'"),
    ],
)
def test_what_is_no_parameter_or_hyperparameter_is_one_clear_error(make, words):
    a, b = parameters((3,), (2,))
    with pytest.raises(HyperparameterError, match=words):
        make(a, b).bind()


@pytest.mark.parametrize("wrap", [list, lambda p: [("w", p[0])], iter, lambda p: [{"params": p}]])
def test_a_tensor_that_is_no_leaf_is_refused_at_once(wrap):
    (a,) = parameters((3,))
    with pytest.raises(HyperparameterError, match="is the result of multiply, not a parameter"):
        Momentum(wrap([a * 2]))


def test_a_bad_value_set_later_is_refused_and_changes_nothing():
    (a,) = parameters((3,))
    opt = Momentum([a], lr=0.2)
    for change in (lambda: setattr(opt, "lr", math.nan), lambda: setattr(opt.groups[0], "lr", -1)):
        with pytest.raises(HyperparameterError, match="lr must be"):
            change()
    with pytest.raises(HyperparameterError, match="did you mean 'beta'"):
        opt.groups[0].betta = 1
    with pytest.raises(AttributeError):
        _ = opt.groups[0].rate
    with pytest.raises(AttributeError):
        _ = opt.rate
    assert opt.lr == opt.groups[0].lr == 0.2


def test_the_config_holds_the_hyperparameters_and_not_the_parameters():
    opt = Momentum(parameters((3,)), lr=0.2, overrides={"*": {"lr": 0.3}})
    values = {"overrides": {"*": {"lr": 0.3}}, "lr": 0.2, "beta": 0.9, "decay": 0.0}
    assert opt.config() == {**values, "no_decay": None, "master_weights": False}
    assert "lr=0.2" in repr(opt) and "Parameter" not in repr(opt)
    again = Momentum.from_config_fields(opt.params, **opt.config())
    assert again.config() == opt.config()
