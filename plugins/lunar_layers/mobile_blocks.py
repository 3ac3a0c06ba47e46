"""The inverted residual blocks of MobileNetV2 and EfficientNet."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, in_range, non_negative, positive
from lunar_layers.block import Block, make_drop_path
from lunar_layers.channel_attention import SEBlock
from lunar_layers.parts import part
from lunar_layers.sequential import Sequential


class ExpandingBlock(Block):
    """Base of blocks that widen, filter and narrow, with a shortcut where the shape stays."""

    out_channels: int = field(validator=positive, doc="channels of the result")
    stride: int = field(default=1, validator=positive, doc="step of the block; 2 halves height and width")
    expand_ratio: float = field(default=6.0, validator=positive, doc="how much wider the block is inside")
    kernel_size: int = field(default=3, validator=positive, kw_only=True, doc="size of the window")
    drop_path: float = field(default=0.0, validator=in_range(0, 1), kw_only=True, doc="rate of stochastic depth")

    def expanded(self) -> int:
        """Channels inside the block."""
        return divisible(self.in_channels * self.expand_ratio, 8) if self.expand_ratio != 1 else self.in_channels

    def join(self, x: Any, y: Any) -> Any:
        """The result ``y`` of the branch with the shortcut, if there is one."""
        return self.path(y) + x if self.stride == 1 and self.in_channels == self.out_channels else y


class InvertedResidual(ExpandingBlock):
    """1x1 expansion, depthwise 3x3, 1x1 projection without an activation; a shortcut between the narrow ends.

    Shapes: x (N, C, H, W) -> y (N, out_channels, ceil(H / stride), ceil(W / stride)); inside there are
    ``C * expand_ratio`` channels, and at ratio 1 there is no expansion. The input is added where stride is 1 and the
    channels agree. Names and shapes of the parameters are those of torchvision's ``InvertedResidual`` (MobileNetV2).

    Source: M. Sandler et al., MobileNetV2, arXiv:1801.04381, table 1 and figure 4(d).

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    activation: Any = field(default="relu6", converter=part("activation"), kw_only=True, doc="activation, or its name")

    def expanded(self) -> int:
        return round(self.in_channels * self.expand_ratio)

    def setup(self) -> None:
        inside, k = self.expanded(), self.kernel_size
        parts = [self.conv_norm(inside)] if self.expand_ratio != 1 else []
        parts += [self.conv_norm(inside, k, self.stride, groups=inside), self.conv(self.out_channels)]
        self.layers = Sequential(*parts, self.make_norm(self.out_channels))
        self.path = make_drop_path(self.drop_path)

    def forward(self, x: Any) -> Any:
        self.check(x)
        return self.join(x, self.layers(x))


class MBConv(ExpandingBlock):
    """The block of EfficientNet: an inverted residual with SiLU and squeeze-and-excitation.

    1x1 expansion (none at ``expand_ratio`` 1), depthwise convolution, :class:`SEBlock` of ``C * se_ratio`` channels
    (none at 0), 1x1 projection without an activation; the input is added where stride is 1 and the channels agree.
    Expanded channels are rounded to multiples of 8.

    Shapes: x (N, C, H, W) -> y (N, out_channels, ceil(H / stride), ceil(W / stride)). Names and shapes of the
    parameters are those of torchvision's ``MBConv``.

    Source: M. Tan and Q. Le, EfficientNet, arXiv:1905.11946, section 4; M. Tan et al., MnasNet, arXiv:1807.11626.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    activation: Any = field(default="silu", converter=part("activation"), kw_only=True, doc="activation, or its name")
    se_ratio: float = field(
        default=0.25, validator=non_negative, kw_only=True, doc="channels of the squeeze over those of the input"
    )

    def setup(self) -> None:
        inside, k = self.expanded(), self.kernel_size
        parts: list[Any] = [self.conv_norm(inside)] if inside != self.in_channels else []
        parts.append(self.conv_norm(inside, k, self.stride, groups=inside))
        if self.se_ratio:
            squeeze = max(1, int(self.in_channels * self.se_ratio))
            parts.append(SEBlock(squeeze_channels=squeeze, activation=self.make_activation()))
        self.block = Sequential(*parts, self.conv_norm(self.out_channels, active=False))
        self.path = make_drop_path(self.drop_path)

    def forward(self, x: Any) -> Any:
        self.check(x)
        return self.join(x, self.block(x))


class FusedMBConv(ExpandingBlock):
    """The early block of EfficientNetV2: :class:`MBConv` with one full convolution for expansion and depthwise ones.

    Convolution of ``kernel_size`` that expands and strides, 1x1 projection without an activation; at ``expand_ratio``
    1 only one convolution, with an activation. The input is added where stride is 1 and the channels agree.

    Shapes: x (N, C, H, W) -> y (N, out_channels, ceil(H / stride), ceil(W / stride)). Names and shapes of the
    parameters are those of torchvision's ``FusedMBConv``.

    Source: M. Tan and Q. Le, EfficientNetV2, arXiv:2104.00298, figure 2, without squeeze-and-excitation, as in its
    table 4.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    expand_ratio: float = field(default=4.0, validator=positive, doc="how much wider the block is inside")
    activation: Any = field(default="silu", converter=part("activation"), kw_only=True, doc="activation, or its name")

    def setup(self) -> None:
        inside, k, out = self.expanded(), self.kernel_size, self.out_channels
        if inside == self.in_channels:
            self.block = Sequential(self.conv_norm(out, k, self.stride))
        else:
            self.block = Sequential(self.conv_norm(inside, k, self.stride), self.conv_norm(out, active=False))
        self.path = make_drop_path(self.drop_path)

    def forward(self, x: Any) -> Any:
        self.check(x)
        return self.join(x, self.block(x))


def divisible(value: float, by: int) -> int:
    """The multiple of ``by`` nearest to ``value``, at least ``by`` and not below 90 % of it: MobileNet's rounding."""
    near = max(by, int(value + by / 2) // by * by)
    return near + by if near < 0.9 * value else near
