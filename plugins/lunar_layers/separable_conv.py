"""Convolutions of each channel by itself, alone and followed by one that mixes them."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.component import field, positive
from lunar_core.module import Parameter
from lunar_layers.conv import Conv2D, Windowed, sizes


class DepthwiseConv2D(Windowed):
    """Two-dimensional convolution of each channel by itself, with ``depth_multiplier`` results for each.

    Shapes: x (N, C, H, W) -> y (N, C * depth_multiplier, H', W'), where the channels c * depth_multiplier + m come from
    channel c; ``weight`` (C * depth_multiplier, 1, kernel height, kernel width), ``bias`` (C * depth_multiplier,). It is
    :class:`Conv2D` with as many groups as channels, whose other arguments it shares, so PyTorch's weights fit.

    Source: F. Chollet, Xception, arXiv:1610.02357; Keras' ``DepthwiseConv2D``.

    Raises:
        ShapeError: inputs without a channel axis or with other channels, or smaller than the kernel.
        DTypeError: integer inputs.
    """

    dims: ClassVar[int] = 2

    kernel_size: int | tuple[int, ...] = field(validator=sizes, doc="height and width of the window")
    depth_multiplier: int = field(default=1, validator=positive, doc="results for each channel")

    def build(self, x: Any) -> None:
        self.check(x)
        self.in_channels = x.shape[1]
        out = self.in_channels * self.depth_multiplier
        self.weight = Parameter(self.weight_init((out, 1, *self.kernel)))  # (C * multiplier, 1, height, width)
        self.bias = Parameter(self.bias_init((out,))) if self.use_bias else None  # (C * multiplier,)

    def forward(self, x: Any) -> Any:
        self.check(x)
        return self.convolved(x, self.weight, self.bias, x.shape[1])


class SeparableConv2D(Windowed):
    """A convolution of each channel by itself, then a 1x1 convolution that mixes them: fewer weights than both at once.

    Shapes: x (N, C, H, W) -> y (N, out_channels, H', W') as of :class:`Conv2D`; ``depthwise.weight``
    (C * depth_multiplier, 1, kernel height, kernel width), ``pointwise.weight`` (out_channels, C * depth_multiplier, 1,
    1), ``pointwise.bias`` (out_channels,). Nothing stands between the two, and there is no other bias.

    Source: F. Chollet, Xception, arXiv:1610.02357; Keras' ``SeparableConv2D``.

    Raises:
        ShapeError: inputs without a channel axis or with other channels, or smaller than the kernel.
        DTypeError: integer inputs.
    """

    dims: ClassVar[int] = 2

    out_channels: int = field(validator=positive, doc="channels of the result")
    kernel_size: int | tuple[int, ...] = field(validator=sizes, doc="height and width of the window")
    depth_multiplier: int = field(default=1, validator=positive, kw_only=True, doc="depthwise results for each channel")

    def build(self, x: Any) -> None:
        self.check(x)
        self.in_channels = x.shape[1]
        self.depthwise = DepthwiseConv2D(
            self.kernel_size, self.depth_multiplier, stride=self.stride, padding=self.padding, dilation=self.dilation,
            padding_mode=self.padding_mode, use_bias=False, weight_init=self.weight_init, in_channels=self.in_channels,
        )  # fmt: skip
        self.pointwise = Conv2D(
            self.out_channels, 1, use_bias=self.use_bias, weight_init=self.weight_init, bias_init=self.bias_init,
            in_channels=self.in_channels * self.depth_multiplier,
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        self.check(x)
        return self.pointwise(self.depthwise(x))
