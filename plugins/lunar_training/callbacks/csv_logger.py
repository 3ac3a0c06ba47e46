"""Records as lines of a CSV file, as they come."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from lunar_core.component import field, one_of
from lunar_core.contracts.callback import Callback

from ..clock import Trigger
from ..linefile import LineFile


class CSVLogger(Callback):
    """Appends records to ``path``: one line per epoch, or with ``event="step"`` one for every ``every``-th step.

    ``every`` is a number of steps or a period of the clock, such as ``"1e5sample"`` or ``"10s"``. The columns are those of
    the first record. Lines reach the disk after each epoch. A relative ``path`` lies in the run directory if there is
    one. An existing file is overwritten; that of a run that is resumed goes on.
    """

    band: ClassVar[str] = "logger"
    draws: ClassVar[bool] = False

    path: str = field(default="metrics.csv", doc="file to write")
    event: str = field(default="epoch", validator=one_of("epoch", "step"), doc="which records")
    every: int | str = field(default=1, doc="of step records, those after so many steps, or such a period")

    _file: Any = None

    def __attrs_post_init__(self) -> None:
        self._trigger = Trigger(self.every, "CSVLogger: every")

    def lunar_setup(self) -> None:
        self._writer: csv.DictWriter[str] | None = None
        self._position: int | None = None
        self._columns: list[str] | None = None

    def lunar_fit_start(self, ctx: Any) -> None:
        path = self.path if ctx.run_dir is None else os.path.join(ctx.run_dir, self.path)
        self._file = LineFile(path, self._position)
        if self._columns is not None:
            self._writer = self._made()
        self._trigger.reset(ctx.clock)

    def state_dict(self) -> dict[str, Any]:
        """Where the file ends, and its columns."""
        if self._file is None:
            return {"position": self._position, "columns": self._columns}
        self._file.flush()
        return {"position": self._file.position, "columns": self._columns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave, before the file is opened."""
        self._position, self._columns = state["position"], state["columns"]

    def lunar_log(self, record: dict[str, Any], ctx: Any) -> None:
        if record["event"] != self.event or (self.event == "step" and not self._trigger.due(ctx.clock)):
            return
        if self._writer is None:
            self._columns = [name for name in record if name != "event"]
            self._writer = self._made()
            self._writer.writeheader()
        self._writer.writerow(record)

    def lunar_flush(self) -> None:
        self._file.flush()

    def lunar_fit_end(self) -> None:
        self._file.close()
        self._file = None

    def _made(self) -> csv.DictWriter[str]:
        columns = self._columns or []
        return csv.DictWriter(self._file, columns, restval="", extrasaction="ignore", lineterminator="\n")
