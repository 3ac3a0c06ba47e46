"""The Jaccard loss."""

from __future__ import annotations

from typing import Any

from lunar_core.tensor import Tensor
from lunar_losses.overlap import Overlap


class Jaccard(Overlap):
    """``1 - I / U`` with ``I = sum(p t)`` and ``U = sum(p) + sum(t) - I``, a class at a time: soft intersection over union.

    Shapes: ``pred`` (N, C, ...) logits or probabilities (``activation``), ``target`` class indices (N, ...) or the shape
    of ``pred``; losses (N, C), or (C,) with ``batch``. See :class:`~lunar_losses.overlap.Overlap` for what is counted.
    M. A. Rahman and Y. Wang, Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation (2016).

    Raises:
        ShapeError: a target that does not fit, or a softmax over one class.
    """

    def ratio(self, p: Any, t: Any, count: Any) -> Tensor:
        both = count(p * t)
        return (both + self.smooth) / (count(p) + count(t) - both + self.smooth)
