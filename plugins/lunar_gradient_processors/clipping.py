"""Gradients that are too large."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from lunar_core import backend
from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.gradient_processor import GradientProcessor
from lunar_core.errors import StateError

from .arrays import global_norm, norm, scale, unit_norms


class ClipByValue(GradientProcessor):
    """Every element is brought into ``[-limit, limit]``. PyTorch's ``clip_grad_value_``; NaN stays NaN."""

    limit: float = field(default=1.0, validator=positive, doc="largest magnitude of an element")

    def process(self, grads: dict[str, Any]) -> None:
        for g in grads.values():
            backend.of(g).xp.clip(g, -self.limit, self.limit, out=g)


class ClipByNorm(GradientProcessor):
    """Each parameter's gradient by itself: ``g * min(1, limit / ||g||)``.

    TensorFlow's ``clip_by_norm``. The directions of single gradients stay, that of the whole changes; a gradient that is
    not finite becomes NaN, see :class:`DropNonfinite`.
    """

    limit: float = field(default=1.0, validator=positive, doc="largest L2 norm of one parameter's gradient")

    def process(self, grads: dict[str, Any]) -> None:
        for g in grads.values():
            n = norm(g)
            xp = backend.of(g).xp
            scale(g, xp.where(n > self.limit, self.limit / xp.maximum(n, self.limit), 1.0))


class ClipByGlobalNorm(GradientProcessor):
    """All gradients together: ``g * min(1, limit / norm)``, norm the L2 norm of all of them as one vector.

    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks (2013), section 3.2. PyTorch's
    ``clip_grad_norm_`` divides by ``norm + 1e-6``; ``eps`` is that number and 0 here. A norm that is not finite leaves
    the gradients as they are.
    """

    limit: float = field(default=1.0, validator=positive, doc="largest L2 norm of all gradients together")
    eps: float = field(default=0.0, validator=non_negative, doc="added to the norm in the quotient")

    def process(self, grads: dict[str, Any]) -> None:
        total = global_norm(grads.values())
        factor = self.limit / (total + self.eps) if total > 0 else 1.0
        if math.isfinite(total) and factor < 1.0:
            for g in grads.values():
                scale(g, factor)


class AdaptiveClip(GradientProcessor):
    """Each unit's gradient is kept below ``ratio`` times the norm of its weights.

    ``g * ratio * max(||w||, eps) / ||g||`` where that is smaller than g, norms over all axes but the first: a
    row of a dense layer, a filter of a convolution. Brock et al., High-Performance Large-Scale Image Recognition
    Without Normalization (2021), arXiv:2102.06171, equation 3, with the paper's 0.01 and 1e-3. Vectors are one unit.
    The paper leaves the last layer out: ``skip`` are the glob patterns of names that stay.
    """

    needs_parameters: ClassVar[bool] = True

    ratio: float = field(default=0.01, validator=positive, doc="lambda")
    eps: float = field(default=1e-3, validator=positive, doc="smallest norm of a unit, so that zeros can grow")
    skip: tuple[str, ...] = field(default=(), doc="globs over names that are left alone")

    def process(self, grads: dict[str, Any], parameters: Mapping[str, Any]) -> None:  # type: ignore[override]
        for name, g in grads.items():
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.skip):
                continue
            xp = backend.of(g).xp
            limit = self.ratio * xp.maximum(unit_norms(parameters[name]), self.eps)
            size = xp.maximum(unit_norms(g), 1e-6)
            scale(g, xp.where(size > limit, limit / size, 1.0))


class EmaOfNorm(GradientProcessor):
    """The global norm is kept below ``ratio`` times its own running mean.

    ``ema <- decay * ema + (1 - decay) * min(norm, ratio * ema)``, started at the first norm: one spike neither gets
    through nor raises the limit for the next. For the first ``warmup`` steps it only listens. The adaptive
    gradient-norm clipping of Wang et al., AdaGC: Improving Training Stability for Large Language Model Pretraining
    (2025), arXiv:2502.11034, taken over all parameters together. A norm that is not finite leaves everything as it is.
    """

    ratio: float = field(default=2.0, validator=positive, doc="largest norm as a multiple of the running mean")
    decay: float = field(default=0.99, validator=in_range(0, 1, include_high=False), doc="of the running mean")
    warmup: int = field(default=0, validator=non_negative, doc="steps without clipping")

    def __attrs_post_init__(self) -> None:
        self.steps = 0
        self.ema = 0.0

    def process(self, grads: dict[str, Any]) -> None:
        total = global_norm(grads.values())
        if not math.isfinite(total):
            return
        if self.steps >= max(1, self.warmup):
            limit = self.ratio * self.ema
            if total > limit:
                for g in grads.values():
                    scale(g, limit / total)
                total = limit
            self.ema = self.decay * self.ema + (1.0 - self.decay) * total
        else:
            self.ema = total if self.steps == 0 else self.decay * self.ema + (1.0 - self.decay) * total
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """``{"steps": norms seen, "ema": their running mean}``."""
        return {"steps": self.steps, "ema": self.ema}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state.keys() != {"steps", "ema"}:
            raise StateError(f"EmaOfNorm: its state has 'steps' and 'ema', got {sorted(state)}")
        self.steps, self.ema = int(state["steps"]), float(state["ema"])
