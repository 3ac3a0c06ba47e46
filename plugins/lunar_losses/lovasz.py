"""The Lovasz losses."""

from __future__ import annotations

from typing import Any

from lunar_core import backend, ops
from lunar_core.component import field, one_of
from lunar_core.contracts.loss import Loss
from lunar_core.tensor import Tensor
from lunar_losses.checks import class_maps, raw, scores


class Lovasz(Loss):
    """The Lovasz extension of the Jaccard index: a convex stand-in for intersection over union, for any number of classes.

    Shapes: ``pred`` (N, C, ...); ``target`` class indices (N, ...), of which ``ignore_index`` does not count, or 0 / 1 in
    the shape of ``pred``. In mode "softmax" errors are |t - softmax(pred)| and a sample's loss is the mean over the
    ``classes`` that are "present" in it, or over "all". In mode "hinge" (each class a binary map, usually C = 1) errors
    are ``1 - pred * (2 t - 1)`` and only those above 0 count; ``classes`` means the same.

    Losses are (N,), one a sample. With ``per_image=False`` there is one of the whole batch, (1,), as in the reference
    code's default; a batch that is cut in parts gives another value then. A sample without any class has loss 0.

    M. Berman et al., The Lovasz-Softmax loss (2018), arXiv:1705.08790, equations 8 to 11.

    Raises:
        ShapeError: a target that does not fit, or a softmax over one class.
    """

    mode: str = field(default="softmax", validator=one_of("softmax", "hinge"), doc="what an error is")
    classes: str = field(default="present", validator=one_of("present", "all"), doc="classes that a mean is over")
    per_image: bool = field(default=True, doc="one loss a sample instead of one a batch")
    ignore_index: int | None = field(default=None, doc="class index whose positions do not count")

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        target, counted = class_maps("Lovasz", pred, target, self.ignore_index)
        truth = raw(target)
        if self.mode == "softmax":
            errors = ops.abs(scores("Lovasz", pred, "softmax") - truth)
        else:
            errors = ops.relu(1.0 - pred * (2.0 * truth - 1.0))
        if counted is not None:
            errors, truth = errors * counted, truth * counted
        errors, truth = self._flat(errors), self._flat(truth)
        order = raw(ops.argsort(errors.detach(), axis=-1, descending=True))
        xp = backend.of(truth).xp
        slopes = _slopes(xp, xp.take_along_axis(truth, order, -1))
        losses = ops.sum(ops.take_along_axis(errors, order, -1) * slopes, axis=-1)  # (N, C)
        if self.classes == "all":
            return ops.mean(losses, axis=1), None
        present = (truth.sum(axis=-1) > 0).astype(truth.dtype)
        return ops.sum(losses * present, axis=1) / xp.maximum(present.sum(axis=1), 1), None

    def _flat(self, x: Any) -> Any:
        """(N, C, ...) as (N, C, positions), or (1, C, positions of all)."""
        if self.per_image:
            return x.reshape(x.shape[0], x.shape[1], -1)
        return ops.moveaxis(x, 1, 0).reshape(1, x.shape[1], -1)


def _slopes(xp: Any, truth: Any) -> Any:
    """The gradient of the extension in errors that are sorted downwards, for 0 / 1 truths in their order."""
    total = truth.sum(axis=-1, keepdims=True)
    loss = 1.0 - (total - truth.cumsum(axis=-1)) / (total + (1.0 - truth).cumsum(axis=-1))
    loss[..., 1:] -= loss[..., :-1].copy()
    return loss
