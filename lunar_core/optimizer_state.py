"""The state of an optimizer as plain data, and back.

A *record* is what an optimizer keeps for one parameter: ``{"step": updates so far, name of a state array: array}``.
"""

from __future__ import annotations

import copy as copying
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend
from .errors import HyperparameterError, StateError
from .flat import Entry, FlatBuffer
from .parameter_groups import Group, checked
from .tensor import Tensor

if TYPE_CHECKING:
    from .contracts.optimizer import Optimizer


def _entries(optimizer: Optimizer) -> Iterator[tuple[Group, FlatBuffer, Entry]]:
    for group in optimizer.groups:
        for buffer in group.buffers:
            for entry in buffer.entries:
                yield group, buffer, entry


def _step(buffer: FlatBuffer, entry: Entry) -> int:
    return entry.step if buffer.step is None else buffer.step


def _arrays_in_use(optimizer: Optimizer, group: Group) -> list[str]:
    own = {name for buffer in group.buffers for entry in buffer.entries for name in entry.own}
    return [name for name in optimizer.state if name in own or any(name in buffer.state for buffer in group.buffers)]


def collect(optimizer: Optimizer, copy: bool = False) -> dict[str, Any]:
    """The record of each trained parameter by name; the arrays are live unless ``copy``."""
    records = {}
    for group in optimizer.groups:
        names = _arrays_in_use(optimizer, group)
        for buffer in group.buffers:
            for name in names:
                optimizer._make_state(buffer, name)
            for entry in buffer.entries:
                views = {name: buffer.state_view(entry, name) for name in names}
                views = {name: copying.copy(a) if np.isscalar(a) else a.copy() for name, a in views.items()} if copy else views
                records[entry.name] = {"step": _step(buffer, entry), **views}
    return records


def put(optimizer: Optimizer, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write records into the buffers; they have been checked. Parameters without one stay as they are."""
    for _, buffer, entry in _entries(optimizer):
        record = records.get(entry.name)
        if record is None:
            continue
        buffer.spread_step()
        entry.step = record["step"]
        for name, value in record.items():
            if name != "step":
                optimizer._make_state(buffer, name)
                view = buffer.state_view(entry, name)
                ...
