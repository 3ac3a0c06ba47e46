"""The graph and the walk backward through it.

A :class:`Node` stands for one applied op, a :class:`Leaf` for a tensor whose gradient is collected, a :class:`Pick` for
one result of an op that has several. Nodes carry a running number, so that sorting the reachable ones by it is a
topological order: there is no recursion, however deep the graph is.

A node keeps the raw arrays that its rule asked for. ``backward`` frees them. An in-place write advances one write clock
and notes the time for the memory that was written; a node whose kept array was written after the node was made refuses
to use it.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from .errors import GradientError, InPlaceError, ShapeError
from .modes import modes

if TYPE_CHECKING:
    from .op import Op
    from .tensor import Tensor

counter = itertools.count(1).__next__
_FREED: Any = type("Freed", (), {"__repr__": lambda self: "<freed>"})()
_by_age = attrgetter("age")


class Node:
    """One applied op: what made a tensor, from what, and what its gradient rule needs.

    ``parents`` are the nodes of the inputs (``None`` where no gradient flows); ``saved`` is what ``Op.save`` names,
    ``static`` the keyword arguments of the call; ``shape`` and ``dtype`` are those of the result.
    """

    __slots__ = ("age", "clock", "dtype", "grad", "hooks", "op", "parents", "saved", "shape", "static", "where")

    age: int
    op: Op
    parents: tuple[Any, ...]
    saved: Any
    static: dict[str, Any]
    shape: tuple[int, ...]
    dtype: Any
    hooks: list[Callable[[Tensor], Tensor | None]] | None
    clock: int
    grad: Any  # set by retain_grad
    where: str  # set by anomaly_mode

    @property
    def name(self) -> str:
        return self.op.name

    def add_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        return _add_hook(self, hook)

    def __repr__(self) -> str:
        return f"<Node {self.op.name} {self.shape}>"


class Leaf:
    """Where gradients end: the node of a tensor that requires a gradient and was not computed.

    ``buffer`` may be set by an optimizer to an array of the tensor's shape and dtype: the first gradient is then copied
    into it and later ones are added in place, so that the gradients of many parameters lie side by side. ``last`` is the
    gradient that lies there; whoever still keeps it when the next one comes gets a copy.
    """

    __slots__ = ("__weakref__", "age", "buffer", "grad", "hooks", "last", "tensor")
    parents = ()
    name = "leaf"

    def __init__(self, tensor: Tensor) -> None:
        self.age = counter()
        self.tensor = weakref.ref(tensor)
        self.grad: Tensor | None = None
        self.buffer: Any = None
        self.last: Tensor | None = None
        self.hooks: list[Callable[[Tensor], Tensor | None]] | None = None

    @property
    def shape(self) -> Any:
        tensor = self.tensor()
        return None if tensor is None else tensor.data.shape

    @property
    def dtype(self) -> Any:
        tensor = self.tensor()
        return None if tensor is None else tensor.data.dtype

    def add_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        return _add_hook(self, hook)

    def spare(self) -> None:
        """Before the buffer is written anew: move the gradient that somebody kept out of it."""
        last = self.last
        if last is not None and last.data is self.buffer and getrefcount(last) > _ALONE.kept:
            last.data = self.buffer.copy()
            self.last = None

    def accumulate(self, g: Any) -> None:
        """Add the raw gradient ``g``, which has the tensor's shape and dtype."""
        grad = self.grad
        if not g.shape:  # NumPy's arithmetic on arrays without axes gives scalars
            g = _as_array(g)
        if grad is None:
            if self.buffer is not None:
                last = self.last
                if (
                    last is None
                    or getrefcount(last) > _ALONE.kept
                    or last.data is not self.buffer
                    or last.node is not None
                ):
                    self.spare()
                    last = self.last = _wrap(self.buffer)
                self.buffer[...] = g
                self.grad = last
            # An array that somebody else still holds, or a view, could change under this gradient: it is copied.
            else:
                alone = getrefcount(g) <= _ALONE.given and g.base is None
                self.grad = _wrap(self._laid_out(g, alone))
        elif grad.node is None and (self.buffer is None or grad.data is self.buffer):
            grad.data += g
            if self.buffer is None:
                note_write(grad.data)
        else:
            self.grad = _wrap(grad.data + g)

    def _laid_out(self, g: Any, alone: bool) -> Any:
        """The gradient ``g`` in memory of its own that lies as the tensor's does, channels-last for example."""
        tensor = self.tensor()
        if tensor is None or tensor.data.flags.c_contiguous:
            return g if alone else g.copy()
        if alone and g.strides == tensor.data.strides:
            return g
        out = _empty_like(tensor.data)
        out[...] = g
        return out


class Pick:
    """The ``index``-th result of an op with several results; hands its gradient on to the op's node."""

    __slots__ = ("age", "dtype", "grad", "hooks", "index", "parents", "shape")

    def __init__(self, node: Node, index: int, array: Any) -> None:
        self.age = counter()
        self.parents = (node,)
        self.index = index
        self.shape = array.shape
        self.dtype = array.dtype
        self.hooks: list[Callable[[Tensor], Tensor | None]] | None = None

    @property
    def name(self) -> str:
        return f"{self.parents[0].name}[{self.index}]"

    def add_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        return _add_hook(self, hook)


class Result(NamedTuple):
    """In ``Op.save``: keep result ``index`` of an op that has several."""

    index: int  # type: ignore[assignment]  # a tuple has a method of that name


class Deferred:
    """In place of ``Node.saved``: the arrays are made when the rule needs them."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


class _Slot:
    """The slots for whoever wants to see every gradient rule at work.

    ``before(node, g)`` gives the gradient that the rule gets (a list of them for an op with several results), and
    ``backward(node, results)`` the results that are used in place of the rule's, or ``None`` to leave them.
    """

    __slots__ = ("backward", "before")

    def __init__(self) -> None:
        self.before: Callable[[Node, Any], Any] | None = None
        self.backward: Callable[[Node, Any], Any] | None = None


slot = _Slot()


def getrefcount(value: Any) -> int:
    return _getrefcount(value)


_getrefcount: Callable[[Any], int] = getattr(sys, "getrefcount", lambda value: sys.maxsize)


class _Alone:
    """How many owners :func:`getrefcount` reports of an object that nobody else keeps.

    ``kept``: of one in an attribute that was just read into a local name. ``given``: of a local of the caller that is an
    argument here. A call counts as an owner in CPython 3.11 and not where the interpreter borrows references, so both are
    measured.
    """

    def __init__(self) -> None:
        self.object: Any = [0]
        self.kept = self._kept()
        g: Any = [0]
        self.given = self._given(g)

    def _kept(self) -> int:
        value = self.object
        return getrefcount(value)

    def _given(self, g: Any) -> int:
        return getrefcount(g)


_ALONE = _Alone()


def _add_hook(node: Any, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
    if node.hooks is None:
        node.hooks = []
    node.hooks.append(hook)
    hooks = node.hooks
    return lambda: hooks.remove(hook) if hook in hooks else None


# -- the write clock ---------------------------------------------------------------------------------------------------


class _Clock:
    """Counts in-place writes; ``written`` maps the id of a memory owner to the time of its last write."""

    __slots__ = ("now", "written")

    def __init__(self) -> None:
        self.now = 0
        self.written: dict[int, tuple[int, weakref.ref[Any]]] = {}


clock = _Clock()


def storage(array: Any) -> Any:
    """The array that owns the memory of a view."""
    kind = type(array)
    while isinstance(array.base, kind):
        array = array.base
    return array


def note_write(array: Any) -> None:
    """Tell the graph that ``array``'s memory was written in place."""
    owner = storage(array)
    clock.now += 1
    if modes.written is not None:
        modes.written.append(array)
    key = id(owner)
    known = clock.written.get(key)
    if known is None or known[1]() is not owner:
        written = clock.written
        ref = weakref.ref(owner, lambda dead: written.pop(key) if written.get(key, (0, None))[1] is dead else None)
    else:
        ref = known[1]
    clock.written[key] = (clock.now, ref)


def written_at(array: Any) -> int:
    """The time of the last write to ``array``'s memory; 0 if it was never written in place."""
    owner = storage(array)
    known = clock.written.get(id(owner))
    return known[0] if known is not None and known[1]() is owner else 0


def _check_saved(node: Node) -> None:
    saved = node.saved if type(node.saved) is tuple else (node.saved,)
    if any([type(value) is tuple for value in saved]):  # the results of an op that has several
        saved = tuple(array for value in saved for array in (value if type(value) is tuple else (value,)))
    for array in saved:
        if hasattr(array, "strides") and written_at(array) > node.clock:
            raise InPlaceError(
                f"{node.op.name}: an array of shape {array.shape} that its gradient needs was written in place: it was "
                f"kept at version {node.clock} and is now at version {written_at(array)}",
                hint="write after backward(), or into a copy",
            )


# -- backward ----------------------------------------------------------------------------------------------------------

# Set by lunar_core.op and lunar_core.ops, which are imported later and know tensors and ops.
_unset: Any = None
_wrap: Callable[[Any], Tensor] = _unset  # raw array -> Tensor without a node
_tensor_type: Any = _unset  # Tensor
_differentiable: Any = _unset  # the namespace of rules under create_graph: lunar_core.ops
_raw_namespace: Callable[[Any], Any] = _unset  # raw array -> the namespace of rules in a plain backward pass


def _sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum a gradient, raw or Tensor, over the axes along which its input was broadcast to get ``g.shape``."""
    extra = len(g.shape) - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1)
    if not axes:
        return g.reshape(shape)
    if g.dtype.itemsize < 4 and g.dtype.kind in "fV":  # a running sum of halves stops growing at 256 or 2048
        return g.astype(np.float32).sum(axis=axes).reshape(shape).astype(g.dtype)
    return g.sum(axis=axes).reshape(shape)


def _cast(g: Any, dtype: Any) -> Any:
    """Convert a gradient, raw or Tensor; a real input takes the real part of a complex one."""
    if g.dtype.kind == "c" and dtype.kind != "c":
        g = g.real
    if g.dtype == dtype:
        return g
    return g.astype(dtype) if isinstance(g, _tensor_type) else _raw_namespace(g).cast(g, dtype=dtype)


def run_backward(
    outputs: Sequence[Tensor],
    seeds: Sequence[Tensor | None],
    *,
    inputs: Sequence[Tensor] | None = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> list[Any] | None:
    """Walk from ``outputs`` to the leaves.

    With ``inputs`` the gradients of those tensors are returned (``None`` where there is no path) and nothing is
    accumulated; without, every reachable leaf accumulates its own.
    """
    if retain_graph is None:
        retain_graph = create_graph
    grads: dict[Any, Any] = {}
    for output, seed in zip(outputs, seeds):
        node = output.node
        if node is None:
            raise GradientError(
                f"backward from a tensor of shape {output.shape} that does not require a gradient",
                hint="no input required one, or it was computed inside no_grad()",
            )
        g = _seed(output, seed)
        grads[node] = grads[node] + g if node in grads else g

    order = _reachable(list(grads))
    wanted = None
    captured: dict[Any, Any] = {}
    if inputs is not None:
        wanted = _wanted_nodes(order, inputs)

    # Values of a function transform are no arrays: their gradients are computed as tensors, whose own graph, further out,
    # is recorded as the caller's modes say.
    before = modes.grad
    carried = modes.level is not None and any([hasattr(output.data, "level") for output in outputs])
    tensors = create_graph or carried
    if not tensors:
        for root in grads:
            grads[root] = grads[root].data
    modes.grad = create_graph or (carried and before)
    buffers: dict[int, Any] = {}
    try:
        for node in order:
            g = grads.pop(node, None)
            if g is None:
                continue
            if node.hooks:
                g = _run_hooks(node, g, tensors)
            if wanted is not None and node in wanted[1]:
                captured[node] = g
            kind = type(node)
            if kind is Leaf:
                if wanted is None:
                    if tensors:
                        if node.last is not None and node.last is not node.grad:
                            node.spare()
                        node.grad = g if node.grad is None else node.grad + g
                    else:
                        node.accumulate(g)
                        if node.buffer is not None:
                            owner = storage(node.buffer)
                            buffers[id(owner)] = owner
            elif kind is Pick:
                parent = node.parents[0]
                if wanted is None or parent in wanted[0]:
                    slot = grads.setdefault(parent, [None] * parent.op.count_of(parent))
                    slot[node.index] = g if slot[node.index] is None else slot[node.index] + g
            else:
                _step(node, g, grads, create_graph, wanted, tensors)
                if not retain_graph:
                    node.saved = _FREED
                    node.parents = ()
    finally:
        modes.grad = before
        for owner in buffers.values():
            note_write(owner)
    if inputs is None:
        return None
    return [captured.get(tensor.node) if tensor.node is not None else None for tensor in inputs]


def _step(node: Node, g: Any, grads: dict[Any, Any], create_graph: bool, wanted: Any, tensors: bool) -> None:
    """Apply one node's rule and hand the results to its parents."""
    saved = node.saved
    if saved is _FREED:
        raise GradientError(
            f"{node.op.name}: its graph was freed by an earlier backward pass",
            hint="pass retain_graph=True to the earlier one",
        )
    if type(saved) is Deferred:
        saved = saved.make()
        while type(saved) is Deferred:
            saved = saved.make()
    elif node.clock != clock.now:
        _check_saved(node)
    op = node.op
    parents = node.parents
    count = len(parents)
    if wanted is None:
        if count == 1:
            need: tuple[bool, ...] = (True,)
        elif count == 2:
            need = (parents[0] is not None, parents[1] is not None)
        else:
            need = tuple([p is not None for p in parents])
    else:
        need = tuple([p in wanted[0] for p in parents])
        if True not in need:
            return
    if op.vjp is None:
        raise GradientError(f"{op.name} has no gradient rule", hint="use x.detach() where no gradient is meant to flow")
    if tensors:
        F = _differentiable
        saved = _as_tensors(node, saved, create_graph)
    else:
        F = _raw_namespace(g if type(g) is not list else next(gi for gi in g if gi is not None))
    if slot.before is not None:
        g = slot.before(node, g)
    if node.static:
        results = op.vjp(F, g, saved, need, **node.static)
    elif op.overwrites and not tensors and g.base is None and getrefcount(g) <= _ALONE.given:
        results = op.vjp(F, g, saved, need, into=g)  # nobody else sees that memory
    else:
        results = op.vjp(F, g, saved, need)
    if slot.backward is not None:
        changed = slot.backward(node, results)
        if changed is not None:
            results = changed
    if len(results) != count:
        raise GradientError(f"{op.name}: its gradient rule gave {len(results)} results for {count} inputs")
    for parent, needed, gi in zip(parents, need, results):
        if gi is None or not needed:
            continue
        if tensors and not create_graph and gi.node is not None:  # a rule that differentiates something itself
            gi = _wrap(gi.data)
        if type(parent) is Leaf:
            tensor = parent.tensor()
            if tensor is None:
                continue
            shape, dtype = tensor.data.shape, tensor.data.dtype
        else:
            shape, dtype = parent.shape, parent.dtype
        if gi.shape != shape:
            gi = _fit(op, gi, shape)
        if gi.dtype is not dtype:
            gi = _cast(gi, dtype)
        previous = grads.get(parent)
        grads[parent] = gi if previous is None else previous + gi


def _fit(op: Op, g: Any, shape: tuple[int, ...]) -> Any:
    if not op.broadcasts:
        raise ShapeError(f"{op.name}: its gradient rule gave shape {g.shape} for an input of shape {shape}")
    return _sum_to(g, shape)


def _as_tensors(node: Node, saved: Any, hang: bool) -> Any:
    """The kept arrays as Tensors; they hang in the graph where they came from, unless told otherwise."""
    indices = node.op.save
    if indices == "shapes":
        return saved
    if indices == "inputs":
        indices = tuple(range(len(saved)))
    if type(indices) is not tuple:
        return _as_tensor(node, saved, indices, hang)
    return tuple([_as_tensor(node, value, index, hang) for value, index in zip(saved, indices)])


def _as_tensor(node: Node, value: Any, index: Any, hang: bool) -> Any:
    if value is None or not hasattr(value, "strides"):
        if index == -1 and type(value) is tuple:  # the results of an op that has several
            return tuple([_as_result(node, i, array, hang) for i, array in enumerate(value)])
        return value
    if type(index) is Result:
        return _as_result(node, index.index, value, hang)
    tensor = _wrap(value)
    if not hang:
        return tensor
    if index == -1:
        tensor.node = node
    elif type(index) is int:
        tensor.node = node.parents[index]
    return tensor


def _as_result(node: Node, index: int, array: Any, hang: bool) -> Any:
    """One of several results as a Tensor in the graph; its gradient adds to what other uses of that result give."""
    tensor = _wrap(array)
    if hang and array.dtype.kind not in "biu":
        tensor.node = Pick(node, index, array)  # type: ignore[assignment]
    return tensor


def _reachable(roots: list[Any]) -> list[Any]:
    seen = set(roots)
    stack = list(seen)
    order = []
    while stack:
        node = stack.pop()
        order.append(node)
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    order.sort(key=_by_age, reverse=True)
    return order


def _wanted_nodes(order: list[Any], inputs: Sequence[Tensor]) -> tuple[set[Any], set[Any]]:
    """Nodes from which some input is reachable, and the inputs' own nodes."""
    targets = {tensor.node for tensor in inputs if tensor.node is not None}
    on_path = set(targets)
    for node in reversed(order):
        if node not in on_path and any(p in on_path for p in node.parents):
            on_path.add(node)
    return on_path, targets


def _seed(output: Tensor, seed: Any) -> Any:
    if seed is None:
        if output.data.size != 1:
            raise GradientError(
                f"backward from a tensor of shape {output.shape} needs a gradient of that shape",
                hint="reduce it to one number first, for example loss.mean().backward()",
            )
        g = _wrap(_ones_like(output.data))
    else:
        g = cast("Tensor", seed) if isinstance(seed, _tensor_type) else _wrap(_array_seed(seed, output))
        if g.shape != output.shape:
            raise ShapeError(f"backward: gradient of shape {g.shape} for a tensor of shape {output.shape}")
        if g.dtype != output.dtype:
            g = _cast(g, output.dtype)
    return g


def _array_seed(seed: Any, output: Tensor) -> Any:
    """A seed that is no Tensor: an array as it is; a number or list becomes an array of the output's library."""
    from . import backend

    if backend.is_array(seed):
        return seed
    try:
        array = np.asarray(seed, output.dtype)
    except (TypeError, ValueError):
        raise GradientError(
            f"backward: expected a gradient of shape {output.shape}, got {type(seed).__name__}",
            hint="y.backward(lc.ones_like(y))",
        ) from None
    owner = backend.of(output.data)
    return owner.from_numpy(array, owner.device_of(output.data))


def _as_array(value: Any) -> Any:
    return value if hasattr(value, "__setitem__") else np.asarray(value)


def _ones_like(array: Any) -> Any:
    from . import backend

    return backend.of(array).xp.ones_like(array)


def _empty_like(array: Any) -> Any:
    from . import backend

    return backend.of(array).xp.empty_like(array)


def _run_hooks(node: Any, g: Any, tensors: bool) -> Any:
    if type(g) is list:
        return g
    tensor = g if tensors else _wrap(g)
    for hook in tuple(node.hooks):
        result: Any = hook(tensor)
        if result is not None:
            if not isinstance(result, _tensor_type) or result.shape != tensor.shape:
                raise GradientError(
                    f"a gradient hook returned {getattr(result, 'shape', type(result).__name__)}, "
                    f"expected a Tensor of shape {tensor.shape} or None"
                )
            tensor = result
    return tensor if tensors else tensor.data
