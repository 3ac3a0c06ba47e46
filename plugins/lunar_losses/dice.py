"""The Dice loss."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field
from lunar_core.tensor import Tensor
from lunar_losses.overlap import Overlap


class Dice(Overlap):
    """``1 - 2 sum(p t) / (sum(p) + sum(t))``, a class at a time, for segmentation maps.

    Shapes: ``pred`` (N, C, ...) logits or probabilities (``activation``), ``target`` class indices (N, ...) or the shape
    of ``pred``; losses (N, C), or (C,) with ``batch``. See :class:`~lunar_losses.overlap.Overlap` for what is counted.

    With ``squared`` the denominator has squares, as in F. Milletari et al., V-Net (2016), arXiv:1606.04797; without, it
    is that of most toolkits (``monai.losses.DiceLoss``).

    Raises:
        ShapeError: a target that does not fit, or a softmax over one class.
    """

    squared: bool = field(default=False, doc="square what is in the denominator")

    def ratio(self, p: Any, t: Any, count: Any) -> Tensor:
        sizes = count(p * p) + count(t * t) if self.squared else count(p) + count(t)
        return (2.0 * count(p * t) + self.smooth) / (sizes + self.smooth)
