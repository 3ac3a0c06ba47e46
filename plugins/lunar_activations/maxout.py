"""Maxout."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, positive
from lunar_core.contracts.activation import Activation

from . import functional


class Maxout(Activation):
    """The largest of each ``pieces`` neighbours along ``axis``: a convex function of as many straight pieces.

    Shapes: x (N, pieces * C, ...) -> (N, C, ...) with ``axis=1``; the layer before it has ``pieces`` times as many
    units as there are to be. Equal largest ones share the gradient evenly.

    Source: I. Goodfellow et al., Maxout Networks, arXiv:1302.4389, section 3.

    Raises:
        ShapeError: the axis is missing, or its size is no multiple of ``pieces``.
    """

    pieces: int = field(default=2, validator=positive, doc="how many linear pieces compete for each output")
    axis: int = field(default=1, doc="the axis of the units")

    def forward(self, x: Any) -> Any:
        return functional.maxout(x, self.pieces, self.axis)
