"""The residual blocks of ResNet, its pre-activation form, Wide ResNet and ResNeXt."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.component import field, hyperparameter_error, in_range, positive
from lunar_layers.block import Block, make_drop_path
from lunar_layers.dropout import Dropout
from lunar_layers.initializers import Zeros
from lunar_layers.parts import make_part, part
from lunar_layers.sequential import Sequential
from lunar_layers.shape import Identity


class ResidualBlock(Block):
    """Base of the post-activation blocks: ``activation(shortcut(x) + branch(x))``."""

    out_channels: int = field(validator=positive, doc="channels of the result")
    stride: int = field(default=1, validator=positive, doc="step of the block; 2 halves height and width")
    dilation: int = field(default=1, validator=positive, kw_only=True, doc="distance of the taps of 3x3 convolutions")
    attention: Any = field(
        default=None, converter=part("layer"), kw_only=True, doc="layer at the end of the branch, such as se_block"
    )
    drop_path: float = field(default=0.0, validator=in_range(0, 1), kw_only=True, doc="rate of stochastic depth")
    zero_init: bool = field(
        default=False, kw_only=True, doc="start the branch's last normalisation at zero: the block begins as a shortcut"
    )

    def last_norm(self, channels: int) -> Any:
        """The normalisation that ends the branch."""
        return self.make_norm(channels, **({"weight_init": Zeros()} if self.zero_init else {}))

    def finish(self) -> None:
        """Make what all blocks have: the shortcut and what stands around the branch."""
        self.downsample = None
        if self.stride != 1 or self.in_channels != self.out_channels:
            self.downsample = self.conv_norm(self.out_channels, 1, self.stride, active=False)
        self.act = self.make_activation()
        self.gate = Identity() if self.attention is None else make_part("layer", self.attention)
        self.path = make_drop_path(self.drop_path)

    def forward(self, x: Any) -> Any:
        self.check(x)
        short = x if self.downsample is None else self.downsample(x)
        return self.act(self.path(self.gate(self.branch(x))) + short)

    def branch(self, x: Any) -> Any:
        """What is added to the shortcut."""
        raise NotImplementedError(f"{type(self).__name__} defines no branch()")


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions and a shortcut: ``relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))``.

    Shapes: x (N, C, H, W) -> y (N, out_channels, ceil(H / stride), ceil(W / stride)). The shortcut is the input where
    it fits, else a 1x1 convolution with that stride and a normalisation (option B of the paper). Names and shapes of
    the parameters are those of torchvision's ``BasicBlock``: conv1, bn1, conv2, bn2, downsample.0 and .1.

    Source: K. He et al., Deep Residual Learning for Image Recognition, arXiv:1512.03385, figure 5, left.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    def setup(self) -> None:
        out = self.out_channels
        self.conv1 = self.conv(out, 3, self.stride, dilation=self.dilation)
        self.bn1 = self.make_norm(out)
        self.conv2 = self.conv(out, 3, dilation=self.dilation)
        self.bn2 = self.last_norm(out)
        self.finish()

    def branch(self, x: Any) -> Any:
        return self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the 3x3 one runs on ``width`` channels and has the stride.

    Shapes: x (N, C, H, W) -> y (N, out_channels, ceil(H / stride), ceil(W / stride)); ``width`` is out_channels / 4
    unless given (torchvision's ``planes``; Wide ResNet-50-2 has out_channels / 2). Everything else is as in
    :class:`BasicBlock`. Names and shapes of the parameters are those of torchvision's ``Bottleneck``.

    Source: K. He et al., arXiv:1512.03385, figure 5, right, with the stride in the 3x3 convolution ("ResNet v1.5"), as
    in torchvision.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    width: int | None = field(
        default=None, validator=positive, kw_only=True, doc="channels of the 3x3 convolution; None is out_channels / 4"
    )
    groups: int = field(default=1, validator=positive, kw_only=True, doc="groups of the 3x3 convolution")

    def inner_width(self) -> int:
        """Channels of the 3x3 convolution."""
        return self.width or max(self.out_channels // 4, 1)

    def setup(self) -> None:
        width, out = self.inner_width(), self.out_channels
        self.conv1 = self.conv(width)
        self.bn1 = self.make_norm(width)
        self.conv2 = self.conv(width, 3, self.stride, groups=self.groups, dilation=self.dilation)
        self.bn2 = self.make_norm(width)
        self.conv3 = self.conv(out)
        self.bn3 = self.last_norm(out)
        self.finish()

    def branch(self, x: Any) -> Any:
        y = self.act(self.bn1(self.conv1(x)))
        y = self.act(self.bn2(self.conv2(y)))
        return self.bn3(self.conv3(y))


class ResNeXtBlock(Bottleneck):
    """A :class:`Bottleneck` whose 3x3 convolution has ``groups`` groups of ``group_width`` channels per 256 of the result.

    Shapes: x (N, C, H, W) -> y (N, out_channels, ceil(H / stride), ceil(W / stride)); the width is
    ``groups * group_width * out_channels / 256``, so that ``ResNeXtBlock(256)`` is the paper's first 32x4d block. Names
    and shapes of the parameters are those of torchvision's ``Bottleneck``.

    Source: S. Xie et al., Aggregated Residual Transformations for Deep Neural Networks, arXiv:1611.05431, figure 3(c).

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    groups: int = field(default=32, validator=positive, kw_only=True, doc="groups of the 3x3 convolution (cardinality)")
    group_width: int = field(
        default=4, validator=positive, kw_only=True, doc="channels of a group where the result has 256"
    )

    def __attrs_post_init__(self) -> None:
        if self.inner_width() % self.groups or not self.inner_width():
            expected = f"such that {self.groups} groups divide the width of {self.inner_width()}"
            raise hyperparameter_error(self, "out_channels", self.out_channels, expected)
        super().__attrs_post_init__()

    def inner_width(self) -> int:
        return self.width or self.groups * self.group_width * self.out_channels // 256


class PreActivation(Block):
    """Base of the pre-activation blocks."""

    dropout: ClassVar[float] = 0.0

    def width(self) -> int:
        """Channels of the result."""
        raise NotImplementedError(f"{type(self).__name__} defines no width()")

    def setup(self) -> None:
        out = self.width()
        self.bn1 = self.make_norm(self.in_channels)
        self.conv1 = self.conv(out, 3, self.stride)
        self.bn2 = self.make_norm(out)
        self.conv2 = self.conv(out, 3)
        self.act = self.make_activation()
        self.drop = Dropout(self.dropout) if self.dropout else Identity()
        self.path = make_drop_path(self.drop_path)
        self.shortcut = None
        if self.stride != 1 or self.in_channels != out:
            self.shortcut = Sequential(self.conv(out, 1, self.stride))

    def forward(self, x: Any) -> Any:
        self.check(x)
        y = self.act(self.bn1(x))
        short = x if self.shortcut is None else self.shortcut(y)
        y = self.drop(self.act(self.bn2(self.conv1(y))))
        return self.path(self.conv2(y)) + short


class PreActBlock(PreActivation):
    """Normalisation and activation before each of two 3x3 convolutions; nothing stands on the shortcut.

    ``conv2(relu(bn2(conv1(relu(bn1(x)))))) + x``. Shapes: x (N, C, H, W) -> y (N, out_channels, ceil(H / stride),
    ceil(W / stride)). Where the shape changes, the shortcut is a 1x1 convolution of ``relu(bn1(x))``.

    Source: K. He et al., Identity Mappings in Deep Residual Networks, arXiv:1603.05027, figure 4(e).

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    out_channels: int = field(validator=positive, doc="channels of the result")
    stride: int = field(default=1, validator=positive, doc="step of the block; 2 halves height and width")
    drop_path: float = field(default=0.0, validator=in_range(0, 1), kw_only=True, doc="rate of stochastic depth")

    def width(self) -> int:
        return self.out_channels


class WideBlock(PreActivation):
    """The block of Wide ResNets: a :class:`PreActBlock` of ``widen`` times the channels, with dropout inside.

    ``conv2(dropout(relu(bn2(conv1(relu(bn1(x))))))) + x``. Shapes: x (N, C, H, W) -> y (N, channels * widen,
    ceil(H / stride), ceil(W / stride)). Where the shape changes, the shortcut is a 1x1 convolution of ``relu(bn1(x))``.

    Source: S. Zagoruyko and N. Komodakis, Wide Residual Networks, arXiv:1605.07146, figure 1(d) and section 2.4; WRN-28-10
    has 16, 32 and 64 channels at ``widen=10``.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    channels: int = field(validator=positive, doc="channels before they are widened")
    stride: int = field(default=1, validator=positive, doc="step of the block; 2 halves height and width")
    widen: int = field(default=10, validator=positive, doc="the widening factor, k")
    dropout: float = field(
        default=0.0, validator=in_range(0, 1), kw_only=True, doc="rate between the convolutions; the paper has 0 or 0.3"
    )
    drop_path: float = field(default=0.0, validator=in_range(0, 1), kw_only=True, doc="rate of stochastic depth")

    def width(self) -> int:
        return self.channels * self.widen
