"""The triplet loss."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import same_shapes, several


class Triplet(Loss):
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` with the p-norm of the difference as distance d.

    ``pred`` is ``(anchor, positive, negative)``, embeddings (..., D) of one shape; there is no target, and one that is
    given is not looked at. The mean is over triplets. ``swap`` takes the smaller one of the negative's distances to the
    anchor and to the positive (V. Balntas et al., 2016). ``eps`` is added to each difference.

    F. Schroff et al., FaceNet (2015), arXiv:1503.03832, with plain distances in the place of squared ones: this is
    ``torch.nn.TripletMarginLoss``.

    Raises:
        ShapeError: a prediction that is no triplet, or shapes that differ.
    """

    margin: float = field(default=1.0, validator=positive, doc="by how much the negative has to be farther away")
    p: float = field(default=2.0, validator=positive, doc="order of the norm")
    eps: float = field(default=1e-6, doc="added to differences, so that the slope at 0 is finite")
    swap: bool = field(default=False, doc="measure the negative from the positive too")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        anchor, close, far = several("Triplet", pred, "anchor", "positive", "negative")
        same_shapes("Triplet", anchor=anchor, positive=close, negative=far)
        away = self._distance(anchor, far)
        if self.swap:
            away = ops.minimum(away, self._distance(close, far))
        return ops.relu(self._distance(anchor, close) - away + self.margin), None

    def _distance(self, a: Any, b: Any) -> Any:
        return ops.norm(a - b + self.eps, axis=-1, ord=self.p)
