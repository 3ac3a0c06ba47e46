"""The blocks of GoogLeNet, Inception-v2 and Inception-ResNet-v2."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, hyperparameter_error, one_of, positive
from lunar_layers.block import Block
from lunar_layers.parts import part
from lunar_layers.pooling import AvgPool2D, MaxPool2D
from lunar_layers.sequential import Sequential


class InceptionV1Block(Block):
    """Four branches side by side, joined along the channels: 1x1; 1x1 and 3x3; 1x1 and 5x5; 3x3 max pooling and 1x1.

    Shapes: x (N, C, H, W) -> y (N, out1x1 + out3x3 + out5x5 + pool_proj, H, W). Every convolution is followed by an
    activation; normalisation there is none, as in the paper, unless ``norm`` names one. ``kernel_size`` 3 in the place
    of 5 makes torchvision's variant, which has ``norm=BatchNorm2D(eps=1e-3)`` too.

    Source: C. Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, figure 2(b); the arguments are the
    columns of its table 1: ``InceptionV1Block(64, 96, 128, 16, 32, 32)`` is "3a" with 163,696 parameters on 192
    channels.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    out1x1: int = field(validator=positive, doc="channels of the 1x1 branch")
    reduce3x3: int = field(validator=positive, doc="channels before the 3x3 convolution")
    out3x3: int = field(validator=positive, doc="channels of the 3x3 branch")
    reduce5x5: int = field(validator=positive, doc="channels before the 5x5 convolution")
    out5x5: int = field(validator=positive, doc="channels of the 5x5 branch")
    pool_proj: int = field(validator=positive, doc="channels of the pooling branch")
    kernel_size: int = field(default=5, validator=positive, kw_only=True, doc="size of the larger window")
    norm: Any = field(
        default=None, converter=part("layer"), kw_only=True, doc="normalisation, or its name; None for none"
    )

    def setup(self) -> None:
        unit = self.conv_norm
        self.branch1 = unit(self.out1x1)
        self.branch2 = Sequential(unit(self.reduce3x3), unit(self.out3x3, 3))
        self.branch3 = Sequential(unit(self.reduce5x5), unit(self.out5x5, self.kernel_size))
        self.branch4 = Sequential(MaxPool2D(3, 1, padding=1), unit(self.pool_proj))

    def forward(self, x: Any) -> Any:
        self.check(x)
        return ops.concat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], axis=1)


class InceptionV2Block(Block):
    """:class:`InceptionV1Block` with two 3x3 convolutions for the 5x5 one and batch normalisation everywhere.

    Shapes: x (N, C, H, W) -> y (N, out1x1 + out3x3 + out_double + pool_proj, H, W). With ``stride`` 2 it reduces: height
    and width are halved, there is no 1x1 branch, and the pooling branch is the maximum alone, whose C channels join the
    result; ``out1x1`` and ``pool_proj`` are 0 then.

    Source: S. Ioffe and C. Szegedy, Batch Normalization, arXiv:1502.03167, the network of its appendix (figure 5), whose
    columns are the arguments; C. Szegedy et al., arXiv:1512.00567, figure 5.

    Raises:
        HyperparameterError: ``out1x1`` or ``pool_proj`` that do not fit the stride.
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    out1x1: int = field(doc="channels of the 1x1 branch; 0 with stride 2")
    reduce3x3: int = field(validator=positive, doc="channels before the 3x3 convolution")
    out3x3: int = field(validator=positive, doc="channels of the 3x3 branch")
    reduce_double: int = field(validator=positive, doc="channels before the two 3x3 convolutions")
    out_double: int = field(validator=positive, doc="channels of the branch with two 3x3 convolutions")
    pool_proj: int = field(doc="channels of the pooling branch; 0 with stride 2")
    pool: str = field(default="avg", validator=one_of("avg", "max"), kw_only=True, doc="mean or maximum of 3x3")
    stride: int = field(default=1, validator=one_of(1, 2), kw_only=True, doc="step of the block")

    def __attrs_post_init__(self) -> None:
        for name in ("out1x1", "pool_proj"):
            value = getattr(self, name)
            if value < 0 or (value == 0) != (self.stride == 2):
                expected = "0 with stride 2" if self.stride == 2 else "> 0 with stride 1"
                raise hyperparameter_error(self, name, value, expected)
        super().__attrs_post_init__()

    def setup(self) -> None:
        unit, s = self.conv_norm, self.stride
        self.branch1 = unit(self.out1x1) if self.out1x1 else None
        self.branch2 = Sequential(unit(self.reduce3x3), unit(self.out3x3, 3, s))
        self.branch3 = Sequential(unit(self.reduce_double), unit(self.out_double, 3), unit(self.out_double, 3, s))
        pooled = AvgPool2D(3, s, padding=1) if self.pool == "avg" and s == 1 else MaxPool2D(3, s, padding=1)
        self.branch4 = Sequential(pooled, unit(self.pool_proj)) if self.pool_proj else pooled

    def forward(self, x: Any) -> Any:
        self.check(x)
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return ops.concat([branch(x) for branch in branches if branch is not None], axis=1)


# Of each kind: the branches as (channels, kernel) steps, and the scale of the residual.
_KINDS: dict[str, tuple[list[list[tuple[int, Any]]], float]] = {
    "a": ([[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]], 0.17),
    "b": ([[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]], 0.10),
    "c": ([[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]], 0.20),
}


class InceptionResNetBlock(Block):
    """Inception branches, a 1x1 convolution back to the input's channels, and a scaled residual.

    ``relu(x + scale * conv(concat(branches(x))))``; the last convolution has a bias and neither normalisation nor
    activation. ``kind`` is ``"a"`` (35x35 grids: 3x3 windows), ``"b"`` (17x17: 1x7 and 7x1) or ``"c"`` (8x8: 1x3 and
    3x1). ``width`` multiplies the channels of the branches; 1 is the paper's.

    Shapes: x (N, C, H, W) -> y of the same; in the authors' code C is 320, 1088 and 2080 for the kinds.

    Source: C. Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning,
    arXiv:1602.07261, figures 16, 17 and 19; the scales are those of the authors' code: 0.17, 0.10 and 0.20.

    Raises:
        ShapeError: inputs that are not NCHW or have other channels.
        DTypeError: integer inputs.
    """

    block_kind: str = field(alias="kind", validator=one_of("a", "b", "c"), doc="which of the three blocks")
    scale: float | None = field(
        default=None, validator=positive, doc="factor of the branches; None is that of the authors' code"
    )
    width: float = field(default=1.0, validator=positive, kw_only=True, doc="factor on the channels of the branches")

    def setup(self) -> None:
        branches, self.factor = _KINDS[self.block_kind]
        if self.scale is not None:
            self.factor = self.scale
        self.branches = [
            Sequential(*(self.conv_norm(max(1, round(c * self.width)), kernel) for c, kernel in steps))
            for steps in branches
        ]
        self.project = self.conv(self.in_channels, use_bias=True)
        self.act = self.make_activation()

    def forward(self, x: Any) -> Any:
        self.check(x)
        joined = ops.concat([branch(x) for branch in self.branches], axis=1)
        return self.act(x + self.project(joined) * self.factor)
