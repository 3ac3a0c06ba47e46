"""Softmax and the losses that are fused with it: log_softmax, cross_entropy, bce_with_logits.

All take logits and subtract the largest one first, so nothing overflows. The losses give one number for each sample: what
a mean is taken over, and with which weights, belongs to the loss components.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, HyperparameterError, IndexingError, ShapeError
from ..op import OUTPUT, Op, Sample, Spec
from ..tensor import Tensor
from .common import array, elementwise_spec, normalize_axis

_FLOAT = elementwise_spec(np.exp)


def _shifted(xp: Any, x: Any, axis: int) -> Any:
    """``x`` minus its largest element along ``axis``, a new floating array."""
    top = x.max(axis=axis, keepdims=True)
    if x.dtype.kind not in "fV":
        return x - xp.asarray(top, np.result_type(x.dtype, np.float16))
    with np.errstate(invalid="ignore"):
        out = x - top
    if not xp.isfinite(top).all():  # a whole row of -inf: uniform, as the limit of equal logits
        out = xp.where(top == -np.inf, 0, out).astype(x.dtype)
    return out


def _softmax_forward(xp: Any, x: Any, axis: int) -> Any:
    out = xp.exp(_shifted(xp, x, axis))
    out /= out.sum(axis=axis, keepdims=True)
    return out


def _log_softmax_forward(xp: Any, x: Any, axis: int) -> Any:
    out = _shifted(xp, x, axis)
    out -= xp.log(xp.exp(out).sum(axis=axis, keepdims=True))
    return out
