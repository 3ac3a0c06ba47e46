"""Channels to pixels and back."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.layer import Layer
from lunar_layers.checks import require_images


class PixelShuffle(Layer):
    """Groups of ``r * r`` channels laid out as blocks of ``r x r`` pixels (sub-pixel convolution).

    Shapes: x (N, C * r^2, H, W) -> y (N, C, H * r, W * r), r = ``upscale_factor``;
    ``y[n, c, h * r + i, w * r + j] = x[n, c * r^2 + i * r + j, h, w]``. As ``torch.nn.PixelShuffle``.

    Source: W. Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network, arXiv:1609.05158.

    Raises:
        ShapeError: channels that r^2 does not divide.
    """

    upscale_factor: int = field(validator=positive, doc="r, how much larger height and width become")

    def forward(self, x: Any) -> Any:
        require_images("PixelShuffle", x)
        return ops.pixel_shuffle(x, self.upscale_factor)


class PixelUnshuffle(Layer):
    """Blocks of ``r x r`` pixels laid out as ``r * r`` channels: undoes :class:`PixelShuffle`.

    Shapes: x (N, C, H * r, W * r) -> y (N, C * r^2, H, W), r = ``downscale_factor``. As ``torch.nn.PixelUnshuffle``
    (space to depth, with the channel outermost).

    Raises:
        ShapeError: height or width that r does not divide.
    """

    downscale_factor: int = field(validator=positive, doc="r, how much smaller height and width become")

    def forward(self, x: Any) -> Any:
        require_images("PixelUnshuffle", x)
        return ops.pixel_unshuffle(x, self.downscale_factor)
