"""The size and the spread of gradients, parameter by parameter."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, non_negative

from .watching import Watching, chosen, histogram, summary


class GradientStats(Watching):
    """Logs the gradients as the optimizer gets them, after accumulation and clipping.

    Figures: ``grad_norm``, the L2 norm over all chosen parameters, and for each parameter ``grad_norm/NAME``,
    ``grad_mean/NAME``, ``grad_std/NAME``, ``grad_max/NAME`` (of absolute values) and ``grad_nonfinite/NAME``. With
    ``bins``, ``grad_hist/NAME`` holds ``edges`` and ``counts``.
    """

    only: tuple[str, ...] = field(default=("*",), doc="glob patterns of parameter names")
    bins: int = field(default=0, validator=non_negative, doc="bins of histograms; 0: none")

    def lunar_before_step(self, ctx: Any) -> None:
        if not self.on:
            return
        figures: dict[str, Any] = {}
        total = 0.0
        for name, parameter in ctx.model.named_parameters():
            if parameter.grad is None or not chosen(name, self.only):
                continue
            array = parameter.grad.data
            for what, value in summary(array).items():
                figures[f"grad_{what}/{name}"] = value
            total += figures[f"grad_norm/{name}"] ** 2
            if self.bins:
                figures[f"grad_hist/{name}"] = histogram(array, self.bins)
        self.tell(ctx, {"grad_norm": total**0.5, **figures})
