"""A dense layer whose weights are dropped."""

from __future__ import annotations

from typing import Any

from lunar_core import ops, random
from lunar_core.component import field, in_range
from lunar_layers.checks import require_floating
from lunar_layers.dense import Dense


class DropConnect(Dense):
    """:class:`~lunar_layers.dense.Dense` whose weights are 0 with probability ``p`` in training: ``y = x (M * W)^T + b``.

    Shapes and parameters are those of ``Dense``. The other weights are divided by ``1 - p``, the bias is kept. With
    ``per_example`` each example of the batch has a mask of its own, as in the paper, which costs memory for
    batch * out * in numbers; by default one mask serves the batch. In evaluation the weights are whole: the mean
    network, where the paper draws from a Gaussian with its moments. The masks come from the stream "drop_connect".

    To drop the weights of other layers, see the regularizer of this name.

    Source: L. Wan et al., Regularization of Neural Networks using DropConnect, ICML 2013.
    """

    p: float = field(
        default=0.5, validator=in_range(0, 1, include_high=False), kw_only=True, doc="probability of a weight to be 0"
    )
    per_example: bool = field(default=False, kw_only=True, doc="a mask for each example instead of the batch")

    def forward(self, x: Any) -> Any:
        require_floating("DropConnect", x)
        if not x.shape or x.shape[-1] != self.in_features:
            raise self._misfit(x)
        if not self.training or self.p == 0:
            return ops.linear(x, self.weight, self.bias)
        generator = random.stream("drop_connect").next()
        if not self.per_example:
            return ops.linear(x, ops.dropout(self.weight, self.p, generator), self.bias)
        lead = tuple(x.shape[:-1])
        rows = ops.reshape(x, (-1, self.in_features, 1))
        mask, scale = ops.draw_mask(self.weight, self.p, generator, (rows.shape[0], *self.weight.shape))
        weights = ops.masked(ops.broadcast_to(self.weight, mask.shape), mask, scale=scale)
        y = ops.reshape(ops.matmul(weights, rows), (*lead, self.out_features))
        return y if self.bias is None else y + self.bias
