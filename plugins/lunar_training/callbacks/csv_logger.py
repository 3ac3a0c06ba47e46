"""Records as lines of a CSV file, as they come."""

from __future__ import annotations

import csv
import os
from typing import Any, ClassVar

from lunar_core.component import field, one_of, positive
from lunar_core.contracts.callback import Callback


class CSVLogger(Callback):
    """Appends records to ``path``: one line per epoch, or with ``event="step"`` one for every ``every``-th step.

    The columns are those of the first record. Lines reach the disk after each epoch. A relative ``path`` lies in the
    run directory if there is one. An existing file is overwritten.
    """

    band: ClassVar[str] = "logger"
    draws: ClassVar[bool] = False

    path: str = field(default="metrics.csv", doc="file to write")
    event: str = field(default="epoch", validator=one_of("epoch", "step"), doc="which records")
    every: int = field(default=1, validator=positive, doc="of step records, keep every n-th")

    def lunar_fit_start(self, ctx: Any) -> None:
        path = self.path if ctx.run_dir is None else os.path.join(ctx.run_dir, self.path)
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - closed in lunar_fit_end
        self._writer: csv.DictWriter[str] | None = None

    def lunar_log(self, record: dict[str, Any]) -> None:
        if record["event"] != self.event or (self.event == "step" and record["step"] % self.every):
            return
        if self._writer is None:
            columns = [name for name in record if name != "event"]
            self._writer = csv.DictWriter(self._file, columns, restval="", extrasaction="ignore", lineterminator="\n")
            self._writer.writeheader()
        self._writer.writerow(record)

    def lunar_flush(self) -> None:
        self._file.flush()

    def lunar_fit_end(self) -> None:
        self._file.close()
