"""``lunar compare``: what differs between runs, in their settings and in their figures."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.argument("names", metavar="A B [C ...]", nargs=-1, required=True)
@click.option(
    "--store", type=click.Path(dir_okay=False), help="The run store; by default LUNAR_STORE or lunar-runs.sqlite."
)
@click.option("--plot", "path", type=click.Path(dir_okay=False), help="Draw the curves into this file.")
@click.option("--figure", "only", multiple=True, metavar="NAME", help="Of these figures only. Repeatable.")
def compare(names: tuple[str, ...], store: str | None, path: str | None, only: tuple[str, ...]) -> None:
    """Compare runs: ids or names from the run store, or run directories.

    First the settings in which they differ, then each figure: its last and its best value. With two runs the difference
    of the best values is shown as well.
    """
    from lunar_cli.console import table
    from lunar_core.errors import UnknownNameError
    from lunar_training.callbacks.progress import figure
    from lunar_training.comparing import differences, figure_names
    from lunar_training.store import find_run

    if len(names) < 2:
        raise click.UsageError("compare needs two runs or more")
    runs = [find_run(name, store) for name in names]
    titles = _titles(runs)
    changed = differences([run.config for run in runs])
    if changed:
        table(("setting", *titles), [(key, *values) for key, values in changed.items()], {"setting": "cyan"})
    else:
        click.echo("The settings are the same.")
    click.echo()

    known = figure_names(runs)
    for name in only:
        if name not in known:
            raise UnknownNameError(f"no figure {name!r}; there are {', '.join(known)}")
    rows = []
    for name in only or known:
        best = [run.best(name) for run in runs]
        last = [run.history[-1].get(name) if run.history else None for run in runs]
        cells = [f"{_cell(value)} ({_cell(final)})" for value, final in zip(best, last)]
        if len(runs) == 2:
            a, b = best
            cells.append("" if a is None or b is None else figure(float(b - a)))
        rows.append((name, *cells))
    columns = ("best (last)", *titles, *(("B - A",) if len(runs) == 2 else ()))
    table(columns, rows, {"best (last)": "cyan"})
    if path is not None:
        from lunar_training.comparing import plot_runs

        plot_runs(runs, titles, list(only or known), path)
        click.echo(f"\ncurves in {path}")


def _titles(runs: list[Any]) -> list[str]:
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else f"{name} ({run.id})" for name, run in zip(names, runs)]


def _cell(value: Any) -> str:
    from lunar_training.callbacks.progress import figure

    return "-" if value is None else figure(value)
