"""Draw the curves when the run is over."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from lunar_core.component import field
from lunar_core.contracts.callback import Callback


class HistoryPlot(Callback):
    """Saves the curves of the history as an image at the end of the run, if there is a run directory."""

    band: ClassVar[str] = "logger"
    draws: ClassVar[bool] = False

    name: str = field(default="history.png", doc="file in the run directory; the suffix is the format")

    def lunar_report_render(self, path: str, ctx: Any) -> None:
        if len(ctx.history):
            ctx.history.plot(os.path.join(path, self.name))
