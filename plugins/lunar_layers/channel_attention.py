"""Gates on channels and pixels: Squeeze-and-Excitation, CBAM."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.initializer import Initializer
from lunar_layers.block import Block
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.initializers import HeNormal, as_initializer
from lunar_layers.parts import make_part, part


class SEBlock(Block):
    """Squeeze-and-excitation: each channel times a gate computed from the means of all channels.

    ``y = x * gate(fc2(activation(fc1(mean of x over pixels))))``. Shapes: x (N, C, H, W) -> y of the same; ``fc1`` and
    ``fc2`` are 1x1 convolutions to ``squeeze_channels`` and back, by default ``max(C // reduction, 1)``. Names and shapes
    of the parameters are those of torchvision's ``SqueezeExcitation``.

    Source: J. Hu, L. Shen and G. Sun, Squeeze-and-Excitation Networks, arXiv:1709.01507, section 3.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    reduction: int = field(default=16, validator=positive, doc="C over the channels in between")
    squeeze_channels: int | None = field(
        default=None, validator=positive, kw_only=True, doc="the channels in between; None is C // reduction"
    )
    gate: Any = field(default="sigmoid", converter=part("activation"), kw_only=True, doc="the gate, or its name")
    norm: Any = field(default=None, init=False, config=False, doc="there is none")

    def setup(self) -> None:
        squeeze = self.squeeze_channels or max(self.in_channels // self.reduction, 1)
        self.fc1, self.fc2 = self.conv(squeeze), self.conv(self.in_channels)
        self.act, self.open = self.make_activation(), make_part("activation", self.gate)

    def forward(self, x: Any) -> Any:
        self.check(x)
        squeezed = ops.mean(x, axis=(2, 3), keepdims=True)
        return x * self.open(self.fc2(self.act(self.fc1(squeezed))))


class CBAM(Block):
    """Convolutional block attention: a gate on each channel, then a gate on each pixel.

    ``x' = x * sigmoid(mlp(mean of x) + mlp(max of x))`` over pixels, with ``mlp = fc2 . relu . fc1`` of C / reduction
    hidden units, then ``y = x' * sigmoid(conv([mean of x', max of x']))`` over channels, with a convolution of
    ``kernel_size``.

    Shapes: x (N, C, H, W) -> y of the same.

    Source: S. Woo et al., CBAM: Convolutional Block Attention Module, arXiv:1807.06521, equations 2 and 3; the authors'
    code has a batch normalisation after the convolution, which the paper has not.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    reduction: int = field(default=16, validator=positive, doc="C over the hidden units")
    kernel_size: int = field(default=7, validator=positive, kw_only=True, doc="size of the window of the pixels' gate")
    norm: Any = field(default=None, init=False, config=False, doc="there is none")
    weight_init: Initializer = field(
        factory=HeNormal, converter=as_initializer, kw_only=True, doc="initializer of the weights"
    )

    def setup(self) -> None:
        hidden = max(self.in_channels // self.reduction, 1)
        self.fc1 = Dense(hidden, weight_init=self.weight_init)
        self.fc2 = Dense(self.in_channels, weight_init=self.weight_init)
        self.spatial = Conv2D(1, self.kernel_size, padding="same", use_bias=False, weight_init=self.weight_init)
        self.act = self.make_activation()

    def forward(self, x: Any) -> Any:
        self.check(x)
        excited = [self.fc2(self.act(self.fc1(pooled))) for pooled in (ops.mean(x, (2, 3)), ops.max(x, (2, 3)))]
        x = x * ops.sigmoid(excited[0] + excited[1]).reshape((*x.shape[:2], 1, 1))
        pooled = ops.concat([ops.mean(x, axis=1, keepdims=True), ops.max(x, axis=1, keepdims=True)], axis=1)
        return x * ops.sigmoid(self.spatial(pooled))
