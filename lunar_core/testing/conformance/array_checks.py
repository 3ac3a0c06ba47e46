"""Checks of what computes on arrays: modules, losses, metrics, initializers, parametrizations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...contracts.parametrization import parametrize
from ...functional import functional_call
from ...modes import default_device, default_dtype
from ...module import Module, Parameter
from ...random import seed
from ...tensor import Tensor
from ...trees import tree_leaves
from ..fake_device import FakeArray, fake_device
from ..gradcheck import gradcheck
from .tools import floats, refill, same, tensors

if TYPE_CHECKING:
    from .checks import Case


# -- modules ----------------------------------------------------------------------------------------------------------

_X = (np.random.default_rng(0).normal(size=(5, 4)),)


def _built(case: Case, cls: Any, dtype: Any = np.float64) -> tuple[Any, tuple[Any, ...]]:
    module = case.make(cls)
    if case.row.random:
        module.eval()
    inputs = tensors(case.inputs(_X), dtype)
    case.call(module, *inputs)
    return module, inputs


def module_gradient(case: Case, cls: Any) -> None:
    module, _ = _built(case, cls)
    module.astype(np.float64)
    state = {name: p for name, p in list(module.named_parameters())[:6] if p.dtype.kind == "f"}
    given = tree_leaves(tensors(case.inputs(_X), grad=True))
    count = len(given)

    def function(*values: Any) -> Any:
        rest = iter(values[:count])
        inputs = [refill(x, rest) for x in case.inputs(_X)]
        own = dict(zip(state, values[count:]))
        return tuple(floats(_functional(case, module, own, inputs)))

    leaves = [Tensor(p.data.copy(), requires_grad=True) for p in state.values()]
    if any(isinstance(x, Tensor) and x.requires_grad for x in [*given, *leaves]):
        assert gradcheck(function, [*given, *leaves], step=1e-5, rtol=1e-5, atol=1e-6)


def _functional(case: Case, module: Any, own: dict[str, Any], inputs: list[Any]) -> Any:
    if case.row.call is None:
        return functional_call(module, own, *inputs)

    class Called(Module):
        def __init__(self) -> None:
            self.inner = module

        def forward(self, *args: Any) -> Any:
            return case.row.call(self.inner, *args)  # type: ignore[misc]

    return functional_call(Called(), {f"inner.{name}": value for name, value in own.items()}, *inputs)


def module_dtype(case: Case, cls: Any) -> None:
    for dtype in (np.float32, np.float64):
        with default_dtype(dtype):
            module = case.make(cls)
        out = case.call(module, *tensors(case.inputs(_X), dtype))
        assert {t.dtype for t in floats(out)} <= {np.dtype(dtype)}
        assert {p.dtype for p in module.parameters() if p.dtype.kind == "f"} <= {np.dtype(dtype)}


def module_repeats(case: Case, cls: Any) -> None:
    module, inputs = _built(case, cls)
    module.eval()
    same(case.call(module, *inputs), case.call(module, *inputs))


def module_state(case: Case, cls: Any) -> None:
    module, inputs = _built(case, cls)
    module.eval()
    expected = case.call(module, *inputs)
    again = case.make(cls).eval()
    seed(5)
    case.call(again, *inputs)
    again.load_state_dict({name: value.copy() for name, value in module.state_dict().items()})
    same(case.call(again, *inputs), expected)


def module_device(case: Case, cls: Any) -> None:
    def run(device: bool) -> tuple[Any, list[Any]]:
        module = case.make(cls).eval()
        inputs = tensors(case.inputs(_X), np.float32, grad=True, device=device)
        if device and module.built:
            module.to("fake")
        out = floats(case.call(module, *inputs))
        assert not device or all(isinstance(t.data, FakeArray) for t in out)
        total: Any = sum((t * t).sum() for t in out)
        if isinstance(total, Tensor) and total.requires_grad:
            total.backward()
        grads = [p.grad for p in [*tree_leaves(inputs), *module.parameters()] if getattr(p, "grad", None) is not None]
        return out, grads

    expected = run(False)
    with fake_device(), default_dtype(np.float32):
        same(run(True), expected, rtol=2e-3, atol=2e-3)


# -- losses and metrics -----------------------------------------------------------------------------------------------


def loss_gradient(case: Case, cls: Any) -> None:
    pred, target = case.inputs()
    given = tree_leaves(tensors(pred, grad=True))

    def function(*values: Any) -> Any:
        return case.call(case.make(cls), refill(pred, iter(values)), tensors(target))

    assert gradcheck(function, given, step=1e-5, rtol=1e-5, atol=1e-6)


def loss_dtype(case: Case, cls: Any) -> None:
    for dtype in (np.float32, np.float64):
        pred, target = case.inputs()
        assert case.call(case.make(cls), tensors(pred, dtype), tensors(target, dtype)).dtype == dtype


def loss_repeats(case: Case, cls: Any) -> None:
    pred, target = case.inputs()
    same(*[case.call(case.make(cls), tensors(pred), tensors(target)) for _ in range(2)])


def loss_device(case: Case, cls: Any) -> None:
    pred, target = case.inputs()
    expected = case.call(case.make(cls), tensors(pred, np.float32), tensors(target, np.float32))
    with fake_device():
        xs = tensors(pred, np.float32, True, True)
        value = case.call(case.make(cls), xs, tensors(target, np.float32, False, True))
        assert isinstance(value.data, FakeArray)
        same(value, expected, rtol=1e-4, atol=1e-5)


def _metric_result(case: Case, cls: Any, device: bool = False) -> tuple[Any, Any]:
    metric = case.make(cls)
    pred, target = case.inputs()
    given = tensors(pred, device=device), tensors(target, device=device)
    metric.update(*given) if case.row.call is None else case.row.call(metric, *given)
    return metric, metric.compute()


def metric_state(case: Case, cls: Any) -> None:
    metric, value = _metric_result(case, cls)
    again = case.make(cls)
    again.load_state_dict(metric.state_dict())
    same(again.compute(), value)
    again.merge(metric)
    metric.reset()
    assert metric.seen == 0


def metric_repeats(case: Case, cls: Any) -> None:
    metric, value = _metric_result(case, cls)
    same(metric.compute(), value)
    same(_metric_result(case, cls)[1], value)


def metric_device(case: Case, cls: Any) -> None:
    expected = _metric_result(case, cls)[1]
    with fake_device():
        same(_metric_result(case, cls, True)[1], expected, rtol=1e-6, atol=1e-9)


# -- initializers -----------------------------------------------------------------------------------------------------


def _initializer_shape(case: Case) -> tuple[int, ...]:
    return tuple(np.shape(case.inputs((np.zeros((6, 4)),))[0]))


def initializer_dtype(case: Case, cls: Any) -> None:
    for dtype in (np.float32, np.float64):
        with default_dtype(dtype):
            values = case.make(cls)(_initializer_shape(case))
        assert values.dtype == dtype and values.shape == _initializer_shape(case)
        assert np.isfinite(values).all()


def initializer_repeats(case: Case, cls: Any) -> None:
    same(*[case.make(cls)(_initializer_shape(case)) for _ in range(2)])


def initializer_device(case: Case, cls: Any) -> None:
    expected = case.make(cls)(_initializer_shape(case))
    with fake_device(), default_device("fake"):
        values = case.make(cls)(_initializer_shape(case))
        assert isinstance(values, FakeArray)
        same(values, expected)


# -- parametrizations -------------------------------------------------------------------------------------------------


class _Holder(Module):
    def __init__(self, shape: tuple[int, ...], dtype: Any, device: bool = False) -> None:
        values = np.random.default_rng(6).normal(size=shape).astype(dtype)
        self.weight = Parameter(FakeArray(values) if device else values)

    def forward(self) -> Any:
        return self.weight * 1.0


def _parametrized(case: Case, cls: Any, dtype: Any = np.float64, device: bool = False) -> Module:
    shape = tuple(np.shape(case.inputs((np.zeros((4, 4)),))[0]))
    return parametrize(_Holder(shape, dtype, device), "weight", case.make(cls))


def parametrization_gradient(case: Case, cls: Any) -> None:
    module = _parametrized(case, cls).eval()
    state = dict(module.named_parameters())

    def function(*values: Any) -> Any:
        return functional_call(module, dict(zip(state, values)))

    leaves = [Tensor(p.data.copy(), requires_grad=True) for p in state.values()]
    assert gradcheck(function, leaves, step=1e-5, rtol=1e-5, atol=1e-6)


def parametrization_dtype(case: Case, cls: Any) -> None:
    for dtype in (np.float32, np.float64):
        assert _parametrized(case, cls, dtype)().dtype == dtype


def parametrization_repeats(case: Case, cls: Any) -> None:
    module = _parametrized(case, cls).eval()
    same(module(), module())


def parametrization_state(case: Case, cls: Any) -> None:
    module = _parametrized(case, cls)
    module()
    module.eval()
    again = _parametrized(case, cls).eval()
    for p in again.parameters():
        p.data = p.data * 0.5
    again.load_state_dict({name: value.copy() for name, value in module.state_dict().items()})
    same(again(), module())


def parametrization_device(case: Case, cls: Any) -> None:
    expected = _parametrized(case, cls, np.float32).eval()()
    with fake_device():
        value = _parametrized(case, cls, np.float32, True).eval()()
        assert isinstance(value.data, FakeArray)
        same(value, expected, rtol=1e-3, atol=1e-4)
