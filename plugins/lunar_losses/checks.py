"""What losses that compare number by number ask of their targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor


def matching_target(loss: str, pred: Any, target: Any) -> Any:
    """``target`` in the dtype of ``pred``; its shape must be the same, since broadcasting would hide a mistake."""
    if not hasattr(target, "dtype"):
        raw = pred.data if isinstance(pred, Tensor) else pred
        owner = backend.of(raw)
        target = owner.from_numpy(np.asarray(target), owner.device_of(raw))
    if tuple(target.shape) != tuple(pred.shape):
        hint = None
        if tuple(pred.shape) == (*target.shape, 1):
            hint = "the target lacks the last axis: target[..., None] adds it"
        raise ShapeError(
            f"{loss} expects a target of the prediction's shape {tuple(pred.shape)}, got {tuple(target.shape)}",
            hint=hint,
        )
    return target if target.dtype == pred.dtype else target.astype(pred.dtype)
