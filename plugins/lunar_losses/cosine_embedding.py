"""The cosine loss of pairs."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, in_range
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import same_shapes, several, signs

_EPSILON = 1e-12  # PyTorch's, added to each squared length


class CosineEmbedding(Loss):
    """``1 - cos(first, second)`` for pairs that belong together (y = 1), ``max(0, cos - margin)`` for others (-1 or 0).

    ``pred`` is a pair ``(first, second)`` of embeddings (N, D); the target is (N,). Or (D,), and one number. The mean is
    over pairs. This is ``torch.nn.CosineEmbeddingLoss``.

    Raises:
        ShapeError: a prediction that is no pair, or shapes that do not fit.
    """

    margin: float = field(default=0.0, validator=in_range(-1, 1), doc="cosine up to which strangers may be alike")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        first, second = several("CosineEmbedding", pred, "first", "second")
        same_shapes("CosineEmbedding", first=first, second=second)
        y = signs("CosineEmbedding", first.shape[:-1], first, target)
        lengths = (ops.sum(first * first, axis=-1) + _EPSILON) * (ops.sum(second * second, axis=-1) + _EPSILON)
        cosine = ops.sum(first * second, axis=-1) / ops.sqrt(lengths)
        return ops.where(y > 0, 1.0 - cosine, ops.relu(cosine - self.margin)), None
