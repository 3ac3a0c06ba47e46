"""Which ops and modules take the time of a step, as a table and as a trace to look at."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, ClassVar

from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.callback import Callback
from lunar_core.serialize import atomic_file
from lunar_core.tensor import Tensor


class Profiler(Callback):
    """Times every op, gradient rule, module and phase of ``steps`` training steps, after ``wait`` others.

    Writes a file in the Chrome trace format (open it in ui.perfetto.dev or chrome://tracing), where modules hold their
    ops, and says by :meth:`report` which ops took longest. A relative ``path`` lies in the run directory if there is one.
    Outside of these steps it costs nothing; within, about two microseconds an op, which its times include. On a GPU the
    times are those of the host, which runs ahead of the device.

    ``ops`` holds, for each name ("linear", "linear.backward"), ``[calls, seconds]``.
    """

    band: ClassVar[str] = "reader"
    draws: ClassVar[bool] = False

    path: str = field(default="trace.json", doc="file to write")
    wait: int = field(default=2, validator=non_negative, doc="steps before the first that is timed")
    steps: int = field(default=3, validator=positive, doc="steps that are timed")

    ears: Any = None

    def lunar_fit_start(self) -> None:
        self.ops: dict[str, list[float]] = {}
        self._done, self._seen = False, 0

    def lunar_before_fetch(self, ctx: Any) -> None:
        if self._done:
            return
        if self.ears is None and self._seen >= self.wait:
            self.ears = _Ears()
            ctx.bus.add(self.ears, "profiler.ears")
        elif self.ears is not None and self._seen >= self.wait + self.steps:
            self._finish(ctx)
        self._seen += 1

    def lunar_fit_end(self, ctx: Any) -> None:
        if self.ears is not None:
            self._finish(ctx)

    def _finish(self, ctx: Any) -> None:
        ears, self.ears, self._done = self.ears, None, True
        ctx.bus.remove(ears)
        for name, category, _, duration, _ in ears.events:
            if category == "op":
                total = self.ops.setdefault(name, [0, 0.0])
                total[0] += 1
                total[1] += duration
        path = self.path if ctx.run_dir is None else os.path.join(ctx.run_dir, self.path)
        with atomic_file(path) as file:
            file.write(json.dumps(chrome_trace(ears.events)).encode())

    def report(self, top: int = 20) -> str:
        """The ``top`` ops by their time: calls, milliseconds, microseconds a call, share."""
        total = sum(seconds for _, seconds in self.ops.values()) or 1.0
        lines = [f"{'op':<28} {'calls':>7} {'ms':>9} {'us/call':>9} {'share':>6}"]
        for name, (calls, seconds) in sorted(self.ops.items(), key=lambda item: -item[1][1])[:top]:
            share = seconds / total
            lines.append(
                f"{name:<28} {int(calls):>7} {1e3 * seconds:>9.3f} {1e6 * seconds / calls:>9.1f} {share:>6.1%}"
            )
        return "\n".join(lines)


def chrome_trace(events: list[tuple[str, str, float, float, dict[str, Any]]]) -> dict[str, Any]:
    """Events (name, category, start in s, duration in s, details) in the Trace Event Format, complete events ("X")."""
    origin = min((start for _, _, start, _, _ in events), default=0.0)
    process, thread = os.getpid(), threading.get_native_id()
    made = [
        {
            "name": name, "cat": category, "ph": "X", "ts": 1e6 * (start - origin), "dur": 1e6 * duration,
            "pid": process, "tid": thread, "args": details,
        }
        for name, category, start, duration, details in sorted(events, key=lambda event: event[2])
    ]  # fmt: skip
    return {"traceEvents": made, "displayTimeUnit": "ms"}


class _Ears:
    band = "reader"
    draws = False

    def __init__(self) -> None:
        self.events: list[tuple[str, str, float, float, dict[str, Any]]] = []
        self._open: list[tuple[str, str, float, dict[str, Any]]] = []
        self._paths = [""]

    def _begin(self, name: str, category: str, **details: Any) -> None:
        self._open.append((name, category, time.perf_counter(), details))

    def _end(self, name: str, category: str) -> None:
        now = time.perf_counter()
        # What began later and never ended was left by an exception.
        for i in range(len(self._open) - 1, -1, -1):
            if self._open[i][:2] == (name, category):
                _, _, start, details = self._open[i]
                del self._open[i:]
                self.events.append((name, category, start, now - start, details))
                return

    def lunar_batch_start(self, ctx: Any) -> None:
        self._begin("batch", "phase", step=ctx.clock.step + 1)

    def lunar_batch_end(self) -> None:
        self._end("batch", "phase")

    def lunar_before_forward(self) -> None:
        self._begin("forward", "phase")

    def lunar_after_forward(self) -> None:
        self._end("forward", "phase")

    def lunar_before_backward(self) -> None:
        self._begin("backward", "phase")

    def lunar_after_backward(self) -> None:
        self._end("backward", "phase")

    def lunar_before_step(self) -> None:
        self._begin("step", "phase")

    def lunar_after_step(self) -> None:
        self._end("step", "phase")

    def lunar_module_forward_pre(self, module: Any, path: str) -> None:
        self._paths.append(path)
        self._begin(path or type(module).__name__, "module", type=type(module).__name__)

    def lunar_module_forward_post(self, module: Any, path: str) -> None:
        self._end(path or type(module).__name__, "module")
        if len(self._paths) > 1:
            self._paths.pop()

    def lunar_op_forward_pre(self, op: Any, inputs: Any) -> None:
        shapes = [list(v.shape) for v in inputs if isinstance(v, Tensor)]
        self._begin(op.name, "op", module=self._paths[-1], shapes=shapes)

    def lunar_op_forward_post(self, op: Any) -> None:
        self._end(op.name, "op")

    def lunar_op_backward_pre(self, op: Any) -> None:
        self._begin(f"{op.name}.backward", "op")

    def lunar_op_backward_post(self, op: Any) -> None:
        self._end(f"{op.name}.backward", "op")
