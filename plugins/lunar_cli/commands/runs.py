"""``lunar runs``: the runs that were made here."""

from __future__ import annotations

import time
from typing import Any

import click


@click.command()
@click.argument("pattern", default="*")
@click.option(
    "--store", type=click.Path(dir_okay=False), help="The run store; by default LUNAR_STORE or lunar-runs.sqlite."
)
@click.option("--folder", default="runs", show_default=True, help="Where run directories lie.")
@click.option("--show", is_flag=True, help="Show the figures of each epoch and what was diagnosed.")
def runs(pattern: str, store: str | None, folder: str, show: bool) -> None:
    """List the runs whose name or id fits PATTERN, the latest last.

    They come from the run store, which the callback sqlite_logger writes, and from the run directories below --folder. A
    run that says it is running while its process is gone is shown as dead.
    """
    import fnmatch

    from lunar_cli.console import table
    from lunar_core.errors import UnknownNameError

    found = [
        run for run in _all(store, folder) if fnmatch.fnmatch(run.name, pattern) or fnmatch.fnmatch(run.id, pattern)
    ]
    if not found:
        if pattern != "*":
            raise UnknownNameError(f"no run fits {pattern!r}", hint="lunar runs lists them all")
        click.echo("There are no runs yet.", err=True)
        return
    if show:
        for run in found:
            _show(run, store)
        return
    rows = [
        (run.id, run.name, run.status, _when(run.started), _took(run.seconds), str(len(run.history)), _last(run))
        for run in found
    ]
    columns = ("id", "name", "status", "started", "took", "epochs", "last epoch")
    table(columns, rows, {"id": "cyan", "started": "dim", "took": "dim"})


def _all(store: str | None, folder: str) -> list[Any]:
    import os
    from pathlib import Path

    from lunar_core.errors import DataError
    from lunar_training.store import Store, default_path, run_in

    found: list[Any] = []
    if store is not None or os.path.exists(default_path()):
        with Store(store, create=False) as opened:
            found = opened.runs()
    known = {os.path.abspath(run.folder) for run in found if run.folder}
    for path in sorted(Path(folder).iterdir()) if os.path.isdir(folder) else ():
        if (path / "config.json").is_file() and os.path.abspath(path) not in known:
            try:
                found.append(run_in(path))
            except DataError:
                continue
    return sorted(found, key=lambda run: run.started or 0.0)


def _show(run: Any, store: str | None) -> None:
    from lunar_cli.console import table
    from lunar_training.callbacks.progress import figure
    from lunar_training.store import Store

    reason = f": {run.reason}" if run.reason else ""
    click.secho(f"{run.name} ({run.id}), {run.status}{reason}", bold=True)
    columns = list(dict.fromkeys(name for row in run.history for name in row))
    table(columns, [[figure(row.get(name, "")) for name in columns] for row in run.history])
    if run.folder != run.id and len(run.id) == 8:
        with Store(store, create=False) as opened:
            for found in opened.told(run, "diagnosis"):
                click.echo(f"{found['kind'].replace('_', ' ')}: {found['text']}. {found['suggestion']}.")


def _when(started: float | None) -> str:
    return "" if started is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(started))


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(seconds) % 60:02d} s"


def _last(run: Any) -> str:
    from lunar_training.callbacks.progress import figure

    if not run.history:
        return ""
    skip = ("epoch", "step", "sample", "seconds", "samples_per_second")
    return "  ".join(f"{name} {figure(value)}" for name, value in run.history[-1].items() if name not in skip)
