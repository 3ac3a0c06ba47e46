"""What a metric is: running totals that batches are added to and that two of a kind can be merged."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np

from .. import backend
from ..component import Component
from ..errors import DataError, DeviceError, HyperparameterError, StateError
from ..tensor import Tensor


class Metric(Component):
    """Base of all metrics (kind ``"metric"``, group ``lunar.metrics``).

    A metric is a set of totals that add: a subclass names them with their start values in ``totals``, adds to them in
    :meth:`add`, and turns them into the result in :meth:`result`. Batches of any size, in any order, divided over any
    number of workers, give the same value as all examples at once; there is no mean of means.

    ::

        class MeanAbsoluteError(Metric):
            totals = {"error": 0.0, "weight": 0.0}

            def add(self, pred, target, weight):
                error = abs(pred - target)
                self.error += (error * weight).sum() if weight is not None else error.sum()
                self.weight += weight.sum() if weight is not None else error.size

            def result(self):
                return self.error / self.weight

    A total may be a number or an array. On a GPU it may stay there: :meth:`add` gets raw arrays of one library, and
    nothing is copied to the host before :meth:`compute` or :meth:`state_dict`.
    """

    kind: ClassVar[str] = "metric"

    #: The totals' names and start values.
    totals: ClassVar[dict[str, Any]] = {}

    #: Whether more is better, for choosing the best epoch; None where neither is.
    higher_is_better: ClassVar[bool | None] = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self.reset()  # here, so that a subclass with an __init__ of its own need not think of it
        return self

    def reset(self) -> None:
        """Forget all examples."""
        for name, start in self.totals.items():
            setattr(self, name, copy.copy(start))
        self.seen = 0

    def update(self, pred: Any, target: Any, weight: Any = None) -> None:
        """Add a batch. ``pred`` and ``target`` are Tensors or arrays, ``weight`` one number per example.

        Raises:
            DataError: the batch does not fit the metric.
            DeviceError: the arrays are on different devices.
        """
        pred, target, weight = _raw(pred), _raw(target), None if weight is None else _raw(weight)
        devices = {backend.of(array).device_of(array) for array in (pred, target, weight) if array is not None}
        if len(devices) > 1:
            raise DeviceError(f"{type(self).__name__}: one batch on several devices: {', '.join(sorted(devices))}")
        count = len(pred) if pred.ndim else 1
        if weight is not None and weight.shape[:1] != (count,):
            raise DataError(
                f"{type(self).__name__}: expected one weight for each of {count} examples, got shape {weight.shape}"
            )
        if count:
            self.add(pred, target, weight)
            self.seen += count

    def add(self, pred: Any, target: Any, weight: Any) -> None:
        """Add the raw arrays of a batch to the totals; ``weight`` is an array whose first axis is N, or None.

        What does not fit is refused before the first total is touched.
        """
        raise NotImplementedError(f"{type(self).__name__} must define add")

    def result(self) -> float | dict[str, Any]:
        """The value of the totals, which are of one example at least."""
        raise NotImplementedError(f"{type(self).__name__} must define result")

    def compute(self) -> float | dict[str, Any]:
        """The metric over everything since the last reset. Raises :class:`DataError` when that is nothing."""
        if not self.seen:
            raise DataError(f"{type(self).__name__} has seen no example", hint="call update(pred, target) first")
        value = self.result()
        return value if isinstance(value, dict) else float(value)

    def merge(self, other: Metric) -> None:
        """Add the totals of another metric of the same class and hyperparameters, such as one of another worker."""
        if type(other) is not type(self) or other.config() != self.config():
            raise HyperparameterError(f"{self!r} cannot be merged with {other!r}: they do not count the same")
        for name in self.totals:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seen += other.seen

    def state_dict(self) -> dict[str, np.ndarray]:
        """The totals as host arrays."""
        state = {name: _host(getattr(self, name)) for name in self.totals}
        return state | {"seen": np.asarray(self.seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over totals that :meth:`state_dict` gave. Raises :class:`StateError` on other names."""
        if state.keys() != self.totals.keys() | {"seen"}:
            raise StateError(
                f"{type(self).__name__} expects the totals {sorted({*self.totals, 'seen'})}, got {sorted(state)}"
            )
        for name in self.totals:
            value = np.array(state[name])
            setattr(self, name, value if value.ndim else value.item())
        self.seen = int(state["seen"])


def _raw(value: Any) -> Any:
    raw = value.data if isinstance(value, Tensor) else value
    return raw if backend.is_array(raw) else np.asarray(raw)


def _host(value: Any) -> np.ndarray:
    return np.array(backend.of(value).to_numpy(value) if backend.is_array(value) else value)
