"""The FrozenCallback callback."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, non_negative
from lunar_core.contracts.callback import Callback


class FrozenCallback(Callback):
    """Adds noise to every weight after each step; its standard deviation is ``std`` times the learning rate."""

    std: float = field(default=0.01, validator=non_negative, doc="standard deviation, in units of the learning rate")

    def lunar_after_step(self, ctx: Any) -> None:
        rng, scale = ctx.rng("frozen_callback"), self.std * ctx.optimizer.lr
        for p in ctx.model.parameters():
            p.data += scale * rng.standard_normal(p.shape).astype(p.dtype)
