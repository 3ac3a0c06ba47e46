"""The history of a run: one row of figures per epoch, as data."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from typing import Any

from lunar_core.errors import DataError, UnknownNameError
from lunar_core.serialize import atomic_file
from lunar_core.suggest import did_you_mean


class History:
    """Rows of figures, one per epoch, in order.

    ``history["val_loss"]`` is a column, ``history[-1]`` a row. Evaluation figures carry the prefix ``val_``.

    - ``rows``: list of dicts.
    - ``columns``: names in order of first appearance.
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None) -> None:
        self.rows: list[dict[str, Any]] = list(rows or [])

    def append(self, row: dict[str, Any]) -> None:
        """Add the row of one epoch."""
        self.rows.append(dict(row))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, key: str | int) -> Any:
        """A column by name (``None`` where a row lacks it) or a row by number."""
        if isinstance(key, int):
            return self.rows[key]
        if key not in self.columns:
            raise UnknownNameError(
                f"the history has no column {key!r}; it has {', '.join(self.columns) or 'no rows'}",
                hint=did_you_mean(key, self.columns) or None,
            )
        return [row.get(key) for row in self.rows]

    def best(self, column: str, mode: str = "auto") -> dict[str, Any]:
        """The row with the best value of ``column``.

        ``mode`` is "min", "max", or "auto": the minimum for losses and errors, the maximum for everything else. NaN is
        never best; the earliest of equals is.
        """
        sign = -1.0 if maximized(column, mode) else 1.0
        rows = [row for row in self.rows if _comparable(row.get(column))]
        if not rows:
            _ = self[column]  # an unknown column is the likelier mistake
            raise DataError(f"the history has no finite value of {column!r}")
        return min(rows, key=lambda row: sign * row[column])

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The table as CSV text (RFC 4180, floats in full precision); written to ``path`` atomically if given."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return _write(out.getvalue(), path)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The rows as a JSON array; NaN and infinities become null, which JSON lacks. Written to ``path`` if given."""
        rows = [{k: _json_value(v) for k, v in row.items()} for row in self.rows]
        return _write(json.dumps(rows, indent=1) + "\n", path)

    def plot(self, path: str | os.PathLike[str] | None = None, columns: list[str] | None = None) -> Any:
        """Curves over epochs: a panel for each figure, training and ``val_`` values together.

        Returns the matplotlib Figure; saves it when ``path`` is given (the suffix is the format). Never opens a window.
        ``columns`` picks panels by the name without ``val_``; default: all figures except the bookkeeping.
        """
        from .plot import plot_history

        return plot_history(self, path, columns)

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no epochs)"
        last = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.rows[-1].items())
        return f"History({len(self.rows)} epochs, last: {last})"


def maximized(column: str, mode: str) -> bool:
    """Whether more is better for ``column`` under ``mode`` ("min", "max" or "auto")."""
    if mode in ("min", "max"):
        return mode == "max"
    return not any(
        word in column for word in ("loss", "error", "perplexity", "mse", "mae", "rmse", "penalty", "seconds")
    )


def _comparable(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(text: str, path: str | os.PathLike[str] | None) -> str:
    if path is not None:
        with atomic_file(path) as file:
            file.write(text.encode())
    return text
