"""Parameters side by side in memory: one vector for their values, one for their gradients, one for each state array.

A :class:`FlatBuffer` takes parameters of one dtype and device. The parameters stay what they were; their arrays become
views of the vector, in the shape and memory order that they had, and ``backward`` leaves each gradient in its place in
the gradients' vector. An elementwise rule then runs over vectors instead of over thousands of little arrays.

What a user does to a parameter in between is noticed when the buffer is next used: an array or gradient that was
assigned is copied in, one of another dtype, shape or device raises :class:`Moved`, and the owner builds anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import backend
from .autograd import Leaf, note_write
from .fusion import empty_aligned, is_half

_ALIGN = 64  # bytes: every parameter starts at a cache line, as BLAS and vector instructions like it


class Moved(Exception):
    """A parameter no longer fits its place in the buffer."""


class Entry:
    """One parameter's place: ``data`` and ``grad`` are its views, from ``start`` to ``stop`` in the vectors."""

    __slots__ = ("data", "grad", "leaf", "name", "own", "parameter", "start", "step", "stop")

    def __init__(self, name: str, parameter: Any, start: int) -> None:
        self.name = name
        self.parameter = parameter
        self.start = start
        self.stop = start + parameter.size
        self.step = 0  # updates so far
        self.leaf: Leaf | None = None
        self.data: Any = None
        self.grad: Any = None
        self.own: dict[str, Any] = {}  # state arrays that are not shaped like the parameter


class FlatBuffer:
    """Vectors for the values, the gradients and the state of ``named`` parameters, which share dtype and device."""

    def __init__(self, named: Sequence[tuple[str, Any]]) -> None:
        first = named[0][1].data
        owner = backend.of(first)
        self.xp = owner.xp
        self.dtype: np.dtype = first.dtype
        self.state_dtype = np.dtype(np.float32) if is_half(self.dtype) else self.dtype
        self.device = owner.device_of(first)
        self.entries: list[Entry] = []
        step = max(1, _ALIGN // self.dtype.itemsize)
        size = 0
        for name, parameter in named:
            entry = Entry(name, parameter, size)
            self.entries.append(entry)
            size = entry.stop + -entry.stop % step
        self.size = size
        self.data = self._zeros(self.dtype)
        self.grad = self._zeros(self.dtype)
        self.state: dict[str, Any] = {}
        #: The number of updates of all entries while it is one number, else None.
        self.step: int | None = 0
        #: What the optimizer remembers between steps: its rule's arguments, and the plan that it ran last.
        self.arguments: list[Any] | None = None
        self.plan: Any = None
        for entry in self.entries:
            array = entry.parameter.data
            entry.data = view_like(self.data[entry.start : entry.stop], array)
            entry.grad = view_like(self.grad[entry.start : entry.stop], array)
            entry.data[...] = array
            entry.parameter.data = entry.data
            self._take_leaf(entry)

    def _zeros(self, dtype: np.dtype) -> Any:
        if self.xp is not np:
            host = np.zeros(self.size, dtype)
            return backend.for_device(self.device).from_numpy(host, self.device)
        vector = empty_aligned(self.size, dtype)
        vector[:] = 0
        return vector

    def add_state(self, name: str, value: float = 0.0) -> Any:
        """Make the vector of a state array, filled with ``value``."""
        vector = self._zeros(self.state_dtype)
        if value:
            vector[...] = value
        self.state[name] = vector
        return vector

    def take_over(self, name: str) -> None:
        """Let a state array that holds the values more exactly follow those that were written from outside."""
        wide = self.state[name]
        changed = wide.astype(self.dtype) != self.data
        if bool(changed.any()):
            wide[...] = self.xp.where(changed, self.data.astype(wide.dtype), wide)

    def state_view(self, entry: Entry, name: str) -> Any:
        """One parameter's part of a state array, in the parameter's shape."""
        if name in entry.own:
            return entry.own[name]
        return view_like(self.state[name][entry.start : entry.stop], entry.data)

    # -- gradients ---------------------------------------------------------------------------------------------------

    def gather(self) -> bool:
        """Bring in what was assigned from outside; whether every parameter has a gradient, which then is in place."""
        complete = True
        for entry in self.entries:
            parameter = entry.parameter
            if parameter.data is not entry.data:
                self._take_data(entry)
            leaf = parameter.node
            if leaf is not entry.leaf:
                self._take_leaf(entry)
            grad = None if leaf is None else leaf.grad
            if grad is None:
                complete = False
            elif grad.data is not entry.grad:
                self._copy_in(entry.grad, grad.data)
        return complete

    def runs(self) -> Iterator[list[Entry]]:
        """Neighbours that have a gradient and were updated equally often, after :meth:`gather`."""
        run: list[Entry] = []
        for entry in self.entries:
            has_grad = entry.leaf is not None and entry.leaf.grad is not None
            if run and not (has_grad and entry.step == run[0].step):
                yield run
                run = []
            if has_grad:
                run.append(entry)
        if run:
            yield run

    def spread_step(self) -> None:
        """Count the updates of each entry by itself from now on."""
        if self.step is not None:
            for entry in self.entries:
                entry.step = self.step
            self.step = None

    def join_steps(self) -> None:
        """Count the updates of all entries together again, if they are the same."""
        steps = {entry.step for entry in self.entries}
        if len(steps) == 1:
            self.step = steps.pop()

    def clear_gradients(self) -> None:
        """Forget all gradients; their memory stays."""
        for entry in self.entries:
            leaf = entry.parameter.node
            if leaf is not None:
                leaf.grad = None

    # -- what comes from outside -------------------------------------------------------------------------------------

    def _take_data(self, entry: Entry) -> None:
        array = entry.parameter.data
        if type(array) is not type(entry.data) or array.dtype != self.dtype or array.shape != entry.data.shape:
            raise Moved
        if backend.of(array).device_of(array) != self.device:
            raise Moved
        entry.data[...] = array
        note_write(entry.data)
        entry.parameter.data = entry.data

    def _take_leaf(self, entry: Entry) -> None:
        node = entry.parameter.node
        entry.leaf = node if isinstance(node, Leaf) else None
        if entry.leaf is not None:
            entry.leaf.buffer = entry.grad

    def _copy_in(self, target: Any, array: Any) -> None:
        if type(array) is not type(target):
            owner = backend.of(target)
            array = owner.from_numpy(backend.of(array).to_numpy(array), self.device)
        target[...] = array


def view_like(vector: Any, array: Any) -> Any:
    """``vector`` as an array of the shape of ``array`` and with its order of axes in memory, where that is dense."""
    strides = array.strides
    axes = sorted(range(array.ndim), key=lambda i: (-strides[i], i))
    dense = vector.reshape([array.shape[i] for i in axes])
    return dense.transpose(sorted(range(array.ndim), key=axes.__getitem__))
