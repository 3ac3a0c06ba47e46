"""Figures for TensorBoard."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from lunar_core.component import field
from lunar_core.contracts.callback import Callback
from lunar_core.errors import ConfigError


class TensorBoardLogger(Callback):
    """Writes scalars and histograms as event files that TensorBoard reads; needs the package tensorboardX.

    Step records appear as ``step/NAME``, epochs as ``epoch/NAME`` over the epochs, what instruments log by its own name.
    A relative ``path`` lies in the run directory if there is one.
    """

    band: ClassVar[str] = "logger"
    draws: ClassVar[bool] = False

    path: str = field(default="tensorboard", doc="directory to write to")

    _writer: Any = None

    def lunar_setup(self, stage: str) -> None:
        if stage == "fit":
            _writer_class()

    def lunar_fit_start(self, ctx: Any) -> None:
        path = self.path if ctx.run_dir is None else os.path.join(ctx.run_dir, self.path)
        self._writer = _writer_class()(path)

    def lunar_log(self, record: dict[str, Any]) -> None:
        writer, event = self._writer, record["event"]
        if writer is None:
            return
        at = record["epoch"] if event == "epoch" else record["step"]
        prefix = {"step": "step/", "epoch": "epoch/", "stats": ""}.get(event, f"{record.get('name', event)}/")
        for name, value in record.items():
            if name in ("event", "epoch", "step", "batch", "name"):
                continue
            if isinstance(value, (int, float)):
                writer.add_scalar(prefix + name, value, at)
            elif isinstance(value, str):
                writer.add_text(prefix + name, value, at)
            elif isinstance(value, dict) and {"edges", "counts"} <= value.keys():
                self._histogram(prefix + name, value, at)

    def _histogram(self, name: str, value: dict[str, Any], at: int) -> None:
        edges, counts = value["edges"], value["counts"]
        middles = [(a + b) / 2 for a, b in zip(edges, edges[1:])]
        self._writer.add_histogram_raw(
            name, min=edges[0], max=edges[-1], num=sum(counts), sum=sum(c * m for c, m in zip(counts, middles)),
            sum_squares=sum(c * m * m for c, m in zip(counts, middles)), bucket_limits=edges[1:], bucket_counts=counts,
            global_step=at,
        )  # fmt: skip

    def lunar_flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def lunar_fit_end(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as exc:
        raise ConfigError(
            "TensorBoardLogger needs the package tensorboardX", hint="pip install 'lunarlearn[tensorboard]'"
        ) from exc
    return SummaryWriter
