"""L2 penalty."""

from __future__ import annotations

from lunar_core import ops
from lunar_core.tensor import Tensor

from .choosing import Weights


class L2(Weights):
    """``strength / 2 * sum(w ** 2)`` over the chosen parameters, so that its gradient is ``strength * w``.

    With plain SGD it is the same as ``weight_decay=strength``; with Adam it is not what AdamW does, since the gradient
    of the penalty passes through Adam's scaling. Keras' ``L2(l)`` is this with ``strength = 2 * l``.

    Chosen are the trainable parameters whose dotted name matches one of the glob ``patterns``, or lies below a module
    that does. Parameters with fewer than two axes are left out, which are biases and the scales and shifts of
    normalisation layers, unless ``include_vectors``.

    Raises:
        StateError: a pattern that matches no parameter of the model.
    """

    def penalty(self, w: Tensor) -> Tensor:
        return ops.square(w).sum() * 0.5
