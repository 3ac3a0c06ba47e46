"""Curves of a history. matplotlib is imported here and nowhere else, without pyplot: no window, no global state."""

from __future__ import annotations

import os
from typing import Any

from lunar_core.errors import DataError, UnknownNameError

BOOKKEEPING = ("epoch", "step", "sample", "seconds", "samples_per_second")
TRAIN_COLOR, VAL_COLOR = "#2a78c2", "#d1642a"


def plot_history(history: Any, path: str | os.PathLike[str] | None, columns: list[str] | None) -> Any:
    """See :meth:`lunar_training.history.History.plot`."""
    numeric = [c for c in history.columns if c not in BOOKKEEPING and _is_numeric(history[c])]
    figures = list(dict.fromkeys(c.removeprefix("val_") for c in numeric))
    if columns is not None:
        unknown = [c for c in columns if c not in figures]
        if unknown:
            raise UnknownNameError(f"no figure {unknown[0]!r} to plot; there are {', '.join(figures)}")
        figures = list(columns)
    if not figures:
        raise DataError("the history holds no figures to plot", hint="train for at least one epoch")

    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    across = min(len(figures), 3)
    down = -(-len(figures) // across)
    figure = Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained")
    for i, name in enumerate(figures):
        axes = figure.add_subplot(down, across, i + 1)
        for column, color, label in ((name, TRAIN_COLOR, "training"), (f"val_{name}", VAL_COLOR, "validation")):
            points = [(row["epoch"], row[column]) for row in history if row.get(column) is not None]
            if points:
                x, y = zip(*points)
                axes.plot(x, y, color=color, label=label, marker="o" if len(x) == 1 else None)
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if f"val_{name}" in numeric:
            axes.legend(frameon=False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _is_numeric(values: list[Any]) -> bool:
    return any(isinstance(v, (int, float)) for v in values)
