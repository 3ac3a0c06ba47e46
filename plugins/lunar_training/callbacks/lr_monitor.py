"""The learning rate among the figures."""

from __future__ import annotations

from typing import Any

from lunar_core.contracts.callback import Callback


class LRMonitor(Callback):
    """Adds ``lr`` to the records of steps and epochs, and ``lr_1``, ``lr_2``, ... where there are several optimizers.

    It is the rate that the next step will use.
    """

    def lunar_epoch_end(self, metrics: dict[str, Any], ctx: Any) -> dict[str, Any]:
        return {**metrics, **self.rates(ctx)}

    def lunar_log(self, record: dict[str, Any], ctx: Any) -> dict[str, Any] | None:
        return {**record, **self.rates(ctx)} if record["event"] == "step" else None

    def rates(self, ctx: Any) -> dict[str, float]:
        """Figure name -> learning rate."""
        return {f"lr_{i}" if i else "lr": float(optimizer.lr) for i, optimizer in enumerate(ctx.optimizers)}
