"""Binary cross-entropy of probabilities; that of logits stands in :mod:`~lunar_core.ops.cross_entropy`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..op import Op, Sample, Spec
from .common import array
from .softmax import FLOAT

_LEAST = -100.0  # of a logarithm, as in PyTorch


def _logs(xp: Any, p: Any) -> tuple[Any, Any]:
    with np.errstate(divide="ignore"):
        return xp.maximum(xp.log(p), _LEAST), xp.maximum(xp.log1p(-p), _LEAST)


def _forward(xp: Any, p: Any, t: Any) -> Any:
    hit, miss = _logs(xp, p)
    return (t - 1) * miss - t * hit


def _vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    p, t = saved
    least = 1e-12 if p.dtype.itemsize > 2 else 1e-6  # of the variance; half precision has nothing smaller
    gp = g * (p - t) / F.maximum(p * (1 - p), least) if need[0] else None
    gt = None
    if need[1]:
        with np.errstate(divide="ignore"):
            gt = g * (F.clip(F.log1p(-p), _LEAST) - F.clip(F.log(p), _LEAST))
    return gp, gt


def _samples() -> list[Sample]:
    def call(t: Any, p: Any, target: Any) -> Any:
        return t.nn.functional.binary_cross_entropy(p, target, reduction="none")

    return [
        Sample((array(0, (4,), 0.1, 0.9), array(1, (4,), 0, 1)), torch=call),
        Sample((array(2, (3, 2), 0.1, 0.9), array(3, (3, 2), 0, 1)), torch=call),
        Sample((np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])), grad=False, torch=call),
    ]


_binary_cross_entropy = Op(
    "binary_cross_entropy",
    _forward,
    _vjp,
    save=(0, 1),
    cast="float32",
    abstract=lambda p, t: Spec(p.shape, np.result_type(FLOAT(p).dtype, t.dtype)),
    samples=_samples,
    doc="Binary cross-entropy of probabilities, one loss an element.",
)


def binary_cross_entropy(p: Any, target: Any) -> Any:
    """``-(t * log(p) + (1 - t) * log(1 - p))`` for probabilities ``p`` and targets in [0, 1] of their shape, unreduced.

    Logarithms are at least -100 and the gradient's denominator ``p (1 - p)`` at least 1e-12: PyTorch's bounds.
    """
    if tuple(target.shape) != tuple(p.shape):
        raise ShapeError(
            f"binary_cross_entropy: target of shape {tuple(target.shape)} must have the shape {tuple(p.shape)}"
        )
    return _binary_cross_entropy(p, target.astype(p.dtype) if target.dtype.kind in "biu" else target)
