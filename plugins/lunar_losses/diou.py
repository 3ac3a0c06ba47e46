"""Distance intersection over union."""

from __future__ import annotations

from typing import Any

from lunar_losses.boxes import BoxLoss


class DIoU(BoxLoss):
    """``1 - IoU + d ** 2 / c ** 2``, with the distance d of the centres and the diagonal c of the hull: between 0 and 2.

    Shapes: boxes (..., 4), losses (...); see :class:`~lunar_losses.boxes.BoxLoss`. Z. Zheng et al., Distance-IoU Loss
    (2020), arXiv:1911.08287, equation 7; ``torchvision.ops.distance_box_iou_loss``.

    Raises:
        ShapeError: what is no boxes, or a target of another shape.
    """

    def penalty(self, p: Any, t: Any, iou: Any, union: Any, hull: Any) -> Any:
        return self.apartness(p, t, hull)
