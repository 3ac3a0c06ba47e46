"""A bundle: everything that is needed to run one training step again, as JSON and safetensors.

bundle.json          why it was written, clock, random state, batch ids, components, the last steps op by op
tensors.safetensors  ``model/NAME`` the weights and buffers before the step, ``batch/I`` the arrays of the batch
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lunar_core.errors import DataError, SerializationError
from lunar_core.serialize import load, save, sync_directory

from .opwatch import Row
from .rundir import plain

FORMAT = 1


def write_bundle(folder: str | os.PathLike[str], record: Mapping[str, Any], arrays: Mapping[str, Any]) -> Path:
    """Write a bundle as the directory ``folder``, which appears under its name only when it is complete."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    number, base = 1, folder
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    staged = folder.with_name(f".{folder.name}.{os.getpid()}")
    staged.mkdir()
    try:
        save(dict(arrays), staged / "tensors.safetensors")
        with open(staged / "bundle.json", "w", encoding="utf-8") as file:
            json.dump(plain({"format": FORMAT, **record}), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.rename(staged, folder)
        sync_directory(str(folder.parent))
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return folder


def read_bundle(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(record, arrays) of a bundle. Raises SerializationError for what is none."""
    path = Path(folder)
    try:
        record = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise SerializationError(
            f"{path} is no bundle: it has no bundle.json", hint="flight_recorder writes them"
        ) from exc
    except ValueError as exc:
        raise SerializationError(f"{path / 'bundle.json'} is damaged: {exc}") from exc
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise SerializationError(f"{path} is not a bundle of format {FORMAT}")
    return record, load(path / "tensors.safetensors")


# -- random state as plain data ----------------------------------------------------------------------------------------


def random_to_plain(saved: tuple[Any, Any, Any]) -> dict[str, Any]:
    """What :func:`lunar_core.hooks.save_random` gave, as plain data."""
    streams, python, numpy = saved
    inner = {key: np.asarray(value).tolist() for key, value in numpy["state"].items()}
    return {
        "streams": streams,
        "python": [python[0], list(python[1]), python[2]],
        "numpy": {**{k: v for k, v in numpy.items() if k != "state"}, "state": inner},
    }


def random_from_plain(state: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The opposite of :func:`random_to_plain`. Raises SerializationError for anything else."""
    try:
        version, numbers, gauss = state["python"]
        numpy = dict(state["numpy"])
        inner = {k: np.asarray(v, np.uint32) if isinstance(v, list) else int(v) for k, v in numpy["state"].items()}
        return state["streams"], (version, tuple(numbers), gauss), {**numpy, "state": inner}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise SerializationError(f"not a random state: {str(state)[:80]}") from exc


# -- rows --------------------------------------------------------------------------------------------------------------


def row_to_plain(row: Row | None) -> list[Any] | None:
    return None if row is None else list(row)


def row_from_plain(values: Any) -> Row | None:
    if values is None:
        return None
    phase, op, module, low, high, nonfinite = values
    return Row(phase, op, module, float(low), float(high), int(nonfinite))


def same_rows(rows: list[Row], others: list[Row]) -> bool:
    """Whether two recordings agree in every op and every bit of its range; NaN agrees with NaN."""

    def key(row: Row) -> tuple[Any, ...]:
        return tuple("nan" if isinstance(v, float) and math.isnan(v) else v for v in row)

    return [key(r) for r in rows] == [key(r) for r in others]


def batch_ids(loader: Any, number: int, size: int) -> list[int] | None:
    """The indices of the examples of batch ``number`` in the data given to ``fit``; None where the loader does not say."""
    source, width = getattr(loader, "source", None), getattr(loader, "batch_size", None)
    if source is None or not isinstance(width, int):
        return None
    order = getattr(loader, "order", None)
    at = np.arange(number * width, number * width + size)
    try:
        ids = at if order is None else np.asarray(order[at[0] : at[0] + size])
        while getattr(source, "indices", None) is not None:  # a part that was held out of a whole
            ids = source.indices[ids]
            source = source.source
    except (IndexError, TypeError):
        return None
    return [int(i) for i in ids]


def ids_of(loader: Any, epoch: int) -> Callable[[int, int], list[int] | None]:
    """What gives the ids of a batch from its number and size, for a pass over ``loader`` in ``epoch``."""
    plan = getattr(getattr(getattr(loader, "source", None), "loader", None), "plan", None)
    if not callable(plan):
        return lambda number, size: batch_ids(loader, number, size)
    try:
        batches = plan(epoch)  # of a loader that the user made
    except DataError:  # an iterable, whose order is its own
        return lambda number, size: None
    return lambda number, size: [int(i) for i in batches[number]]
