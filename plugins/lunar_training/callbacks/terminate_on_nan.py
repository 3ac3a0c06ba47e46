"""End the run in good order when the loss is lost."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.contracts.callback import Callback


class TerminateOnNaN(Callback):
    """Stops the run at the first loss that is NaN or infinite, instead of raising.

    The history and the run directory are written; the weights are those before the bad batch.
    """

    band: ClassVar[str] = "control"

    def lunar_loss_nonfinite(self, loss: float, ctx: Any) -> str:
        clock = ctx.clock
        ctx.stop(f"the loss was {loss} in epoch {clock.epoch + 1}, batch {clock.batch + 1} (step {clock.step + 1})")
        return "stop"
