"""Watching one figure of the epochs' records for the callbacks that act on its best value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lunar_core.errors import HyperparameterError
from lunar_core.suggest import did_you_mean

from ..history import maximized


class Best:
    """The best value of a figure so far, and how many epochs ago that was."""

    def __init__(self, owner: str, monitor: str, mode: str, min_delta: float) -> None:
        self.owner = owner
        self.monitor = monitor
        self.sign = -1.0 if maximized(monitor, mode) else 1.0
        self.min_delta = min_delta
        self.value: float | None = None
        self.epoch: int | None = None
        self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """The best value so far and since when."""
        return {"value": self.value, "epoch": self.epoch, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.value, self.epoch, self.waited = state["value"], state["epoch"], int(state["waited"])

    def improved(self, record: dict[str, Any]) -> bool:
        """Take in an epoch's record; whether its figure is the best by more than ``min_delta``. NaN never is.

        Raises :class:`HyperparameterError` when the record has no such figure.
        """
        value = record.get(self.monitor)
        if not isinstance(value, (int, float)):
            figures = [
                name for name, v in record.items() if isinstance(v, (int, float)) and name not in ("epoch", "step")
            ]
            missing_val = self.monitor.startswith("val_") and not any(name.startswith("val_") for name in figures)
            raise HyperparameterError(
                f"{self.owner}: monitor={self.monitor!r} is no figure of this run; there are {', '.join(figures)}",
                hint="pass val= to fit()" if missing_val else did_you_mean(self.monitor, figures) or None,
            )
        better = math.isfinite(value) and (
            self.value is None or self.sign * value < self.sign * self.value - self.min_delta
        )
        if better:
            self.value, self.epoch, self.waited = float(value), record["epoch"], 0
        else:
            self.waited += 1
        return better
