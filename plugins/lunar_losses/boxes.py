"""What the losses of bounding boxes share."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, one_of, positive
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import matching_target


class BoxLoss(Loss):
    """Base of losses ``1 - IoU + penalty``; write ``penalty``.

    Shapes: ``pred`` and ``target`` (..., 4), losses (...), over which the mean is taken. Boxes are (x1, y1, x2, y2) with
    x1 <= x2 and y1 <= y2 in any unit, or (cx, cy, w, h) with ``box_format="cxcywh"``.
    """

    box_format: str = field(default="xyxy", validator=one_of("xyxy", "cxcywh"), doc="corners, or centre and size")
    eps: float = field(default=1e-7, validator=positive, doc="added to denominators")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target = matching_target(type(self).__name__, pred, target)
        if not pred.ndim or pred.shape[-1] != 4:
            raise ShapeError(f"{type(self).__name__} expects boxes (..., 4), got {tuple(pred.shape)}")
        p, t = self._corners(pred), self._corners(target)
        (px, py, pX, pY), (tx, ty, tX, tY) = p, t
        both = ops.relu(ops.minimum(pX, tX) - ops.maximum(px, tx)) * ops.relu(ops.minimum(pY, tY) - ops.maximum(py, ty))
        union = (pX - px) * (pY - py) + (tX - tx) * (tY - ty) - both
        iou = both / (union + self.eps)
        hull = (ops.maximum(pX, tX) - ops.minimum(px, tx), ops.maximum(pY, tY) - ops.minimum(py, ty))
        return 1.0 - iou + self.penalty(p, t, iou, union, hull), None

    def _corners(self, boxes: Any) -> tuple[Any, Any, Any, Any]:
        a, b, c, d = (boxes[..., i] for i in range(4))
        if self.box_format == "xyxy":
            return a, b, c, d
        return a - 0.5 * c, b - 0.5 * d, a + 0.5 * c, b + 0.5 * d

    def penalty(self, p: Any, t: Any, iou: Any, union: Any, hull: Any) -> Any:
        """What is added, from the corners of both boxes, their overlap and union, and (width, height) of their hull."""
        raise NotImplementedError

    def apartness(self, p: Any, t: Any, hull: Any) -> Any:
        """The squared distance of the centres over the squared diagonal of the hull."""
        across, down = p[0] + p[2] - t[0] - t[2], p[1] + p[3] - t[1] - t[3]
        return 0.25 * (across * across + down * down) / (hull[0] * hull[0] + hull[1] * hull[1] + self.eps)
