"""Borders around sequences, images and volumes, and their opposite, cropping."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import ops
from lunar_core.component import field, one_of
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_layers.checks import pads_of, require_grid, sides


class Padding(Layer):
    """Base of the padding layers: a border around the last ``dims`` axes."""

    dims: ClassVar[int]

    padding: int | tuple[int, ...] | tuple[tuple[int, int], ...] = field(
        validator=sides, doc="width for all sides, for each axis, or (before, after) for each axis"
    )
    mode: str = field(
        default="constant",
        validator=one_of("constant", "reflect", "replicate", "circular"),
        doc="what the border is made of: constant, reflect, replicate or circular",
    )
    value: float = field(default=0.0, finite=False, kw_only=True, doc="the value of a constant border")

    def forward(self, x: Any) -> Any:
        require_grid(type(self).__name__, x, self.dims)
        widths = ((0, 0), (0, 0), *pads_of(self.padding, self.dims))
        return ops.pad(x, widths, mode=self.mode, value=self.value)


class Pad1D(Padding):
    """A border around sequences.

    Shapes: x (N, C, L) -> y (N, C, before + L + after). ``padding`` is one width for both ends, or (before, after).

    ``mode`` is ``"constant"`` (of ``value``, by default zeros), ``"reflect"`` (mirrored, without the edge itself),
    ``"replicate"`` (the edge) or ``"circular"`` (what is at the other end): PyTorch's ``ConstantPad``, ``ZeroPad``,
    ``ReflectionPad``, ``ReplicationPad`` and ``CircularPad``. A border may be wider than the input, which is then
    mirrored or repeated again and again.
    """

    dims: ClassVar[int] = 1


class Pad2D(Padding):
    """A border around images.

    Shapes: x (N, C, H, W) -> y (N, C, top + H + bottom, left + W + right). ``padding`` is one width for all sides,
    (vertical, horizontal), or ((top, bottom), (left, right)); PyTorch's layers have (left, right, top, bottom).
    ``mode`` and ``value`` are those of :class:`Pad1D`.
    """

    dims: ClassVar[int] = 2


class Pad3D(Padding):
    """A border around volumes.

    Shapes: x (N, C, D, H, W) -> y of the padded sizes. ``padding`` is one width for all sides, one for each of depth,
    height and width, or a pair (before, after) for each of them; PyTorch's layers name the width's first. ``mode`` and
    ``value`` are those of :class:`Pad1D`.
    """

    dims: ClassVar[int] = 3


class Crop2D(Layer):
    """Images without their outermost rows and columns: the opposite of :class:`Pad2D`, Keras' ``Cropping2D``.

    Shapes: x (N, C, H, W) -> y (N, C, H - top - bottom, W - left - right), a view. ``cropping`` is one width for all
    sides, (vertical, horizontal), or ((top, bottom), (left, right)).

    Raises:
        ShapeError: images of which nothing would be left.
    """

    dims: ClassVar[int] = 2

    cropping: int | tuple[int, ...] | tuple[tuple[int, int], ...] = field(
        validator=sides, doc="rows and columns to take away: for all sides, each axis, or a pair for each axis"
    )

    def forward(self, x: Any) -> Any:
        require_grid("Crop2D", x, 2)
        (top, bottom), (left, right) = pads_of(self.cropping, 2)
        h, w = x.shape[2:]
        if top + bottom >= h or left + right >= w:
            raise ShapeError(f"Crop2D: cropping {self.cropping} leaves nothing of images of shape {tuple(x.shape)}")
        return x[:, :, top : h - bottom, left : w - right]
