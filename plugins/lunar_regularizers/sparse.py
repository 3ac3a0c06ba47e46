"""Penalties that make weights zero. All choose parameters as :class:`~lunar_regularizers.choosing.Weights` says."""

from __future__ import annotations

from lunar_core import ops
from lunar_core.component import field, in_range
from lunar_core.tensor import Tensor

from .choosing import Weights, as_matrix


class L1(Weights):
    """``strength * sum(|w|)``. Tibshirani, Regression Shrinkage and Selection via the Lasso (1996); Keras' ``L1``.

    The gradient at zero is zero.
    """

    def penalty(self, w: Tensor) -> Tensor:
        return ops.absolute(w).sum()


class ElasticNet(Weights):
    """``strength * (ratio * sum(|w|) + (1 - ratio) / 2 * sum(w ** 2))``.

    Zou and Hastie, Regularization and Variable Selection via the Elastic Net (2005), in the form of scikit-learn's
    ``ElasticNet`` (``alpha = strength``, ``l1_ratio = ratio``). Keras' ``L1L2`` weighs the two apart.
    """

    ratio: float = field(default=0.5, validator=in_range(0, 1), doc="share of the L1 part")

    def penalty(self, w: Tensor) -> Tensor:
        return ops.absolute(w).sum() * self.ratio + ops.square(w).sum() * (0.5 * (1.0 - self.ratio))


class GroupLasso(Weights):
    """``strength * sum over groups of sqrt(size) * ||group||``: whole units vanish together.

    Yuan and Lin, Model Selection and Estimation in Regression with Grouped Variables (2006), equation 2. A group is a
    row of a dense weight or a filter of a convolution; with ``axis=1`` all weights of one input. The gradient of a
    group of zeros is zero.
    """

    axis: int = field(default=0, validator=in_range(0, 1), doc="0: groups are outputs, 1: inputs")

    def penalty(self, w: Tensor) -> Tensor:
        matrix = as_matrix(ops.moveaxis(w, self.axis, 0) if w.ndim > 1 else w)
        squares = ops.square(matrix).sum(axis=1)
        return ops.sqrt(ops.maximum(squares, 1e-30)).sum() * matrix.shape[1] ** 0.5
