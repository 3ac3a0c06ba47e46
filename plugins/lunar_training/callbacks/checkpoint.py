"""Keep the weights of the best epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from lunar_core.component import field, non_negative, one_of
from lunar_core.contracts.callback import Callback

from ..rundir import write_weights
from .monitor import Best


class Checkpoint(Callback):
    """Writes the weights to ``path`` (safetensors, atomically) after each epoch in which ``monitor`` is best.

    Where an optimizer trains other weights than those to judge (EMA, SWA, schedule-free), the latter are written.
    ``monitor=None`` writes after every epoch. Any plugin may overrule by answering ``lunar_should_save``. A relative
    ``path`` lies in the run directory if there is one. A write that fails ends the run: the checkpoint before it is
    whole.
    """

    band: ClassVar[str] = "checkpoint"

    path: str = field(default="best.safetensors", doc="file to write")
    monitor: str | None = field(default="val_loss", doc="name of the figure in the epoch's record; None: every epoch")
    mode: str = field(default="auto", validator=one_of("auto", "min", "max"), doc="auto: min for losses and errors")
    min_delta: float = field(default=0.0, validator=non_negative, doc="what counts as an improvement")

    def lunar_setup(self, stage: str) -> None:
        if stage == "fit":
            self.best = Best("Checkpoint", self.monitor or "", self.mode, self.min_delta)
            self.wanted = False

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return self.best.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.best.load_state_dict(state)

    def lunar_log(self, record: dict[str, Any]) -> None:
        if record["event"] == "epoch":
            self.wanted = True if self.monitor is None else self.best.improved(record)

    def lunar_flush(self, ctx: Any) -> None:
        ask = ctx.bus.should_save
        answer = ask() if ask is not None else None
        if self.wanted if answer is None else answer:
            write_weights(ctx, self.path if ctx.run_dir is None else os.path.join(ctx.run_dir, self.path))
        self.wanted = False
