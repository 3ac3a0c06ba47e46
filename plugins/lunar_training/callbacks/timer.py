"""Where the time of a step goes."""

from __future__ import annotations

import time
from typing import Any

from .watching import Watching

PARTS = ("fetch", "forward", "loss", "backward", "gradients", "step", "other")


class Timer(Watching):
    """Adds up the seconds of the parts of training: fetch, forward, loss, backward, gradients, step, other, evaluate.

    Figures ``time/PART`` are the milliseconds of an average step since it last looked; ``seconds`` holds the sums of the
    run and :meth:`report` says them in a table. On a GPU it is the time of the host, which runs ahead of the device.
    """

    def lunar_setup(self, stage: str) -> None:
        if stage == "fit":
            self.seconds = dict.fromkeys((*PARTS, "evaluate"), 0.0)
            self.steps = 0
            self._told: tuple[dict[str, float], int] = dict(self.seconds), 0
            self._mark = self._eval = time.perf_counter()

    def _part(self, name: str) -> None:
        """What went on since the last mark was ``name``."""
        now = time.perf_counter()
        self.seconds[name] += now - self._mark
        self._mark = now

    def lunar_before_fetch(self) -> None:
        self._part("other")

    def lunar_stage_start(self, stage: str) -> None:
        if stage == "train":
            self._mark = time.perf_counter()

    def lunar_after_fetch(self) -> None:
        self._part("fetch")

    def lunar_before_forward(self, ctx: Any) -> None:
        if ctx.stage == "train":
            self._part("other")

    def lunar_after_forward(self, ctx: Any) -> None:
        if ctx.stage == "train":
            self._part("forward")

    def lunar_before_backward(self) -> None:
        self._part("loss")

    def lunar_after_backward(self) -> None:
        self._part("backward")

    def lunar_before_step(self) -> None:
        self._part("gradients")

    def lunar_after_step(self) -> None:
        self._part("step")
        self.steps += 1

    def lunar_eval_start(self) -> None:
        self._eval = time.perf_counter()

    def lunar_eval_end(self) -> None:
        self.seconds["evaluate"] += time.perf_counter() - self._eval
        self._mark = time.perf_counter()

    def lunar_batch_end(self, ctx: Any) -> None:
        self._part("other")
        if self.on and self.steps > self._told[1]:
            then, steps = self._told
            made = self.steps - steps
            figures = {f"time/{n}": 1e3 * (self.seconds[n] - then[n]) / made for n in PARTS}
            self._told = dict(self.seconds), self.steps
            self.tell(ctx, figures, ctx.clock.step)

    def report(self) -> str:
        """A table of the parts: seconds, milliseconds a step, share."""
        total = sum(self.seconds.values()) or 1.0
        lines = [f"{'part':<10} {'seconds':>9} {'ms/step':>9} {'share':>6}"]
        for name, value in sorted(self.seconds.items(), key=lambda item: -item[1]):
            each = 1e3 * value / max(self.steps, 1)
            lines.append(f"{name:<10} {value:>9.3f} {each:>9.3f} {value / total:>6.1%}")
        return "\n".join(lines)
