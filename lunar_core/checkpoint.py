"""Trading time for memory: ``y = lc.checkpoint(block, x)`` keeps no intermediate arrays of ``block``.

The block runs once as usual; then what its nodes kept is dropped and replaced by a note. When the backward pass reaches
the first of those nodes, the block runs again with the same random streams and each node finds its arrays in the new
run. Nodes, parents and hooks are those of the first run, so any order of gradients, ``lc.grad``, and checkpoints inside
checkpoints work as without it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from . import random
from .autograd import Deferred, Leaf, Node, Pick, clock, counter, written_at
from .errors import GradientError, InPlaceError
from .modes import _Mode, modes
from .tensor import Tensor


class _Watched(_Mode):
    watched = True


class _Block:
    """One checkpointed call: how to run it again, and the second run's nodes while they are needed."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.random = random.state()
        self.dtype, self.device, self.autocast = modes.dtype, modes.device, modes.autocast
        self.mode = _Mode if modes.autocast is None else _Watched
        self.written: list[Any] = []  # what the first run wrote in place, such as running statistics
        self.names: list[str] = []
        self.rerun: dict[int, Any] = {}
        self.clock = 0  # when the first run was through
        self.leaves: set[Leaf] = set()  # what the block read besides its arguments

    def own(self) -> dict[str, Any]:
        """What each run has for itself: conversions of parameters that were made outside would not be made again."""
        return {"autocast": self.autocast and self.autocast.renewed()}

    def done(self, nodes: list[Node]) -> None:
        """The first run is through: note what the second has to find again."""
        self.names = [node.op.name for node in nodes]
        self.leaves = {parent for node in nodes for parent in node.parents if isinstance(parent, Leaf)}
        self.clock = clock.now

    def check_inputs(self) -> None:
        """Raise if an argument or a parameter was written since the first run: the second would compute something else."""
        if self.clock == clock.now:
            return
        read = [leaf.tensor() for leaf in self.leaves]
        read += [a for a in (*self.args, *self.kwargs.values()) if isinstance(a, Tensor)]
        for tensor in read:
            if tensor is not None and written_at(tensor.data) > self.clock:
                raise InPlaceError(
                    f"checkpoint: a tensor of shape {tensor.shape} that the block reads was written in place since it "
                    f"ran: it was read at version {self.clock} and is now at version {written_at(tensor.data)}",
                    hint="write after backward(), or into a copy",
                )

    def saved(self, index: int) -> Any:
        if index not in self.rerun:
            self.check_inputs()
            before = random.state()
            kept = [(array, array.copy()) for array in self.written]
            random.load_state(self.random)
            try:
                with self.mode(grad=True, saving=None, dtype=self.dtype, device=self.device, **self.own()):
                    first = counter()
                    outputs = self.function(*[_again(a) for a in self.args], **self.kwargs)
            finally:
                random.load_state(before)
                for array, values in kept:  # written once: by the first run
                    array[...] = values
            nodes = _nodes_since(outputs, first)
            if [n.op.name for n in nodes] != self.names:
                raise GradientError(
                    "checkpoint: the second run of the block applied other ops than the first",
                    hint="the block must depend on its arguments, parameters and lunar_core.random only",
                )
            self.rerun = dict(enumerate(node.saved for node in nodes))
        return self.rerun.pop(index)


def _again(value: Any) -> Any:
    """The argument of the second run: the same memory, its own leaf, so that the second graph ends there."""
    if isinstance(value, Tensor) and value.node is not None:
        return Tensor(value.data, requires_grad=True)
    return value


def _nodes_since(outputs: Any, age: int) -> list[Node]:
    """The op nodes made after ``age`` from which ``outputs`` come, oldest first."""
    found: list[Node] = []
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    stack: list[Any] = [t.node for t in outputs if isinstance(t, Tensor) and t.node is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if isinstance(node, Leaf) or node.age < age:
            continue
        if not isinstance(node, Pick):
            found.append(node)
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(found, key=attrgetter("age"))


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, whose intermediate arrays are computed again in the backward pass.

    ``function`` gives a tensor or a tuple of tensors and must compute the same in both runs; dropout does, because the
    random streams are put back. What it writes in place, such as running statistics, is written once.
    Costs one more forward run; saves the memory of everything between its arguments and its results.
    """
    if not modes.grad:
        return function(*args, **kwargs)
    block = _Block(function, args, kwargs)
    first = counter()
    with _Mode(written=block.written, **block.own()):
        outputs = function(*args, **kwargs)
    if modes.written is not None:  # inside another block
        modes.written.extend(block.written)
    nodes = _nodes_since(outputs, first)
    block.done(nodes)
    for index, node in enumerate(nodes):
        node.saved = Deferred(functools.partial(block.saved, index))
    return outputs
