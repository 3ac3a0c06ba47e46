"""A hook plugin that watches the gradients of every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import hookimpl


class FrozenInstrumentation:
    """Adds ``frozen_instrumentation``, the mean over an epoch of the largest gradient of each step, to the epoch's figures."""

    def __init__(self) -> None:
        self.largest: list[float] = []

    @hookimpl(band="editor")
    def lunar_fit_start(self) -> None:
        self.largest = []

    @hookimpl(band="editor")
    def lunar_grads_ready(self, grads: dict[str, Any]) -> None:
        self.largest.append(max(float(abs(g).max()) for g in grads.values()))

    @hookimpl(band="editor")
    def lunar_epoch_end(self, metrics: dict[str, Any]) -> dict[str, Any] | None:
        if not self.largest:
            return None
        mean, self.largest = float(np.mean(self.largest)), []
        return {**metrics, "frozen_instrumentation": mean}


frozen_instrumentation = FrozenInstrumentation()
"""What the entry point names. It takes part in every run until the user switches it off."""
