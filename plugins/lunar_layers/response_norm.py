"""Normalisation of channels by the response of other channels."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import ops
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.checks import require_floating
from lunar_layers.initializers import Zeros, as_initializer


class LocalResponseNorm(Layer):
    """``x / (k + alpha / size * sum of x^2 over size neighbouring channels) ** beta``.

    Shapes: x (N, C, ...) with at least one axis after the channels -> y of the same. The neighbourhood of channel c
    begins at ``c - size // 2``; channels outside count as 0. Training and evaluation do the same. AlexNet has
    ``LocalResponseNorm(5, alpha=5e-4, k=2)`` in this notation.

    Source: A. Krizhevsky, I. Sutskever and G. Hinton, ImageNet Classification with Deep Convolutional Neural Networks,
    NeurIPS 2012, section 3.3, with ``alpha`` divided by ``size``: ``torch.nn.LocalResponseNorm``.

    Raises:
        ShapeError: inputs of fewer than three axes.
        DTypeError: integer inputs.
    """

    channel_axis: ClassVar[int] = 1  # a Transformer turns its tokens so that features stand there

    size: int = field(validator=positive, doc="channels of a neighbourhood")
    alpha: float = field(default=1e-4, validator=non_negative, doc="weight of the mean square")
    beta: float = field(default=0.75, doc="the exponent")
    k: float = field(default=1.0, validator=non_negative, doc="what is added to the weighted mean square")

    def forward(self, x: Any) -> Any:
        require_floating("LocalResponseNorm", x)
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)


class GlobalResponseNorm(Layer):
    """``x + weight * x * n + bias`` with ``n_c = |x_c| / (mean over channels of |x_c| + eps)``: channels compete.

    ``|x_c|`` is the Euclidean norm of channel c over all pixels of a sample.

    Shapes: x (N, C, ...) with at least one axis after the channels -> y of the same; ``weight`` and ``bias`` (C,), which
    start at zero, so that the layer begins as the identity. The channels are learned from the first call unless
    ``num_channels`` says them. Training and evaluation do the same.

    Source: S. Woo et al., ConvNeXt V2, arXiv:2301.00808, section 3 and algorithm 1, with the residual connection.

    Raises:
        ShapeError: inputs without axes after the channels or with other channels.
        DTypeError: integer inputs.
    """

    channel_axis: ClassVar[int] = 1  # a Transformer turns its tokens so that features stand there

    num_channels: int | None = field(default=None, validator=positive, doc="channels of the input; None learns them")
    eps: float = field(default=1e-6, validator=positive, doc="added to the mean norm")
    weight_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of weight")
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def input_spec(self) -> Spec | None:
        return None if self.num_channels is None else Spec((1, self.num_channels, 1), modes.dtype)

    def build(self, x: Any) -> None:
        self._check(x)
        self.num_channels = x.shape[1]
        self.weight = Parameter(self.weight_init((self.num_channels,)))  # (C,)
        self.bias = Parameter(self.bias_init((self.num_channels,)))  # (C,)

    def forward(self, x: Any) -> Any:
        self._check(x)
        ndim = len(x.shape)
        norms = ops.norm(x, axis=tuple(range(2, ndim)), keepdims=True)
        relative = norms / (ops.mean(norms, axis=1, keepdims=True) + self.eps)
        per_channel = (-1,) + (1,) * (ndim - 2)
        return x * (relative * self.weight.reshape(per_channel) + 1) + self.bias.reshape(per_channel)

    def _check(self, x: Any) -> None:
        require_floating("GlobalResponseNorm", x)
        shape = tuple(x.shape)
        if len(shape) < 3 or (self.num_channels is not None and shape[1] != self.num_channels):
            channels = "channels" if self.num_channels is None else f"{self.num_channels} channels"
            raise ShapeError(f"GlobalResponseNorm expects inputs (batch, {channels}, sizes...), got {shape}")
