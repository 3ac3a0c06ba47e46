"""The optimizer contract: what every update rule gets for nothing."""

from __future__ import annotations

import copy
import gc
import tracemalloc
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_parts import Momentum, Whitened, backward, parameters, reference

import lunar_core as lc
from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.fusion import FusedError
from lunar_core.testing.fake_device import fake_device

# -- updates ----------------------------------------------------------------------------------------------------------


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


# -- rules over whole arrays ------------------------------------------------------------------------------------------


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


# -- classes ----------------------------------------------------------------------------------------------------------


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


# -- devices and cost -------------------------------------------------------------------------------------------------


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


# -- numbers, and state of any shape ----------------------------------------------------------------------------------


class Harmonic(Optimizer):
    """A rate that is a sum over the steps so far, which a fused rule cannot loop over."""

    lr: float = field(default=0.1, validator=non_negative)
    numbers: ClassVar = {"total": lambda lr, step: sum(lr / i for i in range(1, step + 1))}

    @staticmethod
    def update(p, g, *, total):
        return p - total * g


class HarmonicWhole(Harmonic):
    elementwise = False

    @staticmethod
    def update(p, g, *, total):
        return p - total * g


@pytest.mark.parametrize("cls", [Harmonic, HarmonicWhole])
def test_numbers_are_computed_from_hyperparameters_and_the_count_of_each_parameter(cls):
    a, b = (lc.Parameter(np.zeros(2)) for _ in range(2))
    opt = cls([{"params": [a]}, {"params": [b], "lr": 1.0}])
    for p in (a, b, b):
        a.grad = b.grad = None
        p.grad = lc.ones(2, dtype="float64")
        opt.step()
    np.testing.assert_allclose(a.data, -0.1)
    np.testing.assert_allclose(b.data, -(1 + 1.5))


def test_a_number_may_not_take_a_name_that_has_a_meaning():
    with pytest.raises(HyperparameterError, match="'step' has a meaning already"):

        class Bad(Harmonic):
            numbers: ClassVar = {"step": lambda step: step}


class Growing(Optimizer):
    """State whose shape the first update decides."""

    lr: float = field(default=0.1, validator=non_negative)
    elementwise = False
    state: ClassVar = {"seen": lambda p: np.zeros(0)}

    @staticmethod
    def update(p, g, seen, *, lr):
        return p - lr * g, np.append(seen, g.sum())


def test_state_that_is_empty_yet_takes_any_shape_when_it_is_loaded():
    p, q = lc.Parameter(np.zeros(2)), lc.Parameter(np.zeros(2))
    first, second = Growing([p]), Growing([q])
    for _ in range(3):
        p.grad = lc.ones(2, dtype="float64")
        first.step()
    second.load_state_dict(first.state_dict())
    assert second.state_dict()["state"]["0"]["seen"].tolist() == [2.0, 2.0, 2.0]
    second.load_state_dict(Growing([q]).state_dict())
    assert second.state_dict()["state"]["0"]["seen"].size == 0
    with pytest.raises(StateError, match="lr"):
        second.load_state_dict({"groups": [{"params": ["0"], "arrays": []}], "state": {}})
