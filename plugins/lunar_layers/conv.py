"""Convolutions of sequences, images and volumes."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import ops
from lunar_core.component import field, hyperparameter_error, one_of, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_core.ops.windows import padding_of
from lunar_layers.checks import each_axis, padding_check, pads_of, per_axis, per_side, require_floating, require_grid
from lunar_layers.initializers import HeNormal, Zeros, as_initializer

_CONVOLUTIONS = {1: ops.conv1d, 2: ops.conv2d, 3: ops.conv3d}

sizes = [positive, per_axis]
"""Validators of a kernel's size, stride and dilation."""


class Windowed(Layer):
    """What all layers share that slide a learned window over a grid of ``dims`` axes."""

    dims: ClassVar[int]

    kernel_size: int | tuple[int, ...] = field(validator=sizes, doc="size of the window, or one for each axis")
    stride: int | tuple[int, ...] = field(default=1, validator=sizes, kw_only=True, doc="step of the window")
    padding: int | str | tuple[int, ...] | tuple[tuple[int, int], ...] = field(
        default="valid", validator=[padding_check, per_side], kw_only=True, doc="width of the border around the input"
    )
    dilation: int | tuple[int, ...] = field(default=1, validator=sizes, kw_only=True, doc="distance of the taps")
    padding_mode: str = field(
        default="zeros",
        validator=one_of("zeros", "reflect", "replicate", "circular"),
        kw_only=True,
        doc="what the border is made of: zeros, reflect, replicate or circular",
    )
    in_channels: int | None = field(
        default=None, validator=positive, kw_only=True, doc="channels of the input; None learns them"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="add a learned offset to each channel")
    weight_init: Initializer = field(
        factory=HeNormal, converter=as_initializer, kw_only=True, doc="initializer of weight"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def input_spec(self) -> Spec | None:
        return None if self.in_channels is None else Spec((1, self.in_channels, *(1,) * self.dims), modes.dtype)

    @property
    def kernel(self) -> tuple[int, ...]:
        """The size of the window on each axis."""
        return each_axis(self.kernel_size, self.dims)

    def check(self, x: Any) -> None:
        """Refuse inputs that do not fit."""
        name = type(self).__name__
        require_floating(name, x)
        if len(x.shape) != self.dims + 2 or (self.in_channels is not None and x.shape[1] != self.in_channels):
            weight = getattr(self, "weight", None)
            detail = "" if weight is None else f" (weight is {weight.shape})"
            require_grid(name, x, self.dims, self.in_channels, detail)

    def bordered(self, x: Any) -> Any:
        """``x`` with a border that is not made of zeros."""
        if isinstance(self.padding, str):
            stride, dilation = each_axis(self.stride, self.dims), each_axis(self.dilation, self.dims)
            pads = padding_of(self.padding, tuple(x.shape[2:]), self.kernel, stride, dilation, type(self).__name__)
        else:
            pads = pads_of(self.padding, self.dims)
        return ops.pad(x, ((0, 0), (0, 0), *pads), mode=self.padding_mode) if any(map(any, pads)) else x

    def convolved(self, x: Any, weight: Any, bias: Any, groups: int) -> Any:
        """The convolution with this layer's geometry."""
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = self.bordered(x), "valid"
        return _CONVOLUTIONS[self.dims](x, weight, bias, self.stride, padding, self.dilation, groups)


class Grouped(Windowed):
    """What convolutions share whose channels fall into groups, transposed ones included."""

    out_channels: int = field(validator=positive, doc="channels of the result")
    kernel_size: int | tuple[int, ...] = field(validator=sizes, doc="size of the window, or one for each axis")
    groups: int = field(default=1, validator=positive, kw_only=True, doc="independent groups of channels")

    def __attrs_post_init__(self) -> None:
        for name in ("in_channels", "out_channels"):
            channels = getattr(self, name)
            if channels is not None and channels % self.groups:
                raise hyperparameter_error(self, "groups", self.groups, f"a divisor of {name}, {channels}")
        super().__attrs_post_init__()

    def weight_shape(self, channels: int) -> tuple[int, ...]:
        """The shape of the weight for an input of ``channels``."""
        return (self.out_channels, channels // self.groups, *self.kernel)  # (out, in / groups, *kernel)

    def build(self, x: Any) -> None:
        self.check(x)
        channels = x.shape[1]
        if channels % self.groups or not channels:
            raise hyperparameter_error(
                self, "groups", self.groups, f"a divisor of the {channels} channels of the input"
            )
        self.in_channels = channels
        self.weight = Parameter(self.weight_init(self.weight_shape(channels)))
        self.bias = Parameter(self.bias_init((self.out_channels,))) if self.use_bias else None  # (out,)

    def forward(self, x: Any) -> Any:
        self.check(x)
        return self.convolved(x, self.weight, self.bias, self.groups)


class Conv1D(Grouped):
    """One-dimensional convolution (cross-correlation, as everywhere in the field) of sequences in NCL order.

    ``y[n, o, i] = bias[o] + sum over c, u of weight[o, c, u] * x[n, c, i * stride + u * dilation - before]``

    Shapes: x (N, C, L) -> y (N, out_channels, L') with ``L' = (L + padding - dilation * (kernel - 1) - 1) // stride +
    1``, where ``padding`` counts both ends; ``weight`` (out_channels, C / groups, kernel), ``bias`` (out_channels,),
    both laid out as PyTorch's.

    ``padding`` is one int, (before, after), ``"valid"`` (none, the default) or ``"same"`` (``L' = ceil(L / stride)``);
    a causal convolution has (dilation * (kernel - 1), 0). Everything else is as in :class:`Conv2D`.

    Raises:
        ShapeError: inputs without a channel axis or with other channels, or smaller than the kernel.
        DTypeError: integer inputs.
    """

    dims: ClassVar[int] = 1


class Conv2D(Grouped):
    """Two-dimensional convolution (cross-correlation, as everywhere in the field) of images in NCHW order.

    ``y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] * x[n, c, i * stride + u * dilation, ...]``

    Shapes: x (N, C, H, W) -> y (N, out_channels, H', W') with ``H' = (H + padding - dilation * (kernel - 1) - 1) //
    stride + 1``, where ``padding`` counts both sides; ``weight`` (out_channels, C / groups, kernel height, kernel
    width), ``bias`` (out_channels,), both laid out as PyTorch's.

    ``kernel_size``, ``stride`` and ``dilation`` are one int, or a pair (vertical, horizontal). ``padding`` is that, or
    ((top, bottom), (left, right)), or ``"valid"`` (none, the default), or ``"same"``: ``H' = ceil(H / stride)``, an odd
    row or column going to the bottom or right (TensorFlow's rule, which is PyTorch's where PyTorch has one). The border
    is filled with zeros; ``padding_mode`` ``"reflect"`` mirrors the image, ``"replicate"`` repeats its edge and
    ``"circular"`` takes what is at the other side. With ``groups``, each group of output channels sees its own group
    of input channels.

    The channels are learned from the first call, whose dtype and device the parameters take, unless ``in_channels``
    says them. Weights start as :class:`~lunar_layers.initializers.HeNormal`, biases at zero.

    Raises:
        ShapeError: inputs without a channel axis or with other channels, or smaller than the kernel.
        DTypeError: integer inputs, such as uint8 images.
    """

    dims: ClassVar[int] = 2


class Conv3D(Grouped):
    """Three-dimensional convolution (cross-correlation, as everywhere in the field) of volumes in NCDHW order.

    Shapes: x (N, C, D, H, W) -> y (N, out_channels, D', H', W'), each size as in :class:`Conv2D`; ``weight``
    (out_channels, C / groups, kernel depth, height, width), ``bias`` (out_channels,), both laid out as PyTorch's.

    ``kernel_size``, ``stride`` and ``dilation`` are one int or three (depth, height, width); ``padding`` is that, or a
    pair (before, after) for each axis, ``"valid"`` (none, the default) or ``"same"``. Everything else is as in
    :class:`Conv2D`.

    Raises:
        ShapeError: inputs without a channel axis or with other channels, or smaller than the kernel.
        DTypeError: integer inputs.
    """

    dims: ClassVar[int] = 3
