"""What mixup, CutMix and label smoothing share: targets as distributions, and the mixing of a batch with itself."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.callback import Callback
from lunar_core.errors import DataError
from lunar_core.tensor import Tensor


class Mixing(Callback):
    """Base of callbacks that mix each training batch with a permutation of itself.

    Inputs become mixtures before the forward pass; for the loss, targets become the mixtures of theirs: integer classes
    turn into probabilities of the classes, which the loss has to take (cross_entropy does), other targets are averaged.
    Training metrics compare with the targets as they were. What is drawn belongs to (seed, step).
    """

    band: ClassVar[str] = "editor"

    alpha: float = field(default=1.0, validator=positive, doc="both parameters of the Beta distribution of the share")
    probability: float = field(default=1.0, validator=in_range(0, 1), doc="share of the steps that are mixed")

    mixed: Any = None

    def mix(self, x: Any, other: Any, share: float, rng: np.random.Generator) -> tuple[Any, float]:
        """``x`` mixed with ``other``, raw arrays, and the share of ``x`` in it."""
        raise NotImplementedError

    def lunar_before_forward(self, inputs: Tensor, ctx: Any) -> Tensor | None:
        self.mixed = None
        if ctx.stage != "train":
            return None
        rng = ctx.rng(type(self).__name__.lower())
        if rng.random() >= self.probability:
            return None
        x = inputs.data
        order = rng.permutation(len(x))
        if not isinstance(x, np.ndarray):
            owner = backend.of(x)
            order = owner.from_numpy(order, owner.device_of(x))
        made, share = self.mix(x, x[order], float(rng.beta(self.alpha, self.alpha)), rng)
        self.mixed = share, order
        return Tensor(made)

    def lunar_before_loss(self, outputs: Any, targets: Tensor, ctx: Any) -> Any:
        if self.mixed is None:
            return None
        (share, order), self.mixed = self.mixed, None
        t = probabilities(outputs, targets, ctx.trainer.loss if ctx.trainer is not None else None)
        return outputs, Tensor(t * t.dtype.type(share) + t[order] * t.dtype.type(1 - share))


def probabilities(outputs: Any, targets: Tensor, loss: Any) -> Any:
    """Targets as floating raw arrays: integer classes as one-hot rows in the shape of ``outputs``, others as they are."""
    array = targets.data
    if array.dtype.kind not in "iu":
        return array
    axis = getattr(loss, "axis", 1)
    classes = outputs.shape[axis]
    xp = backend.of(array).xp
    if bool(((array < 0) | (array >= classes)).any()):
        raise DataError(
            f"mixing targets needs classes 0..{classes - 1}, got {int(array.min())}..{int(array.max())}",
            hint="targets that are to be ignored cannot be mixed",
        )
    return xp.moveaxis(xp.eye(classes, dtype=outputs.dtype)[array], -1, axis)
