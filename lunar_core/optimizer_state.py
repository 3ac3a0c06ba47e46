"""The state of an optimizer as plain data, and back.

A *record* is what an optimizer keeps for one parameter: ``{"step": updates so far, name of a state array: array}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend
from .errors import LunarError, StateError
from .flat import Entry, FlatBuffer
from .fusion import is_half
from .parameter_groups import Group, checked
from .tensor import Tensor

if TYPE_CHECKING:
    from .contracts.optimizer import Optimizer

MASTER = "master"  # float32 values of parameters in half precision; no array of the rule's
_SHOWN = 8  # problems and names in one message


def collect(optimizer: Optimizer, copy: bool = False) -> dict[str, dict[str, Any]]:
    """The record of each parameter that is or was trained; the arrays are live unless ``copy``."""
    records = {name: dict(record) for name, record in optimizer._dormant.items()}
    for group in optimizer.groups:
        names = arrays_in_use(optimizer, group)
        for buffer in group.buffers:
            for name in names:
                optimizer._make_state(buffer, name)
            for entry in buffer.entries:
                step = entry.step if buffer.step is None else buffer.step
                own = [*names, MASTER] if MASTER in buffer.state else names
                records[entry.name] = {"step": step, **{name: buffer.state_view(entry, name) for name in own}}
    if copy:
        records = {
            key: {k: v if k == "step" else v.copy() for k, v in record.items()} for key, record in records.items()
        }
    return records


def put(optimizer: Optimizer, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write records into the buffers; what is not trained now keeps its record for later."""
    left = dict(records)
    for buffer, entry in _entries(optimizer):
        record = left.pop(entry.name, None)
        if record is None:
            continue
        buffer.spread_step()
        entry.step = record["step"]
        for name, value in record.items():
            if name == "step":
                continue
            optimizer._make_state(buffer, name)
            value = _on_device_of(entry.data, value)
            if name in entry.own:
                entry.own[name] = value.astype(entry.own[name].dtype)
            else:
                buffer.state_view(entry, name)[...] = value
    for group in optimizer.groups:
        for buffer in group.buffers:
            buffer.join_steps()
    optimizer._dormant = left


def arrays_in_use(optimizer: Optimizer, group: Group) -> list[str]:
    """The state arrays that exist for some parameter of the group."""
    made = {name for buffer in group.buffers for name in buffer.state}
    made.update(name for buffer in group.buffers for entry in buffer.entries for name in entry.own)
    return [name for name in optimizer.state if name in made]


def state_dict(optimizer: Optimizer) -> dict[str, Any]:
    """See :meth:`Optimizer.state_dict`."""
    groups = [{**g.values, "params": list(g.names), "arrays": arrays_in_use(optimizer, g)} for g in optimizer.groups]
    return {"groups": groups, "state": collect(optimizer)}


def load(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """See :meth:`Optimizer.load_state_dict`."""
    problems: list[str] = []
    values = _check_groups(optimizer, state, problems)
    if not problems:
        _check_records(optimizer, state, problems)
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        shown = "\n  ".join(problems[:_SHOWN])
        raise StateError(f"the state does not fit this {type(optimizer).__name__}:\n  {shown}{more}")
    for group, new in zip(optimizer.groups, values):
        group.values.update(new)
    optimizer._dormant = {}
    _forget(optimizer, state["state"])
    put(optimizer, state["state"])


def _forget(optimizer: Optimizer, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Drop the state arrays that ``records`` do not have, of a state from before the first step: they start anew."""
    for group in optimizer.groups:
        for buffer in group.buffers:
            named = {name for entry in buffer.entries for name in records.get(entry.name, ())}
            for name in [n for n in buffer.state if n not in named and n != MASTER]:
                del buffer.state[name]
                buffer.arguments = buffer.plan = None  # they hold it
            for entry in buffer.entries:
                for name in [n for n in entry.own if n not in records.get(entry.name, ())]:
                    del entry.own[name]


def _check_groups(optimizer: Optimizer, state: Any, problems: list[str]) -> list[dict[str, Any]]:
    """The groups' hyperparameters."""
    if not isinstance(state, Mapping) or not {"groups", "state"} <= state.keys():
        got = f"the keys {sorted(map(str, state))}" if isinstance(state, Mapping) else type(state).__name__
        problems.append(f"expected a dict with 'groups' and 'state', got {got}")
        return []
    if len(state["groups"]) != len(optimizer.groups):
        problems.append(f"expected {len(optimizer.groups)} groups, got {len(state['groups'])}")
        return []
    values = []
    for index, (group, given) in enumerate(zip(optimizer.groups, state["groups"])):
        expected = {*group.values, "params", "arrays"}
        if given.keys() != expected:
            problems += [f"group {index}: {name} is missing" for name in sorted(expected - given.keys())]
            problems += [f"group {index}: {name} is unexpected" for name in sorted(given.keys() - expected)]
            continue
        names = set(given["params"])
        if names != set(group.names):
            problems += [f"group {index}: parameter {name} is missing" for name in group.names if name not in names]
            problems += [f"group {index}: parameter {name} is unexpected" for name in sorted(names - {*group.names})]
        problems += [f"group {index}: no state array {n!r}" for n in given["arrays"] if n not in optimizer.state]
        try:
            values.append(checked(type(optimizer), {name: given[name] for name in group.values}, group.values))
        except LunarError as error:
            problems.append(f"group {index}: {error.message}")
    return values


def _check_records(optimizer: Optimizer, state: Mapping[str, Any], problems: list[str]) -> None:
    records = state["state"]
    trained = {entry.name: entry for _, entry in _entries(optimizer)}
    known = {name: p for group in optimizer.groups for name, p in zip(group.names, group.params)}
    problems += [f"the state of {name} is missing" for name in trained if name not in records]
    problems += [f"there is no parameter {name}" for name in records if name not in known]
    for given in state["groups"]:
        for name in given["params"]:
            record = records.get(name)
            if record is None or name not in known:
                continue
            expected = {"step", *given["arrays"]}
            problems += [f"{name}: {key} is missing" for key in sorted(expected - record.keys())]
            exact = {MASTER} if optimizer.master_weights and is_half(known[name].dtype) else set()
            problems += [f"{name}: {key} is unexpected" for key in sorted(record.keys() - expected - exact)]
            step = record.get("step", 0)
            if not isinstance(step, (int, np.integer)) or isinstance(step, bool) or step < 0:
                problems.append(f"{name}: step has to be a number of updates, got {step!r}")
            for key in [*given["arrays"], MASTER]:
                if key not in record:
                    continue
                own = trained[name].own.get(key) if name in trained else None
                shape = tuple(known[name].shape if own is None else own.shape)
                if tuple(np.shape(_raw(record[key]))) != shape and not _free_shape(optimizer, key, trained.get(name)):
                    problems.append(f"{name}: {key} has shape {tuple(np.shape(_raw(record[key])))}, expected {shape}")


def _free_shape(optimizer: Optimizer, key: str, entry: Entry | None) -> bool:
    """Whether nothing says which shape a state array has: made by a function, empty at first or of a frozen parameter."""
    start = optimizer.state.get(key) if isinstance(optimizer.state, Mapping) else None
    return callable(start) and (entry is None or not start(entry.data).size)


def _entries(optimizer: Optimizer) -> Iterator[tuple[FlatBuffer, Entry]]:
    for group in optimizer.groups:
        for buffer in group.buffers:
            for entry in buffer.entries:
                yield buffer, entry


def _raw(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _on_device_of(like: Any, value: Any) -> Any:
    """``value`` as an array of the library and device of ``like``."""
    value = _raw(value)
    if type(value) is type(like):
        return value
    host = backend.of(value).to_numpy(value) if backend.is_array(value) else np.asarray(value)
    owner = backend.of(like)
    return owner.from_numpy(host, owner.device_of(like))
