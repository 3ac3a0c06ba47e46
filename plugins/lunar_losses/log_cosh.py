"""The log-cosh loss."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import ops
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class LogCosh(Loss):
    """``log(cosh(pred - target))``: like half the square near 0, like the absolute error less log 2 far away.

    Shapes: ``target`` has the shape of ``pred``; the mean is over all elements. Differences of any size neither overflow
    nor, near 0, lose their digits. The gradient is the hyperbolic tangent of the difference. Source: R. Neuneier and
    H. G. Zimmermann, How to Train Neural Networks (1998), section on robust error functions; ``optax.log_cosh``.

    Raises:
        ShapeError: a target of another shape.
    """

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        distance = ops.abs(pred - matching_target("LogCosh", pred, target))
        half = ops.sinh(0.5 * ops.clip(distance, high=1.0))  # cosh d = 1 + 2 sinh(d / 2) ** 2
        far = distance + ops.log1p(ops.exp(-2.0 * distance)) - math.log(2)
        return ops.where(distance < 1, ops.log1p(2.0 * half * half), far), None
