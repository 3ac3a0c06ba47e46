"""Walks over an optimizer's parameters, for rules that need more than one array at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lunar_core.autograd import note_write
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.flat import Entry, FlatBuffer, Moved
from lunar_core.modes import enable_grad


class Place(NamedTuple):
    """A parameter's place in an optimizer; ``updates`` is how often it was updated so far."""

    group: Any
    buffer: FlatBuffer
    entry: Entry
    updates: int

    @property
    def gradient(self) -> Any:
        """Its gradient, in the dtype of the state."""
        return self.entry.grad.astype(self.buffer.state_dtype, copy=False)


def evaluated(closure: Callable[[], Any] | None) -> Any:
    """What a step's closure gives, called with gradients on; None without one."""
    if closure is None:
        return None
    with enable_grad():
        return closure()


def needs(optimizer: Any) -> str:
    """What a step of ``optimizer`` needs, as :class:`~lunar_core.contracts.optimizer.BaseOptimizer` says."""
    return str(getattr(optimizer, "needs", "gradients"))


def places(optimizer: Any) -> Iterator[Place]:
    """Every parameter that is trained, with its data and gradient in place; also of wrapped optimizers."""
    if not isinstance(optimizer, Optimizer):
        inner = vars(optimizer).get("optimizer")
        for part in optimizer.parts if inner is None else [inner]:
            yield from places(part)
        return
    optimizer.bind()
    try:
        optimizer._gather()
    except Moved:
        optimizer._rebuild()
        optimizer._gather()
    for group in optimizer.groups:
        for buffer in group.buffers:
            for entry in buffer.entries:
                yield Place(group, buffer, entry, entry.step if buffer.step is None else buffer.step)


def updated(optimizer: Optimizer) -> Iterator[Place]:
    """Those that were updated at least once."""
    return (place for place in places(optimizer) if place.updates)


def ready(optimizer: Any) -> Iterator[Place]:
    """Those that have a gradient, which the next step will update."""
    return (p for p in places(optimizer) if p.entry.leaf is not None and p.entry.leaf.grad is not None)


def state_of(optimizer: Optimizer, place: Place, name: str) -> Any:
    """A parameter's state array, made if it is not there yet."""
    if name not in place.buffer.state:
        optimizer._make_state(place.buffer, name)
    return place.buffer.state_view(place.entry, name)


def swap_state(optimizer: Optimizer, name: str) -> None:
    """Exchange each parameter that was updated with its state array ``name``, in place."""
    for place in updated(optimizer):
        data, array = place.entry.data, state_of(optimizer, place, name)
        kept = data.astype(array.dtype)
        data[...] = array
        array[...] = kept
        note_write(data)
