"""Runs and their figures in one SQLite file, so that they can be listed, compared and followed while they go on.

The file is in WAL mode: many processes write and read it at the same time. Figures are rows (run, event, name, epoch, step,
time, value); what is no number (findings, histograms) is kept as JSON.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lunar_core.errors import DataError, SerializationError, UnknownNameError
from lunar_core.suggest import did_you_mean

from .rundir import plain

#: Where runs are kept unless told otherwise: ``LUNAR_STORE``, else this file in the current directory.
DEFAULT = "lunar-runs.sqlite"
VERSION = 1
SILENCE = 600.0  # seconds without a sign of life after which a run on another machine counts as dead

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, name TEXT NOT NULL, started REAL NOT NULL, seen REAL NOT NULL,
    ended REAL, status TEXT NOT NULL, reason TEXT, host TEXT, pid INTEGER, folder TEXT, config TEXT, environment TEXT);
CREATE TABLE IF NOT EXISTS figures (
    run INTEGER NOT NULL, event TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER, step INTEGER, time REAL, value REAL);
CREATE INDEX IF NOT EXISTS figures_by_name ON figures (run, event, name, step);
CREATE TABLE IF NOT EXISTS records (
    run INTEGER NOT NULL, event TEXT NOT NULL, epoch INTEGER, step INTEGER, time REAL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS records_by_event ON records (run, event);
"""


def default_path() -> str:
    """Where runs are kept unless told otherwise."""
    return os.environ.get("LUNAR_STORE") or DEFAULT


class Run(NamedTuple):
    """One run as it stands in the store, or in a run directory.

    ``status`` is running, completed, stopped, interrupted, error, or dead: it says that it runs, but its process is gone.
    Times are seconds since 1970; ``history`` has a row of figures for each epoch.
    """

    id: str
    name: str
    status: str
    reason: str | None
    started: float | None
    seconds: float | None
    folder: str | None
    config: dict[str, Any]
    history: list[dict[str, Any]]

    def best(self, name: str) -> float | None:
        """The best finite value of a figure over the epochs."""
        from .history import maximized

        values = [v for row in self.history if isinstance(v := row.get(name), (int, float)) and math.isfinite(v)]
        return None if not values else max(values) if maximized(name, "auto") else min(values)


class Store:
    """Runs in the file ``path``, which is made if it is not there, unless ``create=False``.

    Raises SerializationError for a file that is no such store, or that cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, create: bool = True) -> None:
        self.path = os.fspath(path or default_path())
        if not create and not os.path.exists(self.path):
            raise SerializationError(f"there is no run store {self.path}", hint='plugins=["sqlite_logger"] makes one')
        try:
            self._db = sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise SerializationError(f"{self.path} is a run store of version {version}, expected {VERSION}")
            if version == 0:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        except sqlite3.Error as exc:
            raise SerializationError(f"{self.path} is no run store: {exc}") from exc
        self._waiting: list[tuple[Any, ...]] = []
        self._told: list[tuple[Any, ...]] = []
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.flush()
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # -- writing -----------------------------------------------------------------------------------------------------

    def begin(self, name: str, config: Any = None, environment: Any = None, folder: str | None = None) -> int:
        """A run begins; gives the number under which to add to it."""
        now = time.time()
        key = os.urandom(4).hex()
        values = (key, name, now, now, "running", socket.gethostname(), os.getpid(), folder)
        texts = json.dumps(plain(config or {})), json.dumps(plain(environment or {}))
        with self._writing():
            row = self._db.execute(
                "INSERT INTO runs (id, name, started, seen, status, host, pid, folder, config, environment) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, *texts),
            )
        assert row.lastrowid is not None
        return row.lastrowid

    def add(self, run: int, record: Mapping[str, Any]) -> None:
        """Keep a record of a run. It reaches the file within about a second, with others."""
        now = time.time()
        event, epoch, step = str(record.get("event", "")), record.get("epoch"), record.get("step")
        rest = {}
        prefix = f"{record['name']}." if event in ("eval", "test") and "name" in record else ""
        for name, value in record.items():
            if name in ("event", "epoch", "step", "batch"):
                continue
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                number = float(value)
                # SQLite has no NaN: it becomes NULL, and infinities stay.
                self._waiting.append(
                    (run, event, prefix + name, epoch, step, now, None if math.isnan(number) else number)
                )
            else:
                rest[name] = value
        rest.pop("name", None) if prefix else None
        if rest:
            self._told.append((run, event, epoch, step, now, json.dumps(plain(rest))))
        if len(self._waiting) >= 2000 or time.monotonic() - self._flushed > 1.0:
            self.flush(run)

    def flush(self, run: int | None = None) -> None:
        """Write what waits; ``run`` is noted to be alive."""
        figures, self._waiting = self._waiting, []
        told, self._told = self._told, []
        self._flushed = time.monotonic()
        if figures or told or run is not None:
            with self._writing():
                self._db.executemany("INSERT INTO figures VALUES (?, ?, ?, ?, ?, ?, ?)", figures)
                self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", told)
                if run is not None:
                    self._db.execute("UPDATE runs SET seen = ? WHERE number = ?", (time.time(), run))

    def end(self, run: int, status: str, reason: str | None = None) -> None:
        """A run is over: ``status`` is completed, stopped, interrupted or error."""
        self.flush(run)
        with self._writing():
            self._db.execute(
                "UPDATE runs SET status = ?, reason = ?, ended = ? WHERE number = ?", (status, reason, time.time(), run)
            )

    # -- reading -----------------------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """All runs, the latest last."""
        return [self._run(row) for row in self._rows("SELECT * FROM runs ORDER BY number")]

    def find(self, text: str) -> Run:
        """The run whose id begins with ``text``, or else the latest of that name. UnknownNameError if there is none."""
        rows = (
            self._rows("SELECT * FROM runs WHERE id GLOB ? ORDER BY number", (text.replace("*", "") + "*",))
            if text
            else []
        )
        if len(rows) > 1 and len(text) < 8:
            raise UnknownNameError(
                f"{text!r} begins the ids of {len(rows)} runs: {', '.join(r['id'] for r in rows[:5])}"
            )
        rows = rows or self._rows("SELECT * FROM runs WHERE name = ? ORDER BY number", (text,))
        if not rows:
            known = [name for row in self._rows("SELECT id, name FROM runs") for name in (row["id"], row["name"])]
            raise UnknownNameError(
                f"no run {text!r} in {self.path}", hint=did_you_mean(text, known) or "lunar runs lists them"
            )
        return self._run(rows[-1])

    def curve(self, run: Run | str, name: str, event: str = "epoch") -> tuple[list[int], list[float]]:
        """(epochs or steps, values) of a figure; NaN where it was."""
        at = "epoch" if event == "epoch" else "step"
        rows = self._rows(
            f"SELECT figures.{at} AS place, value FROM figures JOIN runs ON runs.number = figures.run "
            f"WHERE runs.id = ? AND event = ? AND figures.name = ? ORDER BY figures.rowid",
            (run if isinstance(run, str) else run.id, event, name),
        )
        return [r["place"] for r in rows], [math.nan if r["value"] is None else r["value"] for r in rows]

    def names(self, run: Run | str, event: str = "epoch") -> list[str]:
        """The figures that a run has of an event."""
        rows = self._rows(
            "SELECT DISTINCT figures.name AS name FROM figures JOIN runs ON runs.number = figures.run "
            "WHERE runs.id = ? AND event = ? ORDER BY figures.name",
            (run if isinstance(run, str) else run.id, event),
        )
        return [row["name"] for row in rows]

    def told(self, run: Run | str, event: str) -> list[dict[str, Any]]:
        """What is no number in the records of an event, with ``epoch``, ``step`` and ``time``."""
        rows = self._rows(
            "SELECT records.epoch, records.step, records.time, data FROM records JOIN runs ON runs.number = records.run "
            "WHERE runs.id = ? AND event = ? ORDER BY records.rowid",
            (run if isinstance(run, str) else run.id, event),
        )
        return [{"epoch": r["epoch"], "step": r["step"], "time": r["time"], **json.loads(r["data"])} for r in rows]

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        cursor = self._db.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]

    def _run(self, row: dict[str, Any]) -> Run:
        history: dict[int, dict[str, Any]] = {}
        for r in self._rows(
            "SELECT name, epoch, step, value FROM figures WHERE run = ? AND event = 'epoch' ORDER BY rowid",
            (row["number"],),
        ):
            epoch = history.setdefault(r["epoch"], {"epoch": r["epoch"], "step": r["step"]})
            epoch[r["name"]] = math.nan if r["value"] is None else r["value"]
        status = "dead" if row["status"] == "running" and not _alive(row) else row["status"]
        end = row["ended"] or (row["seen"] if status == "dead" else time.time())
        config = json.loads(row["config"] or "{}")
        return Run(
            row["id"], row["name"], status, row["reason"], row["started"], end - row["started"], row["folder"], config,
            list(history.values()),
        )  # fmt: skip


def _alive(row: Mapping[str, Any]) -> bool:
    if row["host"] != socket.gethostname():
        return bool(time.time() - row["seen"] < SILENCE)
    try:
        os.kill(row["pid"], 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        pass
    return True


# -- run directories ---------------------------------------------------------------------------------------------------


def run_in(folder: str | os.PathLike[str]) -> Run:
    """The run of a run directory. Raises DataError where there is none."""
    path = Path(folder)
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
        history = json.loads((path / "history.json").read_text("utf-8")) if (path / "history.json").exists() else []
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} is no run directory: {exc}") from exc
    started = (path / "config.json").stat().st_mtime
    seconds = sum(row.get("seconds") or 0.0 for row in history)
    done = (path / "weights.safetensors").exists()
    return Run(
        path.name, path.name, "completed" if done else "unfinished", None, started, seconds, str(path), config, history
    )


def find_run(text: str, store: str | None = None) -> Run:
    """A run by the path of its directory, by its id or by its name in a store."""
    if os.path.isdir(text):
        return run_in(text)
    with Store(store, create=False) as opened:
        return opened.find(text)
