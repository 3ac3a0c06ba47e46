"""Lets the hooks of modules and ops reach into the engine while a run goes on.

The engine has a slot for module calls, one for ops and two for gradient rules. Each is filled only while something
implements the hooks behind it, so that a call costs what it costs without any of this; plugins that come or go in the
middle of a run (``ctx.bus.add``, ``ctx.bus.remove``) fill and empty them.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from lunar_core import autograd, backend
from lunar_core import module as modules
from lunar_core import op as ops
from lunar_core.autograd import storage
from lunar_core.modes import modes
from lunar_core.tensor import Tensor
from lunar_core.trees import tree_leaves, tree_map

from .context import Context


@contextlib.contextmanager
def engine_hooks(ctx: Context) -> Iterator[None]:
    """Fire the hooks of modules and ops of ``ctx.bus`` within the block."""
    bus = ctx.bus
    module, tracer = modules.slot.hook, ops.slot.tracer
    before, after = autograd.slot.before, autograd.slot.backward
    memory = _Memory(bus)
    on_module, on_op = _module_hook(ctx, module), _op_hook(ctx, tracer, memory)
    on_before, on_after = _rule_hooks(bus, before, after, memory)

    def any_of(*names: str) -> bool:
        return any(getattr(bus, name) is not None for name in names)

    def fill() -> None:
        allocated = any_of("alloc", "free")
        modules.slot.hook = on_module if any_of(*_MODULE_HOOKS) else module
        ops.slot.tracer = on_op if allocated or any_of("op_forward_pre", "op_forward_post") else tracer
        autograd.slot.before = on_before if any_of("op_backward_pre") else before
        autograd.slot.backward = on_after if allocated or any_of("op_backward_post") else after

    forget = bus.on_compile(fill)
    fill()
    try:
        yield
    finally:
        forget()
        memory.forget()
        modules.slot.hook, ops.slot.tracer = module, tracer
        autograd.slot.before, autograd.slot.backward = before, after


_MODULE_HOOKS = ("module_forward_pre", "module_forward_post", "module_backward_pre", "module_backward_post")


# -- modules -----------------------------------------------------------------------------------------------------------


class _Boundary(ops.Op):
    """Identity on any number of Tensors, whose gradient rule is a hook; no op of the catalogue."""

    def __init__(self, name: str, hook: Callable[[tuple[Any, ...]], Any]) -> None:
        vars(self).update(_template)
        self.name = name
        self.vjp = lambda F, g, saved, need: hook(tuple(g))

    def through(self, tree: Any) -> Any:
        """``tree`` with its Tensors behind one common node, if a gradient is to flow through any."""
        tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
        if not modes.grad or all(t.node is None for t in tensors):
            return tree
        arrays = tuple(t.data for t in tensors)
        made: Any = iter(self.several(arrays, arrays, tuple(t.node for t in tensors), {}))
        return tree_map(lambda leaf: next(made) if isinstance(leaf, Tensor) else leaf, tree)


def _plain_op() -> dict[str, Any]:
    """The attributes of an ordinary op that keeps nothing; it does not stay in the catalogue."""
    made = ops.Op("module_boundary", lambda xp, *xs: xs, abstract=lambda *xs: xs, samples=[ops.Sample((0.0,))])
    return vars(ops.OPS.pop(made.name))


_template = _plain_op()


def _module_hook(ctx: Context, outer: Any) -> Any:
    names: dict[int, str] = {}

    def path_of(module: Any) -> str:
        if id(module) not in names:  # the model may have been built, or replaced, in the meantime
            names.clear()
            names.update({id(m): name for name, m in ctx.model.named_modules()})
        return names.get(id(module), type(module).__name__)

    def backward(hook: str, module: Any, path: str) -> _Boundary:
        def filtered(grads: tuple[Any, ...]) -> Any:
            h = getattr(ctx.bus, hook)
            return grads if h is None else h(module, path, grads)

        return _Boundary(hook, filtered)

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], call: Any) -> Any:
        bus, path = ctx.bus, path_of(module)
        if bus.module_forward_pre is not None:
            args = bus.module_forward_pre(module, path, args)
            args = args if isinstance(args, tuple) else (args,)
        if bus.module_backward_post is not None:
            args = backward("module_backward_post", module, path).through(args)
        outputs = call(*args, **kwargs) if outer is None else outer(module, args, kwargs, call)
        if bus.module_backward_pre is not None:
            outputs = backward("module_backward_pre", module, path).through(outputs)
        if bus.module_forward_post is not None:
            outputs = bus.module_forward_post(module, path, args, outputs)
        return outputs

    return hook


# -- ops ---------------------------------------------------------------------------------------------------------------


def _op_hook(ctx: Context, outer: Any, memory: _Memory) -> Any:
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
            memory.note(outputs if type(outputs) is tuple else (outputs,))
            return outputs if bus.op_forward_post is None else bus.op_forward_post(op, inputs, outputs)
        finally:
            inside = False

    return hook


def _rule_hooks(bus: Any, outer_before: Any, outer_after: Any, memory: _Memory) -> tuple[Any, Any]:
    """What goes into the two slots for gradient rules. A module's boundary is no op."""

    def before(node: Any, g: Any) -> Any:
        if outer_before is not None:
            g = outer_before(node, g)
        h = bus.op_backward_pre
        if h is None or type(node.op) is _Boundary:
            return g
        several = type(g) is list
        grads = h(node.op, node, tuple(g) if several else (g,))
        return list(grads) if several else grads[0]

    def after(node: Any, results: Any) -> Any:
        if outer_after is not None:
            changed = outer_after(node, results)
            results = results if changed is None else changed
        if type(node.op) is _Boundary:
            return results
        memory.note(results)
        h = bus.op_backward_post
        return results if h is None else h(node.op, node, tuple(results))

    return before, after


class _Memory:
    """Says when an array that was made comes and goes."""

    def __init__(self, bus: Any) -> None:
        self.bus = bus
        self.live: dict[int, Any] = {}

    def note(self, values: Any) -> None:
        """Announce the owners of memory behind ``values`` (Tensors, arrays, None) that were not announced before."""
        bus, live = self.bus, self.live
        if bus.alloc is None and bus.free is None:
            return
        for value in values:
            array = value.data if isinstance(value, Tensor) else value
            if not backend.is_array(array):
                continue
            owner = storage(array)
            key = id(owner)
            if key in live:
                continue
            nbytes, device = owner.nbytes, backend.of(owner).device_of(owner)
            live[key] = weakref.ref(owner, self._releaser(key, nbytes, device))
            if bus.alloc is not None:
                bus.alloc(nbytes, device)

    def _releaser(self, key: int, nbytes: int, device: str) -> Callable[[Any], None]:
        def gone(_: Any) -> None:
            if self.live.pop(key, None) is not None and self.bus.free is not None:
                self.bus.free(nbytes, device)

        return gone

    def forget(self) -> None:
        """The run is over: nothing is announced any more."""
        self.live.clear()
