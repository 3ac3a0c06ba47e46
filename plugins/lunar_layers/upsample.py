"""Resizing of sequences, images and volumes."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, one_of, positive
from lunar_core.contracts.layer import Layer
from lunar_core.errors import HyperparameterError


class Upsample(Layer):
    """The input at another resolution: ``scale_factor`` times as large, or of a given ``size``.

    Shapes: x (N, C, *sizes) with one, two or three sizes -> y (N, C, *new sizes), ``floor(size * scale_factor)`` where
    a factor is given. Both take one number, or one for each axis.

    ``mode`` is ``"nearest"`` (default), ``"nearest-exact"``, ``"linear"`` (sequences), ``"bilinear"``, ``"bicubic"``
    (images), ``"trilinear"`` (volumes) or ``"area"``. ``align_corners`` maps the centres of the outermost pixels onto
    each other, instead of the edges. As ``torch.nn.Upsample``; see :func:`lunar_core.ops.interpolate`.

    Raises:
        ShapeError: a mode or sizes for another number of axes.
        HyperparameterError: neither a factor nor a size is given, or both.
    """

    scale_factor: float | tuple[float, ...] | None = field(
        default=None, validator=positive, doc="how much larger each size becomes"
    )
    size: int | tuple[int, ...] | None = field(
        default=None, validator=positive, kw_only=True, doc="the sizes of the result, instead of a factor"
    )
    mode: str = field(
        default="nearest",
        validator=one_of("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"),
        doc="how values between pixels are found",
    )
    align_corners: bool = field(default=False, kw_only=True, doc="outermost centres, not edges, fall together")

    def __attrs_post_init__(self) -> None:
        if (self.scale_factor is None) == (self.size is None):
            given = "both" if self.size is not None else "neither"
            raise HyperparameterError(
                f"Upsample takes scale_factor or size, {given} given", hint="Upsample(2) doubles every size"
            )
        super().__attrs_post_init__()

    def forward(self, x: Any) -> Any:
        return ops.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)
