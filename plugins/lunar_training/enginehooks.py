"""Lets the hooks of modules and ops reach into the engine while a run goes on.

The engine has one slot for module calls and one for ops. They are filled only when something implements those hooks;
otherwise a call costs what it costs without any of this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from lunar_core import module as modules
from lunar_core import op as ops
from lunar_core.tensor import Tensor

from .context import Context


@contextlib.contextmanager
def engine_hooks(ctx: Context) -> Iterator[None]:
    """Fire ``lunar_module_forward_...`` and ``lunar_op_forward_...`` of ``ctx.bus`` within the block."""
    bus = ctx.bus
    saved = modules.slot.hook, ops.slot.tracer
    if bus.module_forward_pre is not None or bus.module_forward_post is not None:
        modules.slot.hook = _module_hook(ctx, saved[0])
    if bus.op_forward_pre is not None or bus.op_forward_post is not None:
        ops.slot.tracer = _op_hook(ctx, saved[1])
    try:
        yield
    finally:
        modules.slot.hook, ops.slot.tracer = saved


def _module_hook(ctx: Context, outer: Any) -> Any:
    names: dict[int, str] = {}

    def path_of(module: Any) -> str:
        if id(module) not in names:  # the model may have been built, or replaced, in the meantime
            names.clear()
            names.update({id(m): name for name, m in ctx.model.named_modules()})
        return names.get(id(module), type(module).__name__)

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Any) -> Any:
        bus, path = ctx.bus, path_of(module)
        if bus.module_forward_pre is not None:
            args = bus.module_forward_pre(module, path, args)
            args = args if isinstance(args, tuple) else (args,)
        outputs = call(*args, **kwargs) if outer is None else outer(module, args, kwargs, call)
        if bus.module_forward_post is not None:
            outputs = bus.module_forward_post(module, path, args, outputs)
        return outputs

    return hook


def _op_hook(ctx: Context, outer: Any) -> Any:
    inside = False  # an op that a hook applies itself fires no hooks

    def hook(op: Any, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        nonlocal inside
        go_on = op.apply if outer is None else lambda xs, kw: outer(op, xs, kw)
        # Raw arrays alone are a gradient rule at work, not the user's forward pass.
        if inside or not any(isinstance(value, Tensor) for value in inputs):
            return go_on(inputs, static)
        bus = ctx.bus
        inside = True
        try:
            if bus.op_forward_pre is not None:
                inputs = bus.op_forward_pre(op, inputs)
            outputs = go_on(inputs, static)
            return outputs if bus.op_forward_post is None else bus.op_forward_post(op, inputs, outputs)
        finally:
            inside = False

    return hook
