"""Sequences of different lengths in one batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.errors import DTypeError, ShapeError
from lunar_layers.attention import beside, raw


def lengths_of(layer: str, x: Any, lengths: Any, mask: Any) -> tuple[Any, np.ndarray | None]:
    """``lengths`` of the rows of x (batch, time, ...), and the order that puts the tokens of a ``mask`` first, if needed.

    ``mask`` (batch, time) holds bools, True where there is a token. One whose tokens come first anyway needs no order.
    Lengths are read on the host.
    """
    batch, time = x.shape[:2]
    if mask is None:
        if lengths is None:
            return None, None
        values = np.asarray(_host(lengths))
        if values.dtype.kind not in "iu":
            raise DTypeError(f"{layer}: lengths must be integers, got {values.dtype}")
        if values.shape != (batch,) or (values < 0).any() or (values > time).any():
            raise ShapeError(
                f"{layer}: lengths must be {batch} numbers in 0..{time}, one for each row of {tuple(x.shape)}, got {lengths}"
            )
        return values, None
    if lengths is not None:
        raise ShapeError(f"{layer} takes lengths or a mask, got both")
    values = np.asarray(_host(mask))
    if values.dtype.kind != "b":
        raise DTypeError(
            f"{layer}: mask must hold bools, True where there is a token, got {values.dtype}",
            hint="mask=tokens != padding_index",
        )
    if values.shape != (batch, time):
        raise ShapeError(f"{layer}: mask must be (batch, time) = {(batch, time)}, got {values.shape}")
    counts = values.sum(axis=1)
    if (values == (np.arange(time) < counts[:, None])).all():
        return counts, None
    return counts, np.argsort(~values, axis=1, kind="stable")


def _host(values: Any) -> Any:
    array = raw(values)
    return backend.of(array).to_numpy(array) if backend.is_array(array) else array


def reordered(x: Any, order: np.ndarray) -> Any:
    """x (batch, time, ...) with the steps of each row in the given order (batch, time)."""
    rows = np.arange(order.shape[0])[:, None]
    return x[beside(x, rows), beside(x, order)]


def reversed_in_time(x: Any, lengths: Any) -> Any:
    """x (batch, time, ...) with the first ``lengths`` steps of each row reversed, all where ``lengths`` is ``None``."""
    if lengths is None:
        return ops.flip(x, axis=1)
    steps = np.arange(x.shape[1])
    lengths = np.asarray(lengths)[:, None]
    return reordered(x, np.where(steps < lengths, lengths - 1 - steps, steps))
