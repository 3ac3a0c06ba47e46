"""Records into the run store."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.component import field
from lunar_core.contracts.callback import Callback

from ..rundir import describe, environment
from ..store import Store


class SQLiteLogger(Callback):
    """Keeps the run and all of its records in the run store, where ``lunar runs`` and ``lunar compare`` find them.

    The store is the file ``path``; by default ``LUNAR_STORE``, else ``lunar-runs.sqlite`` in the current directory. It
    takes many runs, of many processes at once. Records are written about once a second and after each epoch.
    """

    band: ClassVar[str] = "logger"
    draws: ClassVar[bool] = False

    path: str | None = field(default=None, doc="file of the store; None: the default")
    name: str | None = field(default=None, doc="name of the run; None: that of its directory or of the model")

    _store: Any = None
    run: int = 0

    def lunar_fit_start(self, ctx: Any) -> None:
        trainer = ctx.trainer
        config = {
            **ctx.config,
            "model": describe(ctx.model),
            "loss": describe(getattr(trainer, "loss", None)),
            "optimizers": [describe(o) for o in ctx.optimizers],
        }
        folder = None if ctx.run_dir is None else str(ctx.run_dir)
        name = self.name or (folder.rstrip("/").rpartition("/")[2] if folder else type(ctx.model).__name__)
        device = next((p.device for p in ctx.model.parameters()), "cpu")
        self._store = Store(self.path)
        self.run = self._store.begin(name, config, environment(ctx.bus.plugins(), device), folder)

    def lunar_log(self, record: dict[str, Any]) -> None:
        if self._store is not None:
            self._store.add(self.run, record)

    def lunar_flush(self) -> None:
        if self._store is not None:
            self._store.flush(self.run)

    def lunar_teardown(self, reason: str) -> None:
        store, self._store = self._store, None
        if store is not None:
            status, _, rest = reason.partition(": ")
            store.end(self.run, status, rest or None)
            store.close()
