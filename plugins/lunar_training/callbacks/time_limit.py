"""Stop when the time is up."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from lunar_core.component import field
from lunar_core.contracts.callback import Callback
from lunar_core.errors import HyperparameterError

from ..clock import parse_period


class TimeLimit(Callback):
    """Stops the run in good order once ``fit`` has taken ``limit``, after the batch that is under way.

    The epoch that is cut short is still evaluated, logged and saved. A run that is resumed gets the whole time again.
    """

    band: ClassVar[str] = "control"

    limit: Any = field(doc='how long: "30min", "2h", "90s", or seconds')

    def __attrs_post_init__(self) -> None:
        self._period = parse_period(self.limit, "TimeLimit: limit", "second")
        if self._period.unit != "second":
            raise HyperparameterError(
                f"TimeLimit: limit must be a time, got {self.limit!r}", hint='"30min", "2h" or "90s"'
            )

    def lunar_fit_start(self) -> None:
        self._end = time.perf_counter() + self._period.count

    def lunar_batch_end(self, ctx: Any) -> None:
        if time.perf_counter() >= self._end:
            ctx.stop(f"the time limit of {self.limit} was reached")
