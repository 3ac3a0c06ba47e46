"""Complete intersection over union."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import ops
from lunar_core.tensor import Tensor
from lunar_losses.boxes import BoxLoss


class CIoU(BoxLoss):
    """``1 - IoU + d ** 2 / c ** 2 + alpha v``: the distance of the centres, and how the shapes differ::

        v = 4 / pi ** 2 * (arctan(w_t / h_t) - arctan(w / h)) ** 2;   alpha = v / (1 - IoU + v)

    Shapes: boxes (..., 4), losses (...); see :class:`~lunar_losses.boxes.BoxLoss`. No gradient passes through alpha.
    Z. Zheng et al., Distance-IoU Loss (2020), arXiv:1911.08287, equations 8 to 11, with the exact gradient of v, as
    ``torchvision.ops.complete_box_iou_loss``.

    Raises:
        ShapeError: what is no boxes, or a target of another shape.
    """

    def penalty(self, p: Any, t: Any, iou: Any, union: Any, hull: Any) -> Any:
        turn = self._slant(t) - self._slant(p)
        v = (4 / math.pi**2) * turn * turn
        fixed_v, fixed_iou = _detached(v), _detached(iou)
        alpha = fixed_v / (1.0 - fixed_iou + fixed_v + self.eps)
        return self.apartness(p, t, hull) + alpha * v

    def _slant(self, box: Any) -> Any:
        # the height of a box without one is eps, which keeps the gradient finite
        return ops.arctan2(box[2] - box[0], ops.maximum(box[3] - box[1], self.eps))


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x
