"""The loss of DINO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.loss import Loss
from lunar_core.errors import ShapeError, StateError
from lunar_core.modes import modes
from lunar_core.tensor import Tensor
from lunar_losses.checks import beside, raw


class DINO(Loss):
    """Cross-entropy between a teacher's and a student's distributions for different views of one image::

        -sum over k of softmax((teacher_i - centre) / teacher_temperature)[k] * log softmax(student_v / student_temperature)[k]

    ``pred`` are the student's outputs (N, K) for V views, ``target`` the teacher's for the first views (the two global
    crops), in the same order, each a tuple of arrays. Losses are (N, pairs), for all pairs of a teacher's view with
    another view of the student's; the mean is over all. No gradient goes to the teacher.

    The centre is a moving average of the teacher's outputs, and state: it begins at 0 and moves after each call that
    records gradients. ``state_dict()`` is ``{"centre": array of shape (K,)}``, or without it before the first call.
    Between processes it has to be averaged.

    M. Caron et al., Emerging Properties in Self-Supervised Vision Transformers (2021), arXiv:2104.14294, equations 2 to
    4 and algorithm 1.

    Raises:
        ShapeError: outputs that are no tuples of matrices of one shape, or no pair to compare.
    """

    student_temperature: float = field(default=0.1, validator=positive, doc="what the student's outputs are divided by")
    teacher_temperature: float = field(default=0.04, validator=positive, doc="what the teacher's are divided by")
    centre_momentum: float = field(default=0.9, validator=in_range(0, 1), doc="how much of the centre stays at a call")

    def __attrs_post_init__(self) -> None:
        self._centre: Any = None

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        students = pred if isinstance(pred, tuple) else (pred,)
        teachers = [raw(beside(students[0], t)) for t in (target if isinstance(target, (tuple, list)) else (target,))]
        shapes = {tuple(x.shape) for x in (*students, *teachers)}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2 or len(students) * len(teachers) < 2:
            raise ShapeError(
                f"DINO expects outputs (N, K) for at least two views, got {len(students)} of the student and "
                f"{len(teachers)} of the teacher of shapes {sorted(shapes)}"
            )
        centre = 0.0 if self._centre is None else beside(students[0], self._centre)
        sharp = [raw(ops.softmax((t - centre) / self.teacher_temperature, axis=-1)) for t in teachers]
        views = [s / self.student_temperature for s in students]
        losses = [
            ops.cross_entropy(view, wanted, axis=-1, ignore_index=None)
            for i, wanted in enumerate(sharp)
            for v, view in enumerate(views)
            if v != i
        ]
        if modes.grad:
            self.update_centre(teachers)
        return ops.stack(losses, axis=-1), None

    def update_centre(self, teachers: Any) -> None:
        """Move the centre towards the mean of the teacher's outputs, a list of (N, K)."""
        mean = sum(raw(t).mean(axis=0) for t in teachers) / len(teachers)
        kept = mean * 0 if self._centre is None else self._centre
        self._centre = self.centre_momentum * kept + (1.0 - self.centre_momentum) * mean

    def state_dict(self) -> dict[str, Any]:
        """The centre."""
        return {} if self._centre is None else {"centre": self._centre}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; raises StateError for anything else."""
        if set(state) - {"centre"} or np.ndim(state.get("centre", [0])) != 1:
            raise StateError(f"the state of DINO is a centre of shape (K,), got {sorted(state)}")
        centre = state.get("centre")
        self._centre = None if centre is None else backend.of(raw(centre)).xp.array(raw(centre))
