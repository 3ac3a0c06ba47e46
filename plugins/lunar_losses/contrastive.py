"""The contrastive loss of pairs."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import same_shapes, several, signs


class Contrastive(Loss):
    """``d ** 2 / 2`` for pairs that belong together, ``max(0, margin - d) ** 2 / 2`` for others; d is their distance.

    ``pred`` is a pair ``(first, second)`` of embeddings (..., D); the target (...) is 1 for pairs that belong together
    and 0 (or -1) for others, the reverse of the paper's Y. d is the Euclidean distance; the mean is over pairs.

    R. Hadsell, S. Chopra and Y. LeCun, Dimensionality Reduction by Learning an Invariant Mapping (CVPR 2006),
    equation 4.

    Raises:
        ShapeError: a prediction that is no pair, or shapes that do not fit.
    """

    margin: float = field(default=1.0, validator=positive, doc="distance from which on strangers do not repel")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        first, second = several("Contrastive", pred, "first", "second")
        same_shapes("Contrastive", first=first, second=second)
        y = signs("Contrastive", first.shape[:-1], first, target)
        distance = ops.norm(first - second, axis=-1)
        return 0.5 * ops.square(ops.where(y > 0, distance, ops.relu(self.margin - distance))), None
