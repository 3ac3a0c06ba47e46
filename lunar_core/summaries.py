"""What a model is made of: its layers with shapes, parameters, arithmetic and memory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import backend
from . import module as modules
from . import op as ops
from .errors import HyperparameterError, LunarError
from .flops import VIEWS, flops
from .modes import modes, no_grad
from .module import Module, Parameter, _parts
from .op import Op, Spec, as_spec
from .selecting import plain_class
from .tensor import Tensor

_NUMBERS = ("parameters", "trainable", "parameter_bytes", "activation_bytes", "flops")


class Row:
    """One module: its ``path``, ``type``, the shapes of what it last gave (``output``), how often it was called, and what
    is its own, that of the modules below it left out: ``parameters``, ``trainable`` of them, ``parameter_bytes``,
    ``activation_bytes``, ``flops``."""

    def __init__(self, path: str, module: Module) -> None:
        self.path = path
        self.type = plain_class(module).__name__
        self.output: Any = None
        self.calls = 0
        self.parameters = self.trainable = self.parameter_bytes = 0
        self.activation_bytes = self.flops = 0

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain data."""
        return dict(vars(self))


class Summary:
    """What :func:`summary` gives: ``rows`` in the order of the model, ``total``, and a table when it is printed.

    ``uncounted`` names ops without a rule for their arithmetic, which count as 0, and how often they were applied.
    ``flops_by_op`` says which op does how much.
    """

    def __init__(
        self, rows: list[Row], flops_by_op: dict[str, int], uncounted: dict[str, int], depth: int | None
    ) -> None:
        self.rows = rows
        self.flops_by_op = flops_by_op
        self.uncounted = uncounted
        self.depth = depth

    @property
    def total(self) -> dict[str, int]:
        """The sums over all rows, and ``frozen``, the parameters that are not trained."""
        sums = {name: sum(getattr(row, name) for row in self.rows) for name in _NUMBERS}
        return {**sums, "frozen": sums["parameters"] - sums["trainable"]}

    def to_dict(self) -> dict[str, Any]:
        """Rows, totals, arithmetic by op and what was not counted, as plain data."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "total": self.total,
            "flops_by_op": dict(self.flops_by_op),
            "uncounted": dict(self.uncounted),
        }

    def folded(self) -> list[Row]:
        """The rows down to ``depth``; what lies deeper is counted with the module above it."""
        if self.depth is None:
            return self.rows
        kept: dict[str, Row] = {}
        for row in self.rows:
            parts = row.path.split(".") if row.path else []
            if len(parts) <= self.depth:
                kept[row.path] = new = Row.__new__(Row)
                vars(new).update(vars(row))
                continue
            while ".".join(parts) not in kept:
                parts.pop()
            above = kept[".".join(parts)]
            for name in _NUMBERS:
                setattr(above, name, getattr(above, name) + getattr(row, name))
        return list(kept.values())

    def __str__(self) -> str:
        head = ("layer", "type", "output", "parameters", "memory", "FLOPs")
        lines = [head]
        for row in self.folded():
            frozen = row.parameters - row.trainable
            count = f"{row.parameters:,}" + (
                " frozen" if frozen == row.parameters else f" ({frozen:,} frozen)" if frozen else ""
            )
            memory = row.parameter_bytes + row.activation_bytes
            times = f" x{row.calls}" if row.calls > 1 else ""
            lines.append(
                (
                    row.path or "(model)",
                    row.type + times,
                    _shown(row.output),
                    count if row.parameters else "",
                    _bytes(memory) if memory else "",
                    _quantity(row.flops) if row.flops else "",
                )
            )
        wide = [max(len(line[i]) for line in lines) for i in range(len(head))]
        rule = "-" * (sum(wide) + 2 * len(wide) - 2)
        texts = [
            "  ".join(f"{c:<{w}}" if i < 3 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(line, wide)))
            for line in lines
        ]
        total = self.total
        last = [
            f"parameters   {total['parameters']:,} ({total['trainable']:,} trained, {total['frozen']:,} frozen), "
            f"{_bytes(total['parameter_bytes'])}",
            f"activations  {_bytes(total['activation_bytes'])}",
            f"arithmetic   {_quantity(total['flops'])}FLOPs a forward pass (multiply and add: 2)",
        ]
        if self.uncounted:
            last.append(f"not counted  {', '.join(f'{name} x{n}' for name, n in sorted(self.uncounted.items()))}")
        return "\n".join(line.rstrip() for line in [texts[0], rule, *texts[1:], rule, *last])

    __repr__ = __str__


def summary(model: Module, *inputs: Any, dtype: Any = None, depth: int | None = None) -> Summary:
    """Layers of ``model`` with output shapes, parameters, bytes and floating-point operations of one forward pass.

    ``inputs`` are what the model is called with: Tensors, arrays, a :class:`Spec` or the shape of a whole batch,
    ``summary(model, (1, 3, 224, 224))``, for which ``dtype`` is that of the model's parameters by default. Nothing is
    computed: shapes are found by the ops' shape rules, so the summary of a large model takes no longer than of a small
    one; only an op whose result's shape depends on values is run, on zeros. The model is taken in evaluation mode, and
    is built if it is not, as by its first call.

    A parameter that is shared counts where it comes first; a module that is called twice does its work twice.
    ``activation_bytes`` are those of all arrays that ops made, views left out, as if none were freed: about what training
    keeps. How arithmetic is counted says :mod:`lunar_core.flops`. ``depth`` folds deeper rows of the printed table into
    those above them.

    Raises whatever the model raises on such inputs, as a ShapeError that says where.
    """
    if not isinstance(model, Module):
        raise HyperparameterError(f"summary: expected a Module, got {type(model).__name__}")
    if not inputs:
        shape = getattr(model, "input_shape", None)
        if shape is None:
            raise HyperparameterError(
                "summary: what is the model called with?", hint="summary(model, (1, 3, 224, 224)), or an input"
            )
        inputs = tuple(model.example())  # type: ignore[attr-defined]
    if all(isinstance(n, int) and not isinstance(n, bool) for n in inputs):
        inputs = (tuple(inputs),)
    counted = _Count(model)
    with no_grad(), _evaluating(model), counted:
        model(*[_input(x, model, dtype) for x in inputs])
    return counted.summary(depth)


class _Count:
    """Hears every call of a module and every op in its block; ops give arrays of the right shape without memory."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.rows: dict[int, tuple[Row, Module]] = {}  # with the module, so that its id stays its own
        self.stack: list[Module] = [model]
        self.by_op: dict[str, int] = {}
        self.uncounted: dict[str, int] = {}

    def __enter__(self) -> None:
        self.before = ops.slot.tracer, modules.slot.hook
        ops.slot.tracer, modules.slot.hook = self._op, self._call  # type: ignore[assignment]

    def __exit__(self, *exc: Any) -> None:
        ops.slot.tracer, modules.slot.hook = self.before

    def _row(self, module: Module) -> Row:
        return self.rows.setdefault(id(module), (Row("", module), module))[0]

    def _call(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], call: Any) -> Any:
        self.stack.append(module)
        try:
            out = call(*args, **kwargs)
        finally:
            self.stack.pop()
        row = self._row(module)
        row.output, row.calls = _described(out), row.calls + 1
        return out

    def _op(self, op: Op, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        out = _shaped(op, inputs, static)
        if out is None:
            out = op.apply(inputs, static)
        ins = [as_spec(x) if x is not None else None for x in inputs]
        ins = [x if isinstance(x, Spec) else None for x in ins]
        results = list(out) if isinstance(out, (tuple, list)) else [out]
        outs = [as_spec(r) for r in results]
        done = flops(op, ins, outs, static)
        row = self._row(self.stack[-1])
        if done is None:
            self.uncounted[op.name] = self.uncounted.get(op.name, 0) + 1
        elif done:
            self.by_op[op.name] = self.by_op.get(op.name, 0) + done
            row.flops += done
        if op.name not in VIEWS:
            row.activation_bytes += sum(math.prod(s.shape) * s.dtype.itemsize for s in outs)
        return out

    def summary(self, depth: int | None) -> Summary:
        rows, seen = [], set()
        for path, module in self.model.named_modules():
            row = self._row(module)
            row.path = path
            for _, p in _parts(vars(module)):
                if isinstance(p, Parameter) and id(p) not in seen:
                    seen.add(id(p))
                    row.parameters += p.size
                    row.trainable += p.size if p.requires_grad else 0
                    row.parameter_bytes += p.size * p.dtype.itemsize
            rows.append(row)
        known = set(map(id, rows))
        for other, _ in self.rows.values():  # of modules that forward made on the way
            if id(other) not in known:
                rows[0].flops += other.flops
                rows[0].activation_bytes += other.activation_bytes
        return Summary(rows, self.by_op, self.uncounted, depth)


def _shaped(op: Op, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
    """What the op gives, in shape and dtype: zeros that take no memory; None where only running it can tell."""
    if static.get("out") is not None:
        return None
    try:
        found = op.infer(*inputs, **static)
    except LunarError:
        raise
    except Exception:  # the shape depends on values, or the rule wants more than shapes
        return None
    like = next((x.data for x in inputs if isinstance(x, Tensor)), None)
    xp = np if like is None else backend.of(like).xp

    def empty(spec: Spec) -> Tensor:
        return Tensor(xp.broadcast_to(xp.zeros((), spec.dtype), spec.shape))

    several = isinstance(found, (tuple, list)) and not isinstance(found, Spec)
    return tuple(map(empty, found)) if several else empty(found)


@contextlib.contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        model.train()  # what was built meanwhile
        for module, training in before:
            module.training = training


def _input(x: Any, model: Module, dtype: Any) -> Any:
    if isinstance(x, Spec):
        dtype, x = x.dtype, x.shape
    if isinstance(x, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in x):
        first = next((p for _, p in model._named_tensors(Parameter)), None)
        like = None if first is None else first.data
        xp = np if like is None else backend.of(like).xp
        if dtype is None:
            dtype = modes.dtype if first is None else first.dtype
        return Tensor(xp.broadcast_to(xp.zeros((), np.dtype(dtype)), tuple(x)))
    return x


def _described(out: Any) -> Any:
    """Shapes in what a module gave, as plain data."""
    if isinstance(out, dict):
        return {key: _described(value) for key, value in out.items()}
    if isinstance(out, (list, tuple)) and not hasattr(out, "dtype"):
        return [_described(value) for value in out]
    shape = getattr(out, "shape", None)
    return tuple(shape) if shape is not None else None


def _shown(output: Any) -> str:
    if output is None:
        return "-"
    if isinstance(output, dict):
        return ", ".join(f"{key}: {_shown(value)}" for key, value in output.items())
    return ", ".join(map(_shown, output)) if isinstance(output, list) else str(output)


def _scaled(value: float, base: float, units: Sequence[str]) -> str:
    for unit in units:
        if value < base or unit == units[-1]:
            return f"{value:.4g} {unit}" if unit else f"{value:.4g} "
        value /= base
    return ""


def _bytes(value: float) -> str:
    return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def _quantity(value: float) -> str:
    return _scaled(value, 1000, ("", "k", "M", "G", "T", "P"))
