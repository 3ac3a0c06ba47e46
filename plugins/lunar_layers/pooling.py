"""Pooling of sequences, images and volumes: the maximum, the mean or a power mean of each window."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import ops
from lunar_core.component import Check, field, non_negative, positive
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_layers.checks import each_axis, per_axis, require_grid

sizes = [positive, per_axis]


class Pooling(Layer):
    """Base of pooling by windows over a grid of ``dims`` axes."""

    dims: ClassVar[int]

    kernel_size: int | tuple[int, ...] = field(validator=sizes, doc="size of the window, or one for each axis")
    stride: int | tuple[int, ...] | None = field(default=None, validator=sizes, doc="step; None is the window's size")
    ceil_mode: bool = field(default=False, kw_only=True, doc="count a last window that hangs over the end")


class MaxPooling(Pooling):
    """Base of the layers that take the maximum."""

    padding: int | tuple[int, ...] = field(
        default=0, validator=[non_negative, per_axis], kw_only=True, doc="width of the border on each side"
    )
    dilation: int | tuple[int, ...] = field(default=1, validator=sizes, kw_only=True, doc="distance of the taps")
    return_indices: bool = field(default=False, kw_only=True, doc="also give the places of the maxima")

    def forward(self, x: Any) -> Any:
        require_grid(type(self).__name__, x, self.dims)
        pool = getattr(ops, f"max_pool{self.dims}d")
        more = {"return_indices": True} if self.return_indices else {}
        return pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, **more)


class MaxPool1D(MaxPooling):
    """The largest value of each window of a sequence.

    Shapes: x (N, C, L) -> y (N, C, L'), with L' as H' in :class:`MaxPool2D`, which says everything else.
    """

    dims: ClassVar[int] = 1


class MaxPool2D(MaxPooling):
    """The largest value of each window.

    Shapes: x (N, C, H, W) -> y (N, C, H', W'),
    ``H' = (H + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1``.

    ``stride`` defaults to the window's size, so that windows do not overlap. A border never wins: it counts as minus
    infinity. Among equal values the first one of the window gets the gradient, as in PyTorch.

    Arguments are one int, or a pair (vertical, horizontal). ``padding`` is at most half of the window. With
    ``ceil_mode`` a last window that hangs over the end counts too, if it starts inside. With ``return_indices`` the
    result is (y, places): for each maximum its position in the flattened image, for :class:`MaxUnpool2D`.
    """

    dims: ClassVar[int] = 2


class MaxPool3D(MaxPooling):
    """The largest value of each window of a volume.

    Shapes: x (N, C, D, H, W) -> y (N, C, D', H', W'), each size as in :class:`MaxPool2D`, which says everything else;
    arguments are one int or three.
    """

    dims: ClassVar[int] = 3


class AveragePooling(Pooling):
    """Base of the layers that take the mean."""

    padding: int | tuple[int, ...] = field(
        default=0, validator=[non_negative, per_axis], kw_only=True, doc="width of the border on each side"
    )
    count_include_pad: bool = field(default=True, kw_only=True, doc="count the border's zeros in the mean")

    def forward(self, x: Any) -> Any:
        require_grid(type(self).__name__, x, self.dims)
        pool = getattr(ops, f"avg_pool{self.dims}d")
        return pool(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool1D(AveragePooling):
    """The mean of each window of a sequence.

    Shapes: x (N, C, L) -> y (N, C, L'). Arguments as :class:`AvgPool2D`.
    """

    dims: ClassVar[int] = 1


class AvgPool2D(AveragePooling):
    """The mean of each window.

    Shapes and arguments as :class:`MaxPool2D`, without ``dilation``. The zeros of the border count in the mean
    (``count_include_pad``), as by default in PyTorch; Keras leaves them out.
    """

    dims: ClassVar[int] = 2


class AvgPool3D(AveragePooling):
    """The mean of each window of a volume.

    Shapes: x (N, C, D, H, W) -> y (N, C, D', H', W'). Arguments as :class:`AvgPool2D`, one int or three.
    """

    dims: ClassVar[int] = 3


class PowerPooling(Pooling):
    """Base of the layers that take a p-norm."""

    norm_type: float = field(
        validator=Check(lambda v: v > 0, "> 0", each=False), finite=False, doc="p; infinity takes the maximum"
    )
    kernel_size: int | tuple[int, ...] = field(validator=sizes, doc="size of the window, or one for each axis")
    stride: int | tuple[int, ...] | None = field(default=None, validator=sizes, doc="step; None is the window's size")

    def forward(self, x: Any) -> Any:
        require_grid(type(self).__name__, x, self.dims)
        pool = getattr(ops, f"lp_pool{self.dims}d")
        return pool(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool1D(PowerPooling):
    """The p-norm of each window of a sequence.

    Shapes: x (N, C, L) -> y (N, C, L'). The formula and everything else as :class:`LPPool2D`.
    """

    dims: ClassVar[int] = 1


class LPPool2D(PowerPooling):
    """The p-norm of each window: ``(sum of x^p)^(1/p)`` with ``p = norm_type``; 1 is the sum, infinity the maximum.

    Shapes: x (N, C, H, W) -> y (N, C, H', W') as of :class:`MaxPool2D` without a border. As ``torch.nn.LPPool2d``,
    which raises the values themselves, not their magnitudes, to the power: for negative ones p should be even.
    """

    dims: ClassVar[int] = 2


class LPPool3D(PowerPooling):
    """The p-norm of each window of a volume.

    Shapes: x (N, C, D, H, W) -> y (N, C, D', H', W'). The formula and everything else as :class:`LPPool2D`.
    """

    dims: ClassVar[int] = 3


class MaxUnpool2D(Layer):
    """Maxima put back to where they were taken from, with zeros around them.

    Shapes: x (N, C, h, w) and the ``places`` (N, C, h, w) that ``MaxPool2D(..., return_indices=True)`` gives -> y (N,
    C, H, W) with ``H = (h - 1) * stride - 2 * padding + kernel``; ``unpool(x, places, output_size=(H, W))`` names
    another of the sizes that the pooling maps to (h, w). As ``torch.nn.MaxUnpool2d``; of places that occur twice one
    value stays.

    Raises:
        ShapeError: places of another shape than x.
        IndexingError: places outside of the image.
    """

    dims: ClassVar[int] = 2

    kernel_size: int | tuple[int, ...] = field(validator=sizes, doc="size of the window, or one for each axis")
    stride: int | tuple[int, ...] | None = field(default=None, validator=sizes, doc="step; None is the window's size")
    padding: int | tuple[int, ...] = field(
        default=0, validator=[non_negative, per_axis], kw_only=True, doc="width of the border on each side"
    )

    def forward(self, x: Any, places: Any, output_size: Any = None) -> Any:
        require_grid("MaxUnpool2D", x, 2)
        if tuple(x.shape) != tuple(places.shape):
            raise ShapeError(
                f"MaxUnpool2D expects places of the shape of its input, {tuple(x.shape)}, got {tuple(places.shape)}"
            )
        kernel, padding = each_axis(self.kernel_size, 2), each_axis(self.padding, 2)
        stride = kernel if self.stride is None else each_axis(self.stride, 2)
        return ops.max_unpool2d(x, places, kernel, stride, padding, output_size)
