"""The optimizer contract: what every update rule gets for nothing."""

from __future__ import annotations

import copy
import gc
import json
import math
import pickle
import tracemalloc
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lunar_core as lc
from lunar_core.autograd import note_write
from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.errors import HyperparameterError, InPlaceError, NotBuiltError, StateError
from lunar_core.fused import FusedError
from lunar_core.testing.fake_device import fake_device


class Momentum(Optimizer):
    """As in the contract's docstring, with a branch on a number and a count."""

    lr: float = field(default=0.1, validator=non_negative)
    beta: float = field(default=0.9, validator=in_range(0, 1))
    decay: float = field(default=0.0, validator=non_negative)
    state = ("m",)

    @staticmethod
    def update(p, g, m, *, lr, beta, decay, step):
        if decay:
            p = p * (1 - lr * decay)
        if beta:
            m = beta * m + g
            return p - lr / step * m, m
        return p - lr / step * g, m


def reference(p, g, m, step, lr=0.1, beta=0.9, decay=0.0):
    """One update of Momentum on plain arrays."""
    return Momentum.update(p, g, m, lr=lr, beta=beta, decay=decay, step=step)


def parameters(*shapes, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [lc.Parameter(np.asarray(rng.normal(size=s)).astype(dtype)) for s in shapes]


def backward(params, factor=1.0):
    """Give each parameter the gradient ``factor * p``."""
    for p in params:
        (p * p).sum().backward(lc.tensor(0.5 * factor, dtype=p.dtype, device=p.device))


class Net(lc.Module):
    def __init__(self, shared=False):
        rng = np.random.default_rng(1)
        self.first = lc.Parameter(rng.normal(size=(4, 3)))
        self.bias = lc.Parameter(np.zeros(4))
        self.last = self.first if shared else lc.Parameter(rng.normal(size=(2, 4)))

    def forward(self, x):
        return ((x @ self.first.T + self.bias).tanh() * 2).sum()


# -- updates -----------------------------------------------------------------------------------------------------------


def test_a_step_applies_the_rule_to_every_parameter():
    params = parameters((3, 4), (), (5,), (0, 2), (1,))
    before = [p.data.copy() for p in params]
    opt = Momentum(params, lr=0.2, decay=0.1)
    m = [np.zeros_like(b) for b in before]
    for step in range(1, 5):
        opt.zero_grad()
        backward(params)
        assert opt.step() is None
        for i, p in enumerate(params):
            before[i], m[i] = reference(before[i], before[i], m[i], step, lr=0.2, decay=0.1)
            np.testing.assert_allclose(p.data, before[i], rtol=1e-14)
            assert p.shape == before[i].shape


def test_parameters_lie_in_one_vector_and_gradients_arrive_in_another():
    params = parameters((3, 4), (5,))
    opt = Momentum(params)
    opt.zero_grad()
    backward(params)
    (buffer,) = opt.groups[0].buffers
    for p in params:
        assert np.shares_memory(p.data, buffer.data)
        assert np.shares_memory(p.grad.data, buffer.grad)
        assert p.data.ctypes.data % 64 == 0
    first = params[0].grad.data
    backward(params)
    assert params[0].grad.data is first  # added in place
    np.testing.assert_allclose(first, 2 * params[0].data)


def test_zero_grad_forgets_gradients_and_fills_nothing():
    params = parameters((3,))
    opt = Momentum(params)
    backward(params)
    opt.zero_grad()
    assert params[0].grad is None
    before = params[0].data.copy()
    opt.step()
    np.testing.assert_array_equal(params[0].data, before)


def test_the_memory_order_of_a_parameter_is_kept():
    array = np.arange(24.0).reshape(2, 3, 4).transpose(0, 2, 1)
    p = lc.Parameter(array.copy(order="K"))
    opt = Momentum([p, *parameters((3,))])
    opt.bind()
    assert p.data.strides == array.strides
    np.testing.assert_array_equal(p.data, array)
    backward([p])
    opt.step()
    np.testing.assert_allclose(p.data, array * 0.9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6))
def test_a_parameter_without_a_gradient_is_left_alone_with_its_state_and_count(pattern):
    params = parameters((3,), (2, 2), (4,), (1,))
    values = [p.data.copy() for p in params]
    m, steps = [np.zeros_like(v) for v in values], [0] * 4
    opt = Momentum(params, decay=0.2)
    for present in pattern:
        opt.zero_grad()
        backward([p for p, there in zip(params, present) if there])
        opt.step()
        for i, there in enumerate(present):
            if there:
                steps[i] += 1
                values[i], m[i] = reference(values[i], values[i], m[i], steps[i], decay=0.2)
    for i, p in enumerate(params):
        np.testing.assert_allclose(p.data, values[i], rtol=1e-14)
        assert opt.state_dict()["state"][str(i)]["step"] == steps[i]


def test_parameters_of_several_dtypes_have_vectors_of_their_own():
    params = parameters((3,), dtype=np.float64) + parameters((4,), dtype=np.float32)
    before = [p.data.copy() for p in params]
    opt = Momentum(params)
    backward(params)
    opt.step()
    assert [b.dtype for b in opt.groups[0].buffers] == [np.float64, np.float32]
    for p, b in zip(params, before):
        assert p.dtype == b.dtype
        np.testing.assert_allclose(p.data, b * 0.9, rtol=1e-6)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_parameters_have_float32_state(name):
    dtype = lc.tensor([0.0], dtype=name).dtype
    (p,) = parameters((1000,), dtype=np.float32)
    p = lc.Parameter(p.data.astype(dtype))
    value, m = p.data.astype(np.float32), np.zeros(1000, np.float32)
    opt = Momentum([p], lr=0.01)
    for step in range(1, 4):
        p.grad = lc.Tensor(p.data.copy())
        opt.step()
        value, m = reference(value, value, m, step, lr=0.01)
        value = value.astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(p.data.astype(np.float32), value)
    assert opt.state_dict()["state"]["0"]["m"].dtype == np.float32


def test_state_that_the_rule_does_not_touch_is_never_made():
    params = parameters((1000,))
    opt = Momentum(params, beta=0.0)
    backward(params)
    opt.step()
    assert not opt.groups[0].buffers[0].state
    assert opt.state_dict()["groups"][0]["arrays"] == []
    opt.beta = 0.9
    before = params[0].data.copy()
    opt.zero_grad()
    backward(params)
    opt.step()
    np.testing.assert_allclose(params[0].data, before * (1 - 0.1 / 2), rtol=1e-14)
    assert list(opt.groups[0].buffers[0].state) == ["m"]


def test_state_may_start_at_another_number():
    class Accumulate(Optimizer):
        lr: float = 1.0
        state: ClassVar = {"s": 0.5}

        @staticmethod
        def update(p, g, s, lr):
            s = s + g
            return p - lr * s, s

    (p,) = parameters((3,))
    before = p.data.copy()
    p.grad = lc.ones(3, dtype="float64")
    Accumulate([p]).step()
    np.testing.assert_allclose(p.data, before - 1.5)


def test_a_rule_without_state_returns_the_parameter_alone():
    class Sign(Optimizer):
        lr: float = 0.5

        def update(p, g, lr):
            return p - lr * np.sign(g)

    (p,) = parameters((3,))
    before = p.data.copy()
    backward([p])
    Sign([p]).step()
    np.testing.assert_allclose(p.data, before - 0.5 * np.sign(before))


def test_a_closure_is_called_with_gradients_on_and_its_result_returned():
    params = parameters((3,))
    opt = Momentum(params)

    def closure():
        opt.zero_grad()
        loss = (params[0] * params[0]).sum()
        loss.backward()
        return loss

    with lc.no_grad():
        first = opt.step(closure)
        second = opt.step(closure)
    assert second.item() < first.item()


# -- rules over whole arrays -------------------------------------------------------------------------------------------


class Whitened(Optimizer):
    """A rule that needs matrices, with state of a shape of its own."""

    lr: float = 0.1
    elementwise = False
    state: ClassVar = {"covariance": lambda p: np.eye(p.shape[0]), "m": 0.0}

    @staticmethod
    def update(p, g, covariance, m, *, lr, step):
        covariance = covariance + g @ g.T
        m = 0.5 * m + np.linalg.solve(covariance, g)
        return p - lr / step * m, covariance, m


def test_a_rule_over_whole_arrays_gets_each_parameter_in_its_shape():
    params = parameters((3, 4), (2, 5))
    opt = Whitened(params)
    expected = [(p.data.copy(), np.eye(p.shape[0]), np.zeros(p.shape)) for p in params]
    for step in range(1, 4):
        opt.zero_grad()
        backward(params[:1] if step == 2 else params)
        opt.step()
        for i in range(1 if step == 2 else 2):
            p, c, m = expected[i]
            count = step if i == 0 else (1 if step == 1 else 2)
            expected[i] = Whitened.update(p, p, c, m, lr=0.1, step=count)
    for p, e in zip(params, expected):
        np.testing.assert_allclose(p.data, e[0], rtol=1e-12)
    twin = [lc.Parameter(p.data.copy()) for p in params]
    other = Whitened(twin)
    other.load_state_dict(copy.deepcopy(opt.state_dict()))
    for o, ps in ((opt, params), (other, twin)):
        o.zero_grad()
        backward(ps)
        o.step()
    for a, b in zip(params, twin):
        np.testing.assert_array_equal(a.data, b.data)


def test_whole_rules_work_on_half_precision_and_count_their_results():
    class Wrong(Optimizer):
        elementwise = False
        state = ("m",)

        @staticmethod
        def update(p, g, m):
            assert p.dtype == g.dtype == m.dtype == np.float32
            return p

    p = lc.Parameter(np.ones(3, np.float16))
    p.grad = lc.ones(3, dtype="float16")
    with pytest.raises(HyperparameterError, match="returned 1 values, expected p, m"):
        Wrong([p]).step()


# -- groups ------------------------------------------------------------------------------------------------------------


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
    assert opt.config() == {"overrides": {"*": {"lr": 0.3}}, "lr": 0.2, "beta": 0.9, "decay": 0.0}
    assert "lr=0.2" in repr(opt) and "Parameter" not in repr(opt)
    again = Momentum.from_config_fields(opt.params, **opt.config())
    assert again.config() == opt.config()


# -- what users do in between ------------------------------------------------------------------------------------------


def trained(steps=2):
    params = parameters((3, 2), (4,))
    opt = Momentum(params)
    for _ in range(steps):
        opt.zero_grad()
        backward(params)
        opt.step()
    return params, opt


def test_an_assigned_array_is_taken_in():
    params, opt = trained()
    params[0].data = np.full((3, 2), 5.0)
    params[1].data[...] = 7.0
    note_write(params[1].data)
    opt.zero_grad()
    params[0].grad = lc.zeros((3, 2), dtype="float64")
    opt.groups[0].beta = 0.0
    opt.step()
    assert params[0].tolist() == [[5.0] * 2] * 3
    assert params[1].tolist() == [7.0] * 4
    assert np.shares_memory(params[0].data, opt.groups[0].buffers[0].data)


def test_an_assigned_gradient_counts():
    params, opt = trained()
    m = opt.state_dict()["state"]["0"]["m"].copy()
    value = params[0].data.copy()
    opt.zero_grad()
    params[0].grad = lc.full((3, 2), 2.0, dtype="float64")
    opt.step()
    np.testing.assert_allclose(params[0].data, reference(value, np.full((3, 2), 2.0), m, 3)[0])


def test_a_loaded_model_keeps_its_place():
    net = Net()
    opt = Momentum(net)
    opt.bind()
    net.load_state_dict({"first": np.ones((4, 3)), "bias": np.ones(4), "last": np.ones((2, 4))})
    backward([net.first])
    opt.step()
    np.testing.assert_allclose(net.first.data, 0.9)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_converted_model_takes_its_state_along(dtype):
    net = Net()
    opt = Momentum(net)
    backward([net.first, net.bias])
    opt.step()
    m = opt.state_dict()["state"]["first"]["m"].copy()
    value = net.first.data.copy()
    net.astype(dtype)
    opt.zero_grad()
    backward([net.first])
    opt.step()
    assert net.first.dtype == dtype
    record = opt.state_dict()["state"]["first"]
    assert record["step"] == 2 and record["m"].dtype == np.float32
    np.testing.assert_allclose(record["m"], 0.9 * m + value, rtol=2e-3)


def test_frozen_parameters_are_skipped_and_thawed_ones_go_on():
    net = Net()
    net.freeze("last")
    opt = Momentum(net)
    everything = [net.first, net.bias, net.last]
    backward(everything[:2])
    opt.step()
    assert opt.groups[0].buffers[0].size < 12 + 4 + 8 + 16
    net.unfreeze("last")
    net.freeze("first")
    frozen, thawed = net.first.data.copy(), net.last.data.copy()
    opt.zero_grad()
    backward(everything[1:])
    opt.step()
    np.testing.assert_array_equal(net.first.data, frozen)
    np.testing.assert_allclose(net.last.data, 0.9 * thawed)
    net.unfreeze("first")
    opt.zero_grad()
    backward([net.first])
    opt.step()
    steps = {name: record["step"] for name, record in opt.state_dict()["state"].items()}
    assert steps == {"first": 2, "bias": 2, "last": 1}
    np.testing.assert_allclose(net.first.data, frozen - 0.1 / 2 * (frozen / 0.9 * 0.9 + frozen))


def test_two_optimizers_may_share_parameters():
    (p,) = parameters((3,))
    value = p.data.copy()
    a, b = Momentum([p], beta=0.0), Momentum([p], beta=0.0, lr=0.5)
    for _ in range(2):
        for opt in (a, b):
            opt.zero_grad()
            backward([p])
            opt.step()
    np.testing.assert_allclose(p.data, value * 0.9 * 0.5 * 0.95 * 0.75)


def test_a_graph_from_before_the_step_refuses_its_overwritten_arrays():
    params, opt = trained()
    loss = (params[0] * params[0]).sum()
    opt.step()
    with pytest.raises(InPlaceError):
        loss.backward()


# -- copies ------------------------------------------------------------------------------------------------------------


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


def test_an_optimizer_that_never_stepped_can_be_copied():
    net = Net()
    twin, other = copy.deepcopy((net, Momentum(net.parameters())))
    backward([twin.first])
    other.step()
    assert not np.array_equal(twin.first.data, net.first.data)


# -- state dicts -------------------------------------------------------------------------------------------------------


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


# -- classes -----------------------------------------------------------------------------------------------------------


def define(state=("m",), elementwise=True, **fields):
    def with_update(update):
        namespace = {"state": state, "elementwise": elementwise, "update": staticmethod(update), "__module__": __name__}
        namespace["__annotations__"] = dict.fromkeys(fields, float)
        return type("Mine", (Optimizer,), {**fields, **namespace})

    return with_update


@pytest.mark.parametrize(
    ("arguments", "update", "words"),
    [
        ({}, lambda p, g: p, "has to take 'm', got p, g"),
        ({"state": ()}, lambda p: p, "has to take 'g'"),
        ({"lr": 0.1}, lambda p, g, m, learning_rate: (p, m), "asks for 'learning_rate', .*did you mean 'lr'"),
        ({"state": ("lr",), "lr": 0.1}, lambda p, g, lr: (p, lr), "'lr' has a meaning already"),
        ({"state": ("g",)}, lambda p, g: (p, g), "'g' has a meaning already"),
        ({"params_": 0.1, "step": 0.1}, lambda p, g, m: (p, m), "'step' has a meaning already"),
        ({"state": {"m": np.zeros_like}}, lambda p, g, m: (p, m), "needs elementwise = False"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_when_the_class_is_defined(arguments, update, words):
    with pytest.raises(HyperparameterError, match=words):
        define(**arguments)(update)


def test_a_class_without_a_rule_is_abstract():
    with pytest.raises(HyperparameterError, match="Optimizer defines no update"):
        Optimizer(parameters((3,)))


def test_a_rule_that_branches_on_an_array_says_so_at_the_first_step():
    @define(state=())
    def Mine(p, g):
        return p - g if g > 0 else p

    (p,) = parameters((3,))
    value = p.data.copy()
    backward([p])
    opt = Mine([p])
    with pytest.raises(FusedError, match=r"Mine.update: .*branches on the values of an array"):
        opt.step()
    np.testing.assert_array_equal(p.data, value)
    assert opt.groups[0].buffers[0].step == 0


def test_a_subclass_inherits_the_rule_and_may_change_its_defaults():
    class Slow(Momentum):
        lr: float = field(default=0.001, validator=non_negative)

    (p,) = parameters((3,))
    value = p.data.copy()
    backward([p])
    Slow([p]).step()
    np.testing.assert_allclose(p.data, value * 0.999)


# -- devices and cost --------------------------------------------------------------------------------------------------


def test_parameters_on_a_device_stay_there():
    with fake_device() as device:
        host = parameters((3, 2), (4,))
        params = [lc.Parameter(p.to("fake")) for p in host]
        opt, twin = Momentum(params, lr=0.3, decay=0.1), Momentum(host, lr=0.3, decay=0.1)
        for i in range(3):
            for o, ps in ((opt, params), (twin, host)):
                o.zero_grad()
                backward(ps[:1] if i == 1 else ps)
                o.step()
        assert device.synchronizations == 0
        for a, b in zip(params, host):
            np.testing.assert_allclose(a.to("cpu").detach().numpy(), b.data, rtol=1e-14)
        m = opt.state_dict()["state"]["1"]["m"]
        assert type(m) is type(params[0].data)
        np.testing.assert_allclose(twin.state_dict()["state"]["1"]["m"], m._a, rtol=1e-14)
        twin.load_state_dict(opt.state_dict())
        np.testing.assert_array_equal(twin.state_dict()["state"]["1"]["m"], m._a)


@pytest.mark.parametrize("some", [False, True])
def test_memory_does_not_grow_with_the_step_count(some):
    params = parameters((200, 100), (50_000,), (7,), dtype=np.float32)
    opt = Momentum(params, decay=0.01)

    def run(count):
        for i in range(count):
            opt.lr = 0.1 / (1 + i)
            opt.zero_grad()
            for p in params[1:] if some else params:
                p.grad = None
                p.node.accumulate(p.data)
            opt.step()

    run(3)
    tracemalloc.start()
    try:
        run(2)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run(40)
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 3_000
    assert peak - before < 60_000  # the parameters are 280,000 bytes
