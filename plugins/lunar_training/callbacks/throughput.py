"""How fast a run goes."""

from __future__ import annotations

import time
from typing import Any

from .watching import Watching


class Throughput(Watching):
    """Logs the speed of training since it last looked.

    Figures: ``samples_per_second``, ``tokens_per_second`` (where targets are sequences), ``steps_per_second`` and
    ``wait_share``, the share of the time that was spent waiting for data. Evaluation between does not count.
    """

    def lunar_stage_start(self, stage: str, ctx: Any) -> None:
        if stage == "train":
            self._begin(ctx)

    def _begin(self, ctx: Any) -> None:
        clock = ctx.clock
        self._start, self._waited = time.perf_counter(), 0.0
        self._counts = clock.sample, clock.token, clock.step

    def lunar_after_fetch(self, wait_s: float) -> None:
        self._waited += wait_s

    def lunar_batch_end(self, ctx: Any) -> None:
        clock = ctx.clock
        if not self.on or clock.step == self._counts[2]:
            return
        took = max(time.perf_counter() - self._start, 1e-9)
        samples, tokens, steps = (
            now - then for now, then in zip((clock.sample, clock.token, clock.step), self._counts)
        )
        figures = {"samples_per_second": samples / took, "steps_per_second": steps / took}
        if tokens != samples:
            figures["tokens_per_second"] = tokens / took
        self.tell(ctx, {**figures, "wait_share": min(self._waited / took, 1.0)}, clock.step)
        self._begin(ctx)
