"""What a run shows while it goes on: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, ClassVar

from lunar_core.component import field, one_of
from lunar_core.contracts.callback import Callback

REDRAW = 0.1  # seconds between two updates of a bar


class Progress(Callback):
    """Shows epochs, batches, figures and the time that is left.

    ``mode="auto"`` draws bars with rich when the output is a terminal and prints one line per epoch otherwise;
    ``"bars"``, ``"lines"`` and ``"off"`` say it outright. ``stream`` is a text file, default ``sys.stdout`` at the time
    of the run. rich is imported only when bars are drawn.
    """

    band: ClassVar[str] = "reader"
    draws: ClassVar[bool] = False

    mode: str = field(default="auto", validator=one_of("auto", "bars", "lines", "off"), doc="auto, bars, lines or off")
    stream: Any = field(default=None, config=False, doc="text file to write to")

    _next = 0.0
    show = None  # what draws, on the instance during a run

    def lunar_setup(self, stage: str) -> None:
        self.show = None
        if stage != "fit" or self.mode == "off":
            return
        stream = self.stream or sys.stdout
        bars = self.mode == "bars" or (self.mode == "auto" and is_terminal(stream))
        self.show = _Bars(stream) if bars else _Lines(stream)

    def lunar_fit_start(self, ctx: Any) -> None:
        if self.show is not None:
            self.show.begin(ctx)

    def lunar_stage_start(self, stage: str, loader: Any, ctx: Any) -> None:
        if self.show is not None:
            self.show.stage(stage, _length(loader), ctx)
        self._next = 0.0

    def lunar_batch_end(self, metrics: dict[str, Any], ctx: Any) -> None:
        now = time.perf_counter()
        if now >= self._next and self.show is not None:
            self._next = now + REDRAW
            self.show.batch(ctx.clock.batch + 1, metrics["loss"])

    def lunar_eval_batch_end(self) -> None:
        if self.show is not None:
            self.show.eval_batch()

    def lunar_log(self, record: dict[str, Any], ctx: Any) -> None:
        if self.show is None:
            return
        if record["event"] == "epoch":
            self.show.line(epoch_line(record, ctx.epochs))
        elif record["event"] == "diagnosis":
            self.show.line(f"{record['kind'].replace('_', ' ')}: {record['text']}. {record['suggestion']}.")

    def lunar_teardown(self, reason: str) -> None:
        if self.show is not None:
            if reason.startswith("stopped: "):
                self.show.line(reason)
            self.show.end()
            self.show = None


def epoch_line(record: dict[str, Any], epochs: int | None) -> str:
    """``epoch 3/10  loss 0.1234  accuracy 0.9731  val_loss ...  1.2 s``."""
    width = len(str(epochs or ""))
    parts = [f"epoch {record['epoch']:>{width}}{f'/{epochs}' if epochs else ''}"]
    for name, value in record.items():
        if name not in ("event", "epoch", "step", "sample", "seconds", "samples_per_second"):
            parts.append(f"{name} {figure(value)}")
    seconds = record["seconds"]
    return "  ".join([*parts, f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"])


def figure(value: Any) -> str:
    """A number for a line of text: four decimals, or four digits where that would say nothing."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def is_terminal(stream: Any) -> bool:
    """Whether bars can be drawn on ``stream``."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and os.environ.get("TERM") != "dumb"


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None


class _Lines:
    """One line per epoch."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def begin(self, ctx: Any) -> None:
        pass

    def stage(self, stage: str, total: int | None, ctx: Any) -> None:
        pass

    def batch(self, done: int, loss: float) -> None:
        pass

    def eval_batch(self) -> None:
        pass

    def line(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def end(self) -> None:
        pass


class _Bars(_Lines):
    """A bar for the epochs and one for the batches of the current pass; finished epochs stay as lines above them."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.console = Console(file=stream, highlight=False)
        self.bars = RichProgress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            refresh_per_second=1 / REDRAW,
        )
        self.evaluated = 0

    def begin(self, ctx: Any) -> None:
        self.epochs = self.bars.add_task("epochs", total=ctx.epochs, completed=ctx.clock.epoch, note="", rate="")
        self.batches = self.bars.add_task("training", total=None, note="", rate="")
        self.bars.start()

    def stage(self, stage: str, total: int | None, ctx: Any) -> None:
        self.evaluated = 0
        name = "training" if stage == "train" else "evaluating"
        self.bars.reset(self.batches, total=total, description=name, note="", rate="")
        self.started = time.perf_counter()
        # A pass that is resumed within an epoch did not do the batches before.
        self.skipped = getattr(ctx.clock, "batch", 0) if stage == "train" else 0

    def batch(self, done: int, loss: float) -> None:
        rate = self.rate(done - self.skipped)
        self.bars.update(self.batches, completed=done, note=f"loss {figure(loss)}", rate=rate)

    def eval_batch(self) -> None:
        self.evaluated += 1
        self.bars.update(self.batches, completed=self.evaluated, rate=self.rate(self.evaluated))

    def rate(self, done: int) -> str:
        """Batches a second of the current pass; seconds a batch where that is the larger."""
        took = time.perf_counter() - self.started
        if done < 1 or took <= 0:
            return ""
        return f"{done / took:.1f}/s" if done >= took else f"{took / done:.1f} s each"

    def line(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)
        if text.startswith("epoch"):
            self.bars.advance(self.epochs)

    def end(self) -> None:
        self.bars.stop()
