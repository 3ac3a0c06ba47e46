"""From the parts of a run to their states and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core.errors import LunarError, StateError


def state_of(value: Any) -> Any:
    """The state of a part: its ``state_dict()``, those of the items of a list or dict, or the plain data that it is."""
    if callable(getattr(value, "state_dict", None)):
        return value.state_dict()
    if isinstance(value, Mapping):
        return {key: state_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        states = [state_of(item) for item in value]
        return states if isinstance(value, list) else tuple(states)
    return value


def put_state(value: Any, state: Any, where: str) -> None:
    """The opposite of :func:`state_of`, as far as there are objects to load it into. Raises StateError that says where."""
    if callable(getattr(value, "load_state_dict", None)):
        try:
            value.load_state_dict(state)
        except LunarError as error:
            error.message = f"{where}: {error.message}"
            raise
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise StateError(f"{where}: the state does not fit: {type(error).__name__}: {error}") from error
    elif isinstance(value, Mapping) and any(_loads(item) for item in value.values()):
        if not isinstance(state, Mapping) or state.keys() != value.keys():
            got = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise StateError(f"{where}: expected the states of {', '.join(map(str, value))}, got {got or 'none'}")
        for key, item in value.items():
            put_state(item, state[key], f"{where}.{key}")
    elif isinstance(value, (list, tuple)) and any(_loads(item) for item in value):
        if not isinstance(state, (list, tuple)) or len(state) != len(value):
            got = str(len(state)) if isinstance(state, (list, tuple)) else type(state).__name__
            raise StateError(f"{where}: expected {len(value)} states, got {got}")
        for i, item in enumerate(value):
            put_state(item, state[i], f"{where}.{i}")


def refuse_averages(value: Any) -> None:
    """Raise StateError for an optimizer that has averages in the place of the weights that are trained."""
    for part in value if isinstance(value, (list, tuple)) else [value]:
        if getattr(part, "averaged", None) is True:
            raise StateError(
                f"the parameters are averages of {type(part).__name__} now, not what is trained",
                hint="call train() on the optimizer before the checkpoint, and pass averaged= to save the averages too",
            )


def _loads(value: Any) -> bool:
    return callable(getattr(value, "load_state_dict", None)) or isinstance(value, (Mapping, list, tuple))


def copies(files: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The arrays as they are now, on the host; what is one array stays one."""
    made: dict[int, Any] = {}
    result: dict[str, dict[str, Any]] = {}
    for file, arrays in files.items():
        result[file] = {}
        for name, array in arrays.items():
            if id(array) not in made:
                host = backend.of(array).to_numpy(array) if backend.is_array(array) else array
                made[id(array)] = np.array(host)
            result[file][name] = made[id(array)]
    return result
