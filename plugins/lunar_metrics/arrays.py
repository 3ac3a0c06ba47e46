"""What metrics of several families do with raw arrays: weights that fit, pairs that match, the way to the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core.errors import DataError


def host(value: Any) -> Any:
    """An array on the host as float64; numbers as they are."""
    if not backend.is_array(value):
        return value
    return np.asarray(backend.of(value).to_numpy(value), dtype=np.float64)


def spread(name: str, weight: Any, shape: tuple[int, ...]) -> Any:
    """Weights, one per example or per element, in the shape of the elements; ``None`` stays.

    They become float64, as a sum over a data set must not depend on how it is cut into batches.
    """
    if weight is None:
        return None
    given = tuple(weight.shape)
    if given != shape:
        weight = weight.reshape(given + (1,) * (len(shape) - len(given)))
    if weight.ndim != len(shape) or any(w not in (1, n) for w, n in zip(weight.shape, shape)):
        raise DataError(f"{name}: weights of shape {given} do not fit predictions {shape}")
    return backend.of(weight).xp.broadcast_to(weight.astype(np.float64), shape)


def pair(name: str, pred: Any, target: Any) -> tuple[Any, Any]:
    """Predictions and targets of one shape as float64; a last axis of size 1 that only one of them has is dropped."""
    if pred.shape != target.shape:
        if pred.ndim == target.ndim + 1 and pred.shape[-1] == 1:
            pred = pred.squeeze(-1)
        elif target.ndim == pred.ndim + 1 and target.shape[-1] == 1:
            target = target.squeeze(-1)
    if pred.shape != target.shape:
        raise DataError(
            f"{name}: predictions {tuple(pred.shape)} take targets of that shape, got {tuple(target.shape)}"
        )
    for what, array in (("predictions", pred), ("targets", target)):
        if array.dtype.kind not in "biuf" and not array.dtype.name.startswith(("bfloat", "float")):
            raise DataError(f"{name}: expected real numbers as {what}, got {array.dtype}")
    return pred.astype(np.float64), target.astype(np.float64)


def weighted_sum(values: Any, weight: Any) -> tuple[Any, Any]:
    """(sum of the weighted values, sum of the weights); ``weight`` has the values' shape or is None."""
    if weight is None:
        return values.sum(), values.size
    return (values * weight).sum(), weight.sum()


def quotient(name: str, total: Any, weight: Any) -> float:
    """``total / weight`` on the host. Raises DataError where the weights sum to nothing."""
    weight = float(weight)
    if not weight > 0:
        raise DataError(f"{name}: the weights of the predictions sum to {weight:g}")
    return float(total) / weight


def log_softmax(x: Any, axis: int) -> Any:
    """``x - log(sum(exp(x)))`` of a raw array in float64."""
    xp = backend.of(x).xp
    z = x.astype(np.float64)
    z = z - z.max(axis=axis, keepdims=True)
    return z - xp.log(xp.exp(z).sum(axis=axis, keepdims=True))
