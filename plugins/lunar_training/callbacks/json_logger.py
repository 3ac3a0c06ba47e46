"""Records as lines of JSON, as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from lunar_core.component import field
from lunar_core.contracts.callback import Callback

from ..linefile import LineFile
from ..rundir import plain


class JSONLogger(Callback):
    """Appends every record of the chosen ``events`` to ``path``, one JSON object a line.

    What JSON lacks becomes text ("nan", "inf"). Lines reach the disk after each epoch. A relative ``path`` lies in the
    run directory if there is one. An existing file is overwritten; that of a run that is resumed goes on.
    """

    band: ClassVar[str] = "logger"
    draws: ClassVar[bool] = False

    path: str = field(default="records.jsonl", doc="file to write")
    events: tuple[str, ...] | None = field(default=None, doc="which records; None: all")

    _file: Any = None
    _position: Any = None

    def lunar_setup(self) -> None:
        self._position = None

    def lunar_fit_start(self, ctx: Any) -> None:
        path = self.path if ctx.run_dir is None else os.path.join(ctx.run_dir, self.path)
        self._file = LineFile(path, self._position)

    def state_dict(self) -> dict[str, Any]:
        """Where the file ends."""
        self.lunar_flush()
        return {"position": self._position if self._file is None else self._file.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave, before the file is opened."""
        self._position = state["position"]

    def lunar_log(self, record: dict[str, Any]) -> None:
        if self._file is not None and (self.events is None or record["event"] in self.events):
            self._file.write(json.dumps(plain(record)) + "\n")

    def lunar_flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def lunar_fit_end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
