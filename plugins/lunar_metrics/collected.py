"""The state of metrics that need every example at once."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError, StateError


class Collected(Metric):
    """Base of metrics that keep all examples, as columns that grow; a subclass names them in ``columns``.

    The arrays stay on the device that they came from until the value is computed. Memory grows with the examples: a
    million predictions of ten float32 scores take 60 MB.
    """

    columns: ClassVar[tuple[str, ...]] = ()

    def reset(self) -> None:
        super().reset()
        self._parts: dict[str, list[Any]] = {name: [] for name in self.columns}

    def keep(self, **arrays: Any) -> None:
        """Append the rows of a batch; every column has as many."""
        self._extend({name: [array] for name, array in arrays.items()})

    def _extend(self, more: dict[str, list[Any]]) -> None:
        for name, parts in self._parts.items():
            if parts and more[name] and parts[0].shape[1:] != more[name][0].shape[1:]:
                raise DataError(
                    f"{type(self).__name__}: a batch with {name} of shape {tuple(more[name][0].shape)} does not continue "
                    f"one of shape {tuple(parts[0].shape)}"
                )
        for name, parts in self._parts.items():
            parts.extend(more[name])

    def column(self, name: str) -> np.ndarray:
        """All rows of a column, on the host."""
        parts = [np.asarray(backend.of(part).to_numpy(part)) for part in self._parts[name]]
        return np.concatenate(parts) if parts else np.empty(0)

    def merge(self, other: Metric) -> None:
        if isinstance(other, type(self)):
            self._extend(other._parts)
        super().merge(other)

    def state_dict(self) -> dict[str, np.ndarray]:
        return super().state_dict() | {name: self.column(name) for name in self.columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        missing = set(self.columns) - state.keys()
        if missing:
            raise StateError(
                f"{type(self).__name__} expects the columns {sorted(self.columns)}, {sorted(missing)} is missing"
            )
        super().load_state_dict({name: value for name, value in state.items() if name not in self.columns})
        for name in self.columns:
            rows = np.array(state[name])
            self._parts[name] = [rows] if len(rows) else []
