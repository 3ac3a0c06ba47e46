"""The size of weights and of their steps, parameter by parameter."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, non_negative

from .watching import Watching, chosen, histogram, norm, summary


class WeightStats(Watching):
    """Logs the weights after a step, and how far the step moved them.

    Figures for each parameter: ``weight_norm/NAME``, ``weight_mean/NAME``, ``weight_std/NAME``, ``weight_max/NAME``,
    ``weight_nonfinite/NAME``, and ``update_ratio/NAME``, the L2 norm of the change over that of the weights before it
    (about 1e-3 is usual). With ``bins``, ``weight_hist/NAME`` holds ``edges`` and ``counts``. The weights are copied in
    the batches that are looked at.
    """

    only: tuple[str, ...] = field(default=("*",), doc="glob patterns of parameter names")
    bins: int = field(default=0, validator=non_negative, doc="bins of histograms; 0: none")

    def look(self, ctx: Any) -> None:
        self._before: dict[str, Any] = {}

    def lunar_before_step(self, ctx: Any) -> None:
        if self.on:
            named = ((n, p) for n, p in ctx.model.named_parameters() if chosen(n, self.only))
            self._before = {name: parameter.data.copy() for name, parameter in named}

    def lunar_after_step(self, step: int, ctx: Any) -> None:
        if not self.on:
            return
        figures: dict[str, Any] = {}
        for name, parameter in ctx.model.named_parameters():
            before = self._before.get(name)
            if before is None:
                continue
            for what, value in summary(parameter.data).items():
                figures[f"weight_{what}/{name}"] = value
            size = norm(before)
            figures[f"update_ratio/{name}"] = norm(parameter.data - before) / size if size else 0.0
            if self.bins:
                figures[f"weight_hist/{name}"] = histogram(parameter.data, self.bins)
        self._before = {}
        self.tell(ctx, figures, step)
