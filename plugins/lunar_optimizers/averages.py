"""Parameters and their averages, which are state arrays of the same shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lunar_core.autograd import note_write
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.flat import Entry, FlatBuffer, Moved


def updated_entries(optimizer: Optimizer) -> Iterator[tuple[Any, FlatBuffer, Entry]]:
    """Every parameter that was updated at least once, in its place: (group, buffer, entry)."""
    optimizer.bind()
    try:
        optimizer._gather()
    except Moved:
        optimizer._rebuild()
    for group in optimizer.groups:
        for buffer in group.buffers:
            for entry in buffer.entries:
                if entry.step if buffer.step is None else buffer.step:
                    yield group, buffer, entry


def swap_state(optimizer: Optimizer, name: str) -> None:
    """Exchange each parameter that was updated with its state array ``name``, in place."""
    for _, buffer, entry in updated_entries(optimizer):
        array = buffer.state_view(entry, name)
        kept = entry.data.astype(array.dtype)
        entry.data[...] = array
        array[...] = kept
        note_write(entry.data)
