"""Checks of what trains: optimizers, schedulers, regularizers, gradient processors, callbacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import random
from ...contracts.regularizer import Seen
from ...hooks import Bus
from ...modes import enable_grad
from ...module import Module, Parameter
from ...tensor import Tensor
from ..fake_device import FakeArray, fake_device
from ..gradcheck import gradcheck
from .tools import copied, same, tensors

if TYPE_CHECKING:
    from .checks import Case


# -- optimizers -------------------------------------------------------------------------------------------------------


def parameters(dtype: Any = np.float64, device: bool = False) -> list[Parameter]:
    rng = np.random.default_rng(3)
    arrays = [rng.uniform(-1, 1, shape).astype(dtype) for shape in ((3, 2), (4,))]
    return [Parameter(FakeArray(a) if device else a) for a in arrays]


def _named(params: list[Parameter]) -> list[tuple[str, Parameter]]:
    return list(zip("ab", params))


def made_optimizer(case: Case, cls: Any, params: list[Parameter]) -> Any:
    random.seed(0)
    return cls(*given(case, params), **case.row.fields)


def given(case: Case, params: list[Parameter]) -> tuple[Any, ...]:
    return (_named(params),) if case.row.args is None else case.row.args(_named(params))


def _descend(optimizer: Any, params: list[Parameter], steps: int) -> None:
    """Steps on a bowl with a twist, as the optimizer needs them."""

    def loss() -> Any:
        a, b = params
        return (a * a).sum() + ((b - 1.0) ** 2).sum() * 2.0 + (a.sum() * b.sum()) * 0.1

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss()
        if optimizer.needs != "loss":
            value.backward()
        return value

    for _ in range(steps):
        if optimizer.needs == "tasks":
            optimizer.step([(loss, loss)])
        elif optimizer.needs == "gradients":
            closure()
            optimizer.step()
        else:
            with enable_grad():
                optimizer.step(closure)


def optimizer_dtype(case: Case, cls: Any) -> None:
    for dtype in (np.float32, np.float64):
        params = parameters(dtype)
        before = [p.data.copy() for p in params]
        _descend(made_optimizer(case, cls, params), params, 2)
        assert {p.dtype for p in params} == {np.dtype(dtype)}
        assert any((p.data != b).any() for p, b in zip(params, before)), "two steps moved nothing"


def optimizer_repeats(case: Case, cls: Any) -> None:
    results = []
    for _ in range(2):
        params = parameters()
        _descend(made_optimizer(case, cls, params), params, 3)
        results.append(params)
    same(results[0], results[1])


def optimizer_state(case: Case, cls: Any) -> None:
    params = parameters()
    optimizer = made_optimizer(case, cls, params)
    _descend(optimizer, params, 3)
    copies = [Parameter(p.data.copy()) for p in params]
    again = made_optimizer(case, cls, copies)
    again.load_state_dict(copied(optimizer.state_dict()))
    before = random.state()
    _descend(optimizer, params, 3)
    random.load_state(before)
    _descend(again, copies, 3)
    same(copies, params)


def optimizer_device(case: Case, cls: Any) -> None:
    expected = parameters()
    _descend(made_optimizer(case, cls, expected), expected, 3)
    with fake_device():
        params = parameters(device=True)
        _descend(made_optimizer(case, cls, params), params, 3)
        assert all(isinstance(p.data, FakeArray) for p in params)
        same(params, expected, rtol=1e-9, atol=1e-12)


# -- schedulers -------------------------------------------------------------------------------------------------------


class _Target:
    def __init__(self) -> None:
        self.lr = 0.5


def _scheduler_values(scheduler: Any, bound: Any, steps: int) -> list[float]:
    values = []
    for i in range(steps):
        position = bound.position + 1
        if getattr(scheduler, "metric_driven", False):
            bound.step(position, 1.0 / (1 + i // 3))
        else:
            bound.step(position)
        values.append(float(bound.values[0]))
    return values


def _bound(case: Case, cls: Any) -> tuple[Any, Any]:
    scheduler = case.make(cls)
    scheduler.set_length(40)
    return scheduler, scheduler.bind(_Target())


def scheduler_repeats(case: Case, cls: Any) -> None:
    first, second = (_scheduler_values(*_bound(case, cls), 30) for _ in range(2))
    assert first == second
    assert np.isfinite(first).all()


def scheduler_state(case: Case, cls: Any) -> None:
    scheduler, bound = _bound(case, cls)
    _scheduler_values(scheduler, bound, 7)
    other, again = _bound(case, cls)
    again.load_state_dict(json.loads(json.dumps(bound.state_dict())))
    assert again.values == bound.values
    assert _scheduler_values(other, again, 5) == _scheduler_values(scheduler, bound, 5)


# -- regularizers -----------------------------------------------------------------------------------------------------


class _Model(Module):
    """Two affine maps with a tanh between: what a penalty is taken of."""

    names = ("first", "last")

    shapes: tuple[tuple[int, ...], ...] = ((4, 3), (2, 4))

    def __init__(self, dtype: Any, device: bool = False) -> None:
        rng = np.random.default_rng(2)
        for name, shape in zip(self.names, self.shapes):
            array = rng.normal(size=shape).astype(dtype)
            setattr(self, name, Parameter(FakeArray(array) if device else array))

    def forward(self, x: Any) -> Any:
        return (x @ getattr(self, self.names[0]).T).tanh() @ getattr(self, self.names[1]).T


def _model(case: Case, dtype: Any, device: bool = False) -> Any:
    """The model of a row's ``inputs``, ``(names of two weights, their shapes)``, or the plain one."""
    names, shapes = case.inputs((_Model.names, _Model.shapes))
    return type("_Named", (_Model,), {"names": names, "shapes": shapes})(dtype, device)


def _penalty(case: Case, regularizer: Any, model: Module, dtype: Any, device: bool = False) -> Any:
    detach = regularizer.attach(model)
    try:
        x = tensors(np.random.default_rng(4).normal(size=(6, 3)), dtype, False, device)
        random.seed(1)
        outputs = model(x)
        if regularizer.looks_at == "weights":
            return case.call(regularizer, model)
        targets = tensors(np.random.default_rng(5).normal(size=outputs.shape), dtype, False, device)
        seen = Seen(x, outputs, targets, lambda a, b: ((a - b) ** 2).mean())
        return case.call(regularizer, model, seen)
    finally:
        detach()


def regularizer_gradient(case: Case, cls: Any) -> None:
    if case.make(cls).looks_at == "steps":
        return
    model = _model(case, np.float64)
    names = model.names

    def function(*values: Any) -> Any:
        for name, value in zip(names, values):
            own = Parameter(value.data)
            own.node = value.node
            setattr(model, name, own)
        return _penalty(case, case.make(cls), model, np.float64)

    leaves = [Tensor(p.data.copy(), requires_grad=True) for p in model.parameters()]
    assert gradcheck(function, leaves, step=1e-5, rtol=1e-4, atol=1e-6)


def regularizer_dtype(case: Case, cls: Any) -> None:
    for dtype in (np.float32, np.float64):
        model, regularizer = _model(case, dtype), case.make(cls)
        if regularizer.looks_at == "steps":
            regularizer.project(model)
            assert {p.dtype for p in model.parameters()} == {np.dtype(dtype)}
        else:
            assert _penalty(case, regularizer, model, dtype).dtype == dtype


def regularizer_repeats(case: Case, cls: Any) -> None:
    results = []
    for _ in range(2):
        model, regularizer = _model(case, np.float64), case.make(cls)
        if regularizer.looks_at == "steps":
            regularizer.project(model)
            results.append(list(model.parameters()))
        else:
            results.append([_penalty(case, regularizer, model, np.float64)])
    same(results[0], results[1])


def regularizer_device(case: Case, cls: Any) -> None:
    def run(device: bool) -> list[Any]:
        model, regularizer = _model(case, np.float32, device), case.make(cls)
        if regularizer.looks_at == "steps":
            regularizer.project(model)
            return list(model.parameters())
        value = _penalty(case, regularizer, model, np.float32, device)
        if value.requires_grad:
            value.backward()
        return [value, *(p.grad for p in model.parameters() if p.grad is not None)]

    expected = run(False)
    with fake_device():
        found = run(True)
        assert all(isinstance(t.data, FakeArray) for t in found)
        same(found, expected, rtol=1e-3, atol=1e-4)


# -- gradient processors ----------------------------------------------------------------------------------------------


def _processed(case: Case, cls: Any, dtype: Any = np.float64, device: bool = False, processor: Any = None) -> Any:
    rng = np.random.default_rng(7)
    grads, weights = (
        {name: rng.normal(size=shape).astype(dtype) for name, shape in (("w", (4, 3)), ("b", (5,)))} for _ in range(2)
    )
    if device:
        grads, weights = ({n: FakeArray(a) for n, a in arrays.items()} for arrays in (grads, weights))  # type: ignore
    processor = case.make(cls) if processor is None else processor
    before = dict(grads)
    random.seed(2)
    processor.process(grads, weights) if processor.needs_parameters else processor.process(grads)
    assert all(grads[name] is array for name, array in before.items()), "gradients are changed in place"
    return grads


def processor_dtype(case: Case, cls: Any) -> None:
    for dtype in (np.float32, np.float64):
        assert {g.dtype for g in _processed(case, cls, dtype).values()} == {np.dtype(dtype)}


def processor_repeats(case: Case, cls: Any) -> None:
    same(list(_processed(case, cls).values()), list(_processed(case, cls).values()))


def processor_state(case: Case, cls: Any) -> None:
    processor = case.make(cls)
    for _ in range(2):
        _processed(case, cls, processor=processor)
    again = case.make(cls)
    again.load_state_dict(copied(processor.state_dict()))
    one, two = (list(_processed(case, cls, processor=p).values()) for p in (processor, again))
    same(one, two)


def processor_device(case: Case, cls: Any) -> None:
    expected = list(_processed(case, cls).values())
    with fake_device():
        same(list(_processed(case, cls, device=True).values()), expected, rtol=1e-9, atol=1e-12)


# -- callbacks --------------------------------------------------------------------------------------------------------


def callback_hooks(case: Case, cls: Any) -> None:
    """Its hooks are hooks that exist, with arguments that they have."""
    bus = Bus([case.make(cls)])
    bus.close()
