"""Pooling to a given size, and over everything."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import ops
from lunar_core.component import Check, field
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_layers.checks import each_axis, per_axis, require_grid

_sizes = [Check(lambda v: v is None or v > 0, "> 0"), per_axis]


class AdaptivePooling(Layer):
    """Base of pooling whose windows adapt to the input, over grids of ``dims`` axes."""

    dims: ClassVar[int]

    output_size: int | tuple[int | None, ...] = field(
        validator=_sizes, doc="size of the result, or one for each axis; None keeps the input's"
    )

    def size_of(self, x: Any) -> tuple[int, ...]:
        """The size of the result for an input that fits; else ShapeError."""
        require_grid(type(self).__name__, x, self.dims)
        return tuple(n or own for n, own in zip(each_axis(self.output_size, self.dims), x.shape[2:]))


class AdaptiveAveragePooling(AdaptivePooling):
    """Base of the layers that take means."""

    def forward(self, x: Any) -> Any:
        return getattr(ops, f"adaptive_avg_pool{self.dims}d")(x, self.size_of(x))


class AdaptiveMaxPooling(AdaptivePooling):
    """Base of the layers that take maxima."""

    return_indices: bool = field(default=False, kw_only=True, doc="also give the places of the maxima")

    def forward(self, x: Any) -> Any:
        more = {"return_indices": True} if self.return_indices else {}
        return getattr(ops, f"adaptive_max_pool{self.dims}d")(x, self.size_of(x), **more)


class AdaptiveAvgPool1D(AdaptiveAveragePooling):
    """The mean of windows that divide a sequence into ``output_size`` parts.

    Shapes: x (N, C, L) -> y (N, C, output_size). The windows are those of :class:`AdaptiveAvgPool2D`.
    """

    dims: ClassVar[int] = 1


class AdaptiveAvgPool2D(AdaptiveAveragePooling):
    """The mean of windows that divide an image into ``output_size`` parts, whatever its size.

    Shapes: x (N, C, H, W) -> y (N, C, H', W') with ``output_size`` one int, or (H', W'), where None keeps the input's.
    Row i of the result is the mean of the rows ``floor(i * H / H')`` to ``ceil((i + 1) * H / H') - 1``; windows may
    overlap by a row, and H' may be larger than H. As ``torch.nn.AdaptiveAvgPool2d``.
    """

    dims: ClassVar[int] = 2


class AdaptiveAvgPool3D(AdaptiveAveragePooling):
    """The mean of windows that divide a volume into ``output_size`` parts.

    Shapes: x (N, C, D, H, W) -> y (N, C, D', H', W') with ``output_size`` one int or three, where None keeps the
    input's. The windows are those of :class:`AdaptiveAvgPool2D`.
    """

    dims: ClassVar[int] = 3


class AdaptiveMaxPool1D(AdaptiveMaxPooling):
    """The largest value of windows that divide a sequence into ``output_size`` parts.

    Shapes: x (N, C, L) -> y (N, C, output_size). Everything else as :class:`AdaptiveMaxPool2D`.
    """

    dims: ClassVar[int] = 1


class AdaptiveMaxPool2D(AdaptiveMaxPooling):
    """The largest value of windows that divide an image into ``output_size`` parts, whatever its size.

    Shapes: x (N, C, H, W) -> y (N, C, H', W'); the windows are those of :class:`AdaptiveAvgPool2D`. With
    ``return_indices`` the result is (y, places), the position of each maximum in the flattened image. As
    ``torch.nn.AdaptiveMaxPool2d``.
    """

    dims: ClassVar[int] = 2


class AdaptiveMaxPool3D(AdaptiveMaxPooling):
    """The largest value of windows that divide a volume into ``output_size`` parts.

    Shapes: x (N, C, D, H, W) -> y (N, C, D', H', W'). Everything else as :class:`AdaptiveMaxPool2D`.
    """

    dims: ClassVar[int] = 3


class GlobalAveragePool(Layer):
    """The mean of each channel over everything else: a sequence, an image, a volume.

    Shapes: x (N, C, ...) -> y (N, C), or (N, C, 1, ...) with ``keepdims``.

    Source: M. Lin, Q. Chen and S. Yan, Network In Network, arXiv:1312.4400, section 3.2.

    Raises:
        ShapeError: inputs without axes after the channels.
    """

    keepdims: bool = field(default=False, doc="keep the axes that were pooled, with size 1")

    def forward(self, x: Any) -> Any:
        return ops.mean(x, axis=_pooled_axes("GlobalAveragePool", x), keepdims=self.keepdims)


class GlobalMaxPool(Layer):
    """The largest value of each channel over everything else: a sequence, an image, a volume.

    Shapes: x (N, C, ...) -> y (N, C), or (N, C, 1, ...) with ``keepdims``. Equal maxima share the gradient.

    Raises:
        ShapeError: inputs without axes after the channels.
    """

    keepdims: bool = field(default=False, doc="keep the axes that were pooled, with size 1")

    def forward(self, x: Any) -> Any:
        return ops.max(x, axis=_pooled_axes("GlobalMaxPool", x), keepdims=self.keepdims)


def _pooled_axes(layer: str, x: Any) -> tuple[int, ...]:
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) < 3:
        raise ShapeError(f"{layer} expects inputs (batch, channels, sizes...), got {shape}")
    return tuple(range(2, len(shape)))
