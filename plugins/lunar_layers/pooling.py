"""Pooling of images: the maximum or the mean of a window, or of the whole image."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.layer import Layer
from lunar_layers.checks import require_images


class MaxPool2D(Layer):
    """The largest value of each window.

    Shapes: x (N, C, H, W) -> y (N, C, H', W'),
    ``H' = (H + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1``.

    ``stride`` defaults to the window's size, so that windows do not overlap. A border never wins: it counts as minus
    infinity. Among equal values the first one of the window gets the gradient, as in PyTorch.

    Arguments are one int, or a pair (vertical, horizontal). ``padding`` is at most half of the window. With
    ``ceil_mode`` a last window that hangs over the end counts too, if it starts inside.
    """

    kernel_size: int | tuple[int, int] = field(validator=positive, doc="height and width of the window")
    stride: int | tuple[int, int] | None = field(
        default=None, validator=positive, doc="step; None is the kernel's size"
    )
    padding: int | tuple[int, int] = field(
        default=0, validator=non_negative, kw_only=True, doc="rows and columns added on each side"
    )
    dilation: int | tuple[int, int] = field(default=1, validator=positive, kw_only=True, doc="distance of the taps")
    ceil_mode: bool = field(default=False, kw_only=True, doc="count a last window that hangs over the end")

    def forward(self, x: Any) -> Any:
        require_images("MaxPool2D", x)
        return ops.max_pool2d(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )


class AvgPool2D(Layer):
    """The mean of each window.

    Shapes and arguments as :class:`MaxPool2D`, without ``dilation``. The zeros of the border count in the mean
    (``count_include_pad``), as by default in PyTorch; Keras leaves them out.
    """

    kernel_size: int | tuple[int, int] = field(validator=positive, doc="height and width of the window")
    stride: int | tuple[int, int] | None = field(
        default=None, validator=positive, doc="step; None is the kernel's size"
    )
    padding: int | tuple[int, int] = field(
        default=0, validator=non_negative, kw_only=True, doc="rows and columns added on each side"
    )
    ceil_mode: bool = field(default=False, kw_only=True, doc="count a last window that hangs over the end")
    count_include_pad: bool = field(default=True, kw_only=True, doc="count the border's zeros in the mean")

    def forward(self, x: Any) -> Any:
        require_images("AvgPool2D", x)
        return ops.avg_pool2d(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )


class GlobalAveragePool2D(Layer):
    """The mean of each channel over the whole image.

    Shapes: x (N, C, H, W) -> y (N, C), or (N, C, 1, 1) with ``keepdims``.
    """

    keepdims: bool = field(default=False, doc="keep the axes of the image, with size 1")

    def forward(self, x: Any) -> Any:
        require_images("GlobalAveragePool2D", x)
        return ops.mean(x, axis=(2, 3), keepdims=self.keepdims)
