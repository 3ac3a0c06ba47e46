"""Keep the epochs' records as data."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.contracts.callback import Callback


class HistoryRecorder(Callback):
    """Appends every epoch's record to ``ctx.history``. Part of every run of the Trainer."""

    band: ClassVar[str] = "logger"
    draws: ClassVar[bool] = False

    def lunar_log(self, record: dict[str, Any], ctx: Any) -> None:
        if record["event"] == "epoch":
            ctx.history.append({name: value for name, value in record.items() if name != "event"})
