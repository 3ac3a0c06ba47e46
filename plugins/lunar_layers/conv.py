"""Two-dimensional convolution."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import Check, field, hyperparameter_error, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.checks import require_floating, require_images
from lunar_layers.initializers import HeNormal, Zeros, as_initializer

padding_check = Check(
    lambda v: v in ("same", "valid") if isinstance(v, str) else v >= 0, "'same', 'valid' or numbers >= 0"
)


class Conv2D(Layer):
    """Two-dimensional convolution (cross-correlation, as everywhere in the field) of images in NCHW order.

    ``y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] * x[n, c, i * stride + u * dilation, ...]``

    Shapes: x (N, C, H, W) -> y (N, out_channels, H', W') with ``H' = (H + padding - dilation * (kernel - 1) - 1) //
    stride + 1``, where ``padding`` counts both sides; ``weight`` (out_channels, C / groups, kernel height, kernel
    width), ``bias`` (out_channels,), both laid out as PyTorch's.

    ``kernel_size``, ``stride`` and ``dilation`` are one int, or a pair (vertical, horizontal). ``padding`` is that, or
    ((top, bottom), (left, right)), or ``"valid"`` (none, the default), or ``"same"``: ``H' = ceil(H / stride)``, an odd
    row or column going to the bottom or right (TensorFlow's rule, which is PyTorch's where PyTorch has one). The border
    is filled with zeros. With ``groups``, each group of output channels sees its own group of input channels.

    The channels are learned from the first call, whose dtype and device the parameters take, unless ``in_channels``
    says them. Weights start as :class:`~lunar_layers.initializers.HeNormal`, biases at zero.

    Raises:
        ShapeError: inputs without a channel axis or with other channels, or smaller than the kernel.
        DTypeError: integer inputs, such as uint8 images.
    """

    out_channels: int = field(validator=positive, doc="channels of the result")
    kernel_size: int | tuple[int, int] = field(validator=positive, doc="height and width of the window")
    stride: int | tuple[int, int] = field(default=1, validator=positive, kw_only=True, doc="step of the window")
    padding: int | str | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] = field(
        default="valid", validator=padding_check, kw_only=True, doc="rows and columns of zeros around the input"
    )
    dilation: int | tuple[int, int] = field(default=1, validator=positive, kw_only=True, doc="distance of the taps")
    groups: int = field(default=1, validator=positive, kw_only=True, doc="independent groups of channels")
    in_channels: int | None = field(
        default=None, validator=positive, kw_only=True, doc="channels of the input; None learns them"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="add a learned offset to each channel")
    weight_init: Initializer = field(
        factory=HeNormal, converter=as_initializer, kw_only=True, doc="initializer of weight"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def __attrs_post_init__(self) -> None:
        for name in ("in_channels", "out_channels"):
            channels = getattr(self, name)
            if channels is not None and channels % self.groups:
                raise hyperparameter_error(self, "groups", self.groups, f"a divisor of {name}, {channels}")
        super().__attrs_post_init__()

    def input_spec(self) -> Spec | None:
        return None if self.in_channels is None else Spec((1, self.in_channels, 1, 1), modes.dtype)

    def build(self, x: Any) -> None:
        self._check(x)
        if x.shape[1] % self.groups or not x.shape[1]:
            raise hyperparameter_error(
                self, "groups", self.groups, f"a divisor of the {x.shape[1]} channels of the input"
            )
        self.in_channels = x.shape[1]
        kernel = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,) * 2
        shape = (self.out_channels, self.in_channels // self.groups, *kernel)
        self.weight = Parameter(self.weight_init(shape))  # (out, in / groups, height, width)
        self.bias = Parameter(self.bias_init((self.out_channels,))) if self.use_bias else None  # (out,)

    def forward(self, x: Any) -> Any:
        self._check(x)
        return ops.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def _check(self, x: Any) -> None:
        require_floating("Conv2D", x)
        if len(x.shape) != 4 or (self.in_channels is not None and x.shape[1] != self.in_channels):
            weight = getattr(self, "weight", None)
            require_images("Conv2D", x, self.in_channels, "" if weight is None else f" (weight is {weight.shape})")
