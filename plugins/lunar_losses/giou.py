"""Generalised intersection over union."""

from __future__ import annotations

from typing import Any

from lunar_losses.boxes import BoxLoss


class GIoU(BoxLoss):
    """``1 - IoU + (|C| - |U|) / |C|``, with the hull C and the union U of two boxes: between 0 and 2.

    Shapes: boxes (..., 4), losses (...); see :class:`~lunar_losses.boxes.BoxLoss`. Boxes that do not touch have a
    gradient too. H. Rezatofighi et al., Generalized Intersection over Union (2019), arXiv:1902.09630, algorithm 1;
    ``torchvision.ops.generalized_box_iou_loss``.

    Raises:
        ShapeError: what is no boxes, or a target of another shape.
    """

    def penalty(self, p: Any, t: Any, iou: Any, union: Any, hull: Any) -> Any:
        area = hull[0] * hull[1]
        return (area - union) / (area + self.eps)
