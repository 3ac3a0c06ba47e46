"""The block of ConvNeXt."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.module import Parameter
from lunar_layers.block import Block, make_drop_path
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.initializers import Constant, TruncatedNormal, as_initializer
from lunar_layers.parts import make_part, part
from lunar_layers.sequential import Sequential
from lunar_layers.shape import Permute


class ConvNeXtBlock(Block):
    """Depthwise 7x7 convolution, layer norm over channels, two dense layers with GELU between; a scaled residual.

    ``y = x + layer_scale * (W2 gelu(W1 norm(dwconv(x))))``. Shapes: x (N, C, H, W) -> y of the same; the hidden size is
    ``expansion * C``, ``layer_scale`` (C, 1, 1) starts at ``layer_scale_init``. Names and shapes of the parameters are
    those of torchvision's ``CNBlock``. ``norm`` normalises the last axis here.

    Source: Z. Liu et al., A ConvNet for the 2020s, arXiv:2201.03545, figure 4.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    kernel_size: int = field(default=7, validator=positive, doc="size of the window of the depthwise convolution")
    expansion: int = field(default=4, validator=positive, doc="hidden size over channels")
    layer_scale_init: float = field(
        default=1e-6, validator=non_negative, kw_only=True, doc="what layer_scale starts with"
    )
    drop_path: float = field(default=0.0, validator=in_range(0, 1), kw_only=True, doc="rate of stochastic depth")
    norm: Any = field(
        default="layer_norm", converter=part("layer"), kw_only=True, doc="normalisation of the last axis, or its name"
    )
    activation: Any = field(default="gelu", converter=part("activation"), kw_only=True, doc="activation, or its name")
    weight_init: Initializer = field(
        factory=lambda: TruncatedNormal(std=0.02), converter=as_initializer, kw_only=True, doc="initializer of weights"
    )

    def setup(self) -> None:
        c, start = self.in_channels, self.weight_init
        self.block = Sequential(
            Conv2D(c, self.kernel_size, padding="same", groups=c, weight_init=start), Permute((0, 2, 3, 1)),
            make_part("layer", self.norm, eps=1e-6), Dense(self.expansion * c, weight_init=start),
            self.make_activation(), Dense(c, weight_init=start), Permute((0, 3, 1, 2)),
        )  # fmt: skip
        self.layer_scale = Parameter(Constant(self.layer_scale_init)((c, 1, 1)))  # (C, 1, 1)
        self.path = make_drop_path(self.drop_path)

    def forward(self, x: Any) -> Any:
        self.check(x)
        return x + self.path(self.block(x) * self.layer_scale)
