"""What differs between runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .plot import BOOKKEEPING
from .store import Run


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted path."""
    if isinstance(config, Mapping):
        items: Any = config.items()
    elif isinstance(config, (list, tuple)):
        items = enumerate(config)
    else:
        return {prefix: config}
    found: dict[str, Any] = {}
    for key, value in items:
        found.update(flat(value, f"{prefix}.{key}" if prefix else str(key)))
    return found


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The settings that are not the same in all: dotted path -> their values as text; "-" where there is none."""
    tables = [flat(config) for config in configs]
    found = {}
    for key in dict.fromkeys(key for table in tables for key in table):
        values = [str(table[key]) if key in table else "-" for table in tables]
        if len(set(values)) > 1:
            found[key] = values
    return found


def figure_names(runs: Sequence[Run]) -> list[str]:
    """The figures that any of the runs has for its epochs, without bookkeeping."""
    names = dict.fromkeys(name for run in runs for row in run.history for name in row)
    return [name for name in names if name not in BOOKKEEPING]


def plot_runs(runs: Sequence[Run], titles: Sequence[str], names: Sequence[str], path: str | os.PathLike[str]) -> Any:
    """Curves over epochs, a panel for each figure and a line for each run, saved to ``path``; gives the Figure."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    across = min(len(names), 3) or 1
    down = -(-len(names) // across) or 1
    figure = Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained")
    for i, name in enumerate(names):
        axes = figure.add_subplot(down, across, i + 1)
        for run, title in zip(runs, titles):
            points = [(row["epoch"], row[name]) for row in run.history if isinstance(row.get(name), (int, float))]
            if points:
                x, y = zip(*points)
                axes.plot(x, y, label=title, marker="o" if len(x) == 1 else None)
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    if names:
        figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    return figure
