"""Gradients in another shape: centred, of length one, with noise, without what is not finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lunar_core import backend, random
from lunar_core.component import field, non_negative, one_of, positive
from lunar_core.contracts.gradient_processor import GradientProcessor
from lunar_core.errors import StateError

from .arrays import global_norm, norm, scale, unit_norms, wide


class Centralize(GradientProcessor):
    """The mean over all axes but the first is taken off each unit's gradient; vectors stay.

    Yong et al., Gradient Centralization: A New Optimization Technique for Deep Neural Networks (2020),
    arXiv:2004.01461, equation 1.
    """

    def process(self, grads: dict[str, Any]) -> None:
        for g in grads.values():
            if g.ndim > 1:
                g -= wide(g).mean(axis=tuple(range(1, g.ndim)), keepdims=True).astype(g.dtype)


class Normalize(GradientProcessor):
    """Gradients of length one: ``g / (norm + eps)``.

    ``over="parameter"`` (default) gives each parameter's gradient norm 1, "unit" each row or filter, "global" all of
    them together. Yu et al., Block-Normalized Gradient Method (2017), arXiv:1707.04822, in its L2 variant.
    """

    over: str = field(default="parameter", validator=one_of("parameter", "unit", "global"))
    eps: float = field(default=1e-8, validator=positive, doc="added to the norm")

    def process(self, grads: dict[str, Any]) -> None:
        total = global_norm(grads.values()) if self.over == "global" else None
        for g in grads.values():
            size = total if total is not None else unit_norms(g) if self.over == "unit" else norm(g)
            scale(g, 1.0 / (size + self.eps))


class Noise(GradientProcessor):
    """Normal noise of variance ``eta / (1 + t) ** gamma`` is added at step t (0 for the first).

    Neelakantan et al., Adding Gradient Noise Improves Learning for Very Deep Networks (2015), arXiv:1511.06807,
    equation 1; the paper uses eta 0.01, 0.3 or 1 and gamma 0.55. It is drawn on the host, in float32 at least, from
    the stream "gradient_noise" at index t, so that it depends on the seed, the step and the parameters' order only.
    """

    eta: float = field(default=0.01, validator=non_negative, doc="variance at the first step")
    gamma: float = field(default=0.55, validator=non_negative, doc="how fast it falls")

    def __attrs_post_init__(self) -> None:
        self.steps = 0

    def process(self, grads: dict[str, Any]) -> None:
        std = (self.eta / (1.0 + self.steps) ** self.gamma) ** 0.5
        rng = random.stream("gradient_noise").at(self.steps)
        for g in grads.values():
            owner = backend.of(g)
            dtype = np.float64 if g.dtype == np.float64 else np.float32
            drawn = (std * rng.standard_normal(g.shape, dtype)).astype(g.dtype)
            g += owner.from_numpy(drawn, owner.device_of(g))
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """``{"steps": how many gradients were processed}``."""
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state.keys() != {"steps"}:
            raise StateError(f"Noise: its state has 'steps', got {sorted(state)}")
        self.steps = int(state["steps"])


class DropNonfinite(GradientProcessor):
    """NaN and infinities become zeros, before anything takes a norm of them.

    ``what="element"`` replaces the bad elements, "parameter" the whole gradient of a parameter that has one, and
    "step" (default) all gradients as soon as one is bad. ``dropped`` counts the steps in which there was one. An
    optimizer with momentum still moves. In a run it works on the gradients before they are clipped.
    """

    what: str = field(default="step", validator=one_of("element", "parameter", "step"))

    def __attrs_post_init__(self) -> None:
        self.dropped = 0

    def process(self, grads: dict[str, Any]) -> None:
        bad = {}
        for name, g in grads.items():
            finite = backend.of(g).xp.isfinite(g)
            if not bool(finite.all()):
                bad[name] = finite
        if not bad:
            return
        self.dropped += 1
        for name, g in grads.items():
            if self.what == "step":
                g[...] = 0
            elif name in bad:
                g[...] = 0 if self.what == "parameter" else backend.of(g).xp.where(bad[name], g, g.dtype.type(0))

    def state_dict(self) -> dict[str, Any]:
        """``{"dropped": steps with a bad gradient so far}``."""
        return {"dropped": self.dropped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state.keys() != {"dropped"}:
            raise StateError(f"DropNonfinite: its state has 'dropped', got {sorted(state)}")
        self.dropped = int(state["dropped"])

    def lunar_after_accumulate(self, grads: dict[str, Any]) -> None:
        """Hook: before the clipping, which cannot do with a norm that is not finite."""
        self.process(grads)

    def lunar_grads_ready(self, grads: dict[str, Any], ctx: Any) -> None:
        """Done already, see :meth:`lunar_after_accumulate`."""
