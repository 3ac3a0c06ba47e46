"""Knowledge distillation."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor
from lunar_losses.checks import beside, matching_target


class Distillation(Loss):
    """``alpha * T ** 2 * KL(teacher || student) + (1 - alpha) * cross_entropy``, the former at temperature T.

    Shapes: ``pred`` (N, C, ...) are the student's logits, with the classes on axis 1. ``target`` is
    ``(labels, teacher)``: class indices (N, ...) or probabilities, and the teacher's logits in the shape of ``pred``;
    or the teacher's logits alone if ``alpha`` is 1. No gradient goes to the teacher. One loss a sample and position.

    G. Hinton et al., Distilling the Knowledge in a Neural Network (2015), arXiv:1503.02531, section 2, as the KL
    divergence, which differs from the paper's cross-entropy by the teacher's entropy: a constant.

    Raises:
        ShapeError: targets that do not fit, or labels that are missing.
    """

    temperature: float = field(default=4.0, validator=positive, doc="what logits are divided by")
    alpha: float = field(default=0.9, validator=in_range(0, 1), doc="share of the teacher")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        labels, teacher = target if isinstance(target, (tuple, list)) and len(target) == 2 else (None, target)
        if labels is None and self.alpha < 1:
            raise ShapeError(
                f"Distillation: alpha={self.alpha:g} needs labels beside the teacher's logits",
                hint="target=(labels, teacher_logits), or alpha=1",
            )
        teacher = matching_target("Distillation", pred, teacher)
        teacher = ops.log_softmax(
            (teacher.detach() if isinstance(teacher, Tensor) else teacher) / self.temperature, axis=1
        )
        student = ops.log_softmax(pred / self.temperature, axis=1)
        soft = ops.sum(ops.exp(teacher) * (teacher - student), axis=1) * (self.alpha * self.temperature**2)
        if self.alpha == 1:
            return soft, None
        return soft + (1.0 - self.alpha) * ops.cross_entropy(pred, beside(pred, labels), ignore_index=None), None
