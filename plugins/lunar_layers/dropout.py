"""Dropout of elements and of whole channels, and its kin that keeps mean and variance."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import ops, random
from lunar_core.component import field, in_range
from lunar_core.contracts.layer import Layer
from lunar_layers.checks import require_floating, require_grid

_ALPHA = -1.7580993408473766  # SELU's value at minus infinity, -lambda * alpha


class Dropout(Layer):
    """In training, elements become 0 with probability ``p`` and the others are divided by ``1 - p``.

    In evaluation the input is returned as it is.

    The n-th mask after :func:`lunar_core.seed` depends on the seed, the input's shape and n alone (stream "dropout").
    ``p=0`` draws none, ``p=1`` gives zeros; in between ``p`` counts in steps of 1/65536.

    Source: N. Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15, 2014; the
    scaling at training time, "inverted dropout", is what all frameworks do.
    """

    p: float = field(default=0.5, validator=in_range(0, 1), doc="probability that an element is dropped")

    def forward(self, x: Any) -> Any:
        require_floating("Dropout", x)
        if not self.training or self.p == 0:
            return x
        return ops.dropout(x, self.p, random.stream("dropout").next())


class SpatialDropout(Layer):
    """Base of dropout that takes whole channels, for grids of ``dims`` axes."""

    dims: ClassVar[int]

    p: float = field(default=0.5, validator=in_range(0, 1), doc="probability that a channel is dropped")

    def forward(self, x: Any) -> Any:
        require_floating(type(self).__name__, x)
        require_grid(type(self).__name__, x, self.dims)
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        n, c = x.shape[:2]
        mask, scale = ops.draw_mask(x, self.p, random.stream("spatial_dropout").next(), (n, c) + (1,) * self.dims)
        return ops.masked(x, mask, scale=scale)


class SpatialDropout1D(SpatialDropout):
    """In training, whole channels of a sequence become 0 with probability ``p``, the others are divided by ``1 - p``.

    Shapes: x (N, C, L) -> y of the same; each example and channel is drawn by itself (stream "spatial_dropout"). In
    evaluation the input is returned as it is. As ``torch.nn.Dropout1d``.

    Source: J. Tompson et al., Efficient Object Localization Using Convolutional Networks, arXiv:1411.4280.
    """

    dims: ClassVar[int] = 1


class SpatialDropout2D(SpatialDropout):
    """In training, whole channels of an image become 0 with probability ``p``, the others are divided by ``1 - p``.

    Shapes: x (N, C, H, W) -> y of the same; each example and channel is drawn by itself (stream "spatial_dropout"). In
    evaluation the input is returned as it is. As ``torch.nn.Dropout2d``: neighbouring pixels say nearly the same, so
    that dropping them one by one hides nothing.

    Source: J. Tompson et al., Efficient Object Localization Using Convolutional Networks, arXiv:1411.4280.
    """

    dims: ClassVar[int] = 2


class SpatialDropout3D(SpatialDropout):
    """In training, whole channels of a volume become 0 with probability ``p``, the others are divided by ``1 - p``.

    Shapes: x (N, C, D, H, W) -> y of the same; each example and channel is drawn by itself (stream "spatial_dropout").
    In evaluation the input is returned as it is. As ``torch.nn.Dropout3d``.

    Source: J. Tompson et al., Efficient Object Localization Using Convolutional Networks, arXiv:1411.4280.
    """

    dims: ClassVar[int] = 3


class AlphaDropout(Layer):
    """Dropout for SELU networks: dropped elements become SELU's lowest value, and mean 0 and variance 1 stay.

    ``y = a * (x * m + alpha' * (1 - m)) + b``, where the mask m is 1 with probability ``1 - p``, alpha' =
    -1.7581 is SELU's limit at minus infinity, ``a = ((1 - p) * (1 + p * alpha'^2))^(-1/2)`` and ``b = -a * p * alpha'``.
    In evaluation the input is returned as it is. The masks come from the stream "alpha_dropout". As
    ``torch.nn.AlphaDropout``.

    Source: G. Klambauer et al., Self-Normalizing Neural Networks, arXiv:1706.02515.
    """

    p: float = field(
        default=0.5, validator=in_range(0, 1, include_high=False), doc="probability that an element is dropped"
    )

    def forward(self, x: Any) -> Any:
        require_floating("AlphaDropout", x)
        if not self.training or self.p == 0:
            return x
        mask, scale = ops.draw_mask(x, self.p, random.stream("alpha_dropout").next())
        keep = 1 / scale  # of the probability as it was drawn
        a = (keep * (1 + (1 - keep) * _ALPHA**2)) ** -0.5
        shift = (~mask).astype(x.dtype)
        shift *= a * _ALPHA
        shift -= a * (1 - keep) * _ALPHA
        return ops.masked(x, mask, scale=a) + shift
