"""A convolution whose weights differ from place to place."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_core.ops.windows import padding_of, window_counts
from lunar_layers.checks import each_axis, pads_of
from lunar_layers.conv import Windowed, sizes


class LocallyConnected2D(Windowed):
    """A convolution whose weights differ from place to place.

    ``y[n, o, i, j] = bias[o, i, j] + sum over c, u, v of weight[i, j, o, c, u, v] * x[n, c, i * stride + u, ...]``

    Shapes: x (N, C, H, W) -> y (N, out_channels, H', W') as of :class:`Conv2D`; ``weight`` (H', W', out_channels, C,
    kernel height, kernel width), ``bias`` (out_channels, H', W'). Channels and size of the images are learned from the
    first call, unless ``input_size`` (H, W) and ``in_channels`` say them, and stay. Each place starts as the weight of
    a convolution does.

    Source: Y. Taigman et al., DeepFace, CVPR 2014; Keras' ``LocallyConnected2D`` (its implementation 1).

    Raises:
        ShapeError: images of another size, without a channel axis or with other channels, or smaller than the kernel.
        DTypeError: integer inputs.
    """

    dims: ClassVar[int] = 2

    out_channels: int = field(validator=positive, doc="channels of the result")
    kernel_size: int | tuple[int, ...] = field(validator=sizes, doc="height and width of the window")
    input_size: tuple[int, int] | None = field(
        default=None, validator=positive, kw_only=True, doc="height and width of the images; None learns them"
    )

    def input_spec(self) -> Spec | None:
        if self.in_channels is None or self.input_size is None:
            return None
        return Spec((1, self.in_channels, *self.input_size), modes.dtype)

    def build(self, x: Any) -> None:
        self.check(x)
        self.in_channels, self.input_size = x.shape[1], tuple(x.shape[2:])
        counts = self._counts()
        shape = (counts[0] * counts[1] * self.out_channels, self.in_channels, *self.kernel)
        start = self.weight_init(shape).reshape(*counts, self.out_channels, *shape[1:])
        self.weight = Parameter(start)  # (H', W', out, in, height, width)
        self.bias = Parameter(self.bias_init((self.out_channels, *counts))) if self.use_bias else None  # (out, H', W')

    def forward(self, x: Any) -> Any:
        self.check(x)
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = self.bordered(x), 0
        windows = ops.unfold(x, self.kernel, self.dilation, padding, self.stride)  # (N, in * height * width, H' * W')
        h, w, o = self.weight.shape[:3]
        weight = ops.swapaxes(ops.reshape(self.weight, (h * w, o, -1)), 1, 2)
        y = ops.matmul(ops.transpose(windows, (2, 0, 1)), weight)  # (H' * W', N, out)
        y = ops.reshape(ops.transpose(y, (1, 2, 0)), (x.shape[0], o, h, w))
        return y if self.bias is None else y + self.bias

    def _counts(self) -> tuple[int, ...]:
        """Number of windows on each axis."""
        size, stride, dilation = self.input_size, each_axis(self.stride, 2), each_axis(self.dilation, 2)
        padding = self.padding if isinstance(self.padding, str) else pads_of(self.padding, 2)
        pads = padding_of(padding, size, self.kernel, stride, dilation, "LocallyConnected2D")
        return window_counts(size, self.kernel, stride, pads, dilation, "LocallyConnected2D")

    def check(self, x: Any) -> None:
        super().check(x)
        if self.input_size is not None and tuple(x.shape[2:]) != self.input_size:
            h, w = self.input_size
            raise ShapeError(f"LocallyConnected2D has weights for images of {h}x{w}, got {tuple(x.shape)}")
