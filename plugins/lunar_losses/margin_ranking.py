"""The ranking loss of pairs."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import same_shapes, several, signs


class MarginRanking(Loss):
    """``max(0, margin - (first - second) * y)``: y = 1 where the first score should be higher, -1 (or 0) where lower.

    ``pred`` is a pair ``(first, second)`` of scores of one shape, which the target has too; the mean is over all
    elements. This is ``torch.nn.MarginRankingLoss``.

    Raises:
        ShapeError: a prediction that is no pair, or shapes that differ.
    """

    margin: float = field(default=0.0, doc="by how much the one has to lead")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        first, second = several("MarginRanking", pred, "first", "second")
        same_shapes("MarginRanking", first=first, second=second)
        y = signs("MarginRanking", first.shape, first, target)
        return ops.relu(self.margin - (first - second) * y), None
