"""A contact sheet: a picture of a few examples of a dataset, by matplotlib."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from lunar_core.contracts.dataset import Dataset
from lunar_core.errors import DataError


def contact_sheet(dataset: Dataset, path: str | os.PathLike[str], count: int = 25) -> None:
    """Draw ``count`` examples, evenly spread over the dataset, each under its class, and write the picture to ``path``.

    Images are drawn with their boxes and masks, series (C, T) as lines, rows of numbers as bars, tokens as text.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n = len(dataset)
    if count < 1 or not n:
        raise DataError(f"a contact sheet needs an example, asked for {count} of {n}")
    chosen = sorted({round(k * (n - 1) / max(min(count, n) - 1, 1)) for k in range(min(count, n))})
    columns = math.ceil(math.sqrt(len(chosen)))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(1.6 * columns, 1.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, chosen):
        _draw(axes, dict(zip(dataset.fields, dataset[index])), dataset.classes, index)
    figure.savefig(path, dpi=110)


def _draw(axes: Any, example: dict[str, Any], classes: tuple[str, ...] | None, index: int) -> None:
    values = list(example.values())
    first = np.asarray(values[0])
    if first.ndim == 3 and first.shape[0] in (1, 3, 4):
        low, high = float(first.min()), float(first.max())
        top = 255 if first.dtype == np.uint8 else 1.0 if low >= 0 and high <= 1 else None
        unit = first / top if top else (first - low) / max(high - low, 1e-12)
        axes.imshow(unit[0] if len(unit) == 1 else unit.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)
        for box in np.asarray(example.get("boxes", ())).reshape(-1, 4):
            x = [box[0], box[2], box[2], box[0], box[0]]
            axes.plot([v - 0.5 for v in x], [v - 0.5 for v in (box[1], box[1], box[3], box[3], box[1])], "r", lw=0.8)
        mask = example.get("mask")
        if mask is not None:
            axes.imshow(np.ma.masked_equal(mask, 0), alpha=0.5, cmap="tab20", interpolation="nearest")
    elif first.dtype.kind == "f" and first.ndim in (1, 2):
        axes.bar(range(len(first)), first) if first.ndim == 1 else axes.plot(first.T, lw=0.8)
    else:
        text = " ".join(map(str, np.ravel(first)[:24].tolist()))
        axes.text(0, 0.5, text, fontsize=5, wrap=True, va="center")
    target = np.asarray(values[-1])
    if len(values) > 1 and target.ndim == 0:
        name = str(target) if target.dtype.kind not in "f" else f"{float(target):.3g}"
        if classes is not None and target.dtype.kind in "iu" and 0 <= int(target) < len(classes):
            name = classes[int(target)]
        axes.set_title(name, fontsize=7)
    else:
        axes.set_title(f"#{index}", fontsize=7)
