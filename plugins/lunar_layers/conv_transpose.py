"""Transposed convolutions of sequences, images and volumes."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core import ops
from lunar_core.component import field, hyperparameter_error, non_negative, one_of
from lunar_core.errors import ShapeError
from lunar_layers.checks import each_axis, pads_of, per_axis
from lunar_layers.conv import Grouped

_CONVOLUTIONS = {1: ops.conv_transpose1d, 2: ops.conv_transpose2d, 3: ops.conv_transpose3d}


class TransposedConvolution(Grouped):
    """Base of the transposed convolutions."""

    output_padding: int | tuple[int, ...] = field(
        default=0, validator=[non_negative, per_axis], kw_only=True, doc="rows added at the end of the result"
    )
    padding_mode: str = field(default="zeros", validator=one_of("zeros"), kw_only=True, doc="zeros, the only one")

    def __attrs_post_init__(self) -> None:
        strides = each_axis(self.stride, self.dims)
        # One window more would give what the result is padded to.
        if any(e >= s for e, s in zip(each_axis(self.output_padding, self.dims), strides)):
            raise hyperparameter_error(self, "output_padding", self.output_padding, f"less than the stride {strides}")
        super().__attrs_post_init__()

    def weight_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, self.out_channels // self.groups, *self.kernel)  # (in, out / groups, *kernel)

    def forward(self, x: Any) -> Any:
        self.check(x)
        strides, dilations = each_axis(self.stride, self.dims), each_axis(self.dilation, self.dims)
        extra = each_axis(self.output_padding, self.dims)
        if self.padding == "valid":
            pads = ((0, 0),) * self.dims
        elif self.padding == "same":
            pads = tuple(_crop((k - 1) * d + 1 + e - s) for k, d, e, s in zip(self.kernel, dilations, extra, strides))
            if min(a for a, _ in pads) < 0:
                raise ShapeError(
                    f'{type(self).__name__}: padding="same" makes the result stride times the input, which a kernel of '
                    f"{self.kernel} cannot fill at stride {strides}",
                    hint="use a kernel of at least the stride",
                )
        else:
            pads = pads_of(self.padding, self.dims)
        return _CONVOLUTIONS[self.dims](x, self.weight, self.bias, strides, pads, extra, dilations, self.groups)


def _crop(total: int) -> tuple[int, int]:
    """What falls away before and after, the odd one after."""
    return (total // 2, total - total // 2) if total >= 0 else (-1, -1)


class ConvTranspose1D(TransposedConvolution):
    """Transposed convolution of sequences: the gradient of :class:`~lunar_layers.conv.Conv1D` in its input.

    Shapes: x (N, C, L) -> y (N, out_channels, L') with ``L' = (L - 1) * stride - padding + dilation * (kernel - 1) +
    output_padding + 1``, where ``padding`` counts both ends; ``weight`` (C, out_channels / groups, kernel), ``bias``
    (out_channels,), both laid out as ``torch.nn.ConvTranspose1d``'s. ``padding`` is one int or (before, after);
    everything else is as in :class:`ConvTranspose2D`.

    Raises:
        ShapeError: inputs without a channel axis or with other channels; a padding that leaves nothing.
        DTypeError: integer inputs.
    """

    dims: ClassVar[int] = 1


class ConvTranspose2D(TransposedConvolution):
    """Transposed convolution of images: the gradient of :class:`~lunar_layers.conv.Conv2D` in its images.

    Shapes: x (N, C, H, W) -> y (N, out_channels, H', W') with ``H' = (H - 1) * stride - padding + dilation * (kernel -
    1) + output_padding + 1``, where ``padding`` counts both sides; ``weight`` (C, out_channels / groups, kernel height,
    kernel width), ``bias`` (out_channels,), both laid out as ``torch.nn.ConvTranspose2d``'s.

    ``padding`` crops the result: one int, (vertical, horizontal), ((top, bottom), (left, right)), ``"valid"`` (nothing,
    the default) or ``"same"``, which makes ``H' = H * stride`` (Keras). ``output_padding``, less than the stride, picks
    the size among those that the convolution maps to (H, W).

    The channels are learned from the first call unless ``in_channels`` says them. Weights start as
    :class:`~lunar_layers.initializers.HeNormal` of their shape, in which the fans of a convolution are exchanged, as in
    PyTorch; biases at zero.

    Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285, section 4.

    Raises:
        ShapeError: inputs without a channel axis or with other channels; a padding that leaves nothing.
        DTypeError: integer inputs.
    """

    dims: ClassVar[int] = 2


class ConvTranspose3D(TransposedConvolution):
    """Transposed convolution of volumes: the gradient of :class:`~lunar_layers.conv.Conv3D` in its volumes.

    Shapes: x (N, C, D, H, W) -> y (N, out_channels, D', H', W'), each size as in :class:`ConvTranspose2D`; ``weight``
    (C, out_channels / groups, kernel depth, height, width), ``bias`` (out_channels,), both laid out as
    ``torch.nn.ConvTranspose3d``'s. Everything else is as in :class:`ConvTranspose2D`.

    Raises:
        ShapeError: inputs without a channel axis or with other channels; a padding that leaves nothing.
        DTypeError: integer inputs.
    """

    dims: ClassVar[int] = 3
