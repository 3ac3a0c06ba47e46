"""Soften the targets of training."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.component import field, in_range
from lunar_core.contracts.callback import Callback
from lunar_core.tensor import Tensor

from .mixing import probabilities


class LabelSmoothing(Callback):
    """The loss of training gets ``(1 - amount) y + amount / C``; evaluation keeps the targets as they are.

    Integer classes turn into probabilities of the C classes, which the loss has to take (cross_entropy does). Szegedy et
    al., Rethinking the Inception Architecture, CVPR 2016, section 7. The field ``label_smoothing`` of a loss does the
    same in evaluation too.
    """

    band: ClassVar[str] = "editor"
    after: ClassVar[tuple[str, ...]] = ("mixup", "cut_mix", "CutMix", "Mixup")

    amount: float = field(default=0.1, validator=in_range(0, 1), doc="share of the target spread over all classes")

    def lunar_before_loss(self, outputs: Any, targets: Tensor, ctx: Any) -> tuple[Any, Tensor]:
        loss = ctx.trainer.loss if ctx.trainer is not None else None
        y = probabilities(outputs, targets, loss)
        kind = y.dtype.type
        return outputs, Tensor(y * kind(1 - self.amount) + kind(self.amount / outputs.shape[getattr(loss, "axis", 1)]))
