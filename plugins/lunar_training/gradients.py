"""The gradients of a step as one thing: named, normed, clipped."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import backend
from lunar_core.errors import HookError
from lunar_core.suggest import did_you_mean


class Gradients:
    """The trainable parameters of a model with their names, found once for a run."""

    def __init__(self, model: Any) -> None:
        self.named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]

    def arrays(self) -> dict[str, Any]:
        """Name -> raw gradient array, the live one, for each parameter that has a gradient."""
        return {name: p.grad.data for name, p in self.named if p.grad is not None}

    def replace(self, before: dict[str, Any], after: dict[str, Any], hook: str) -> None:
        """Copy the arrays of ``after``, the answer of ``hook``, that are not those of ``before`` into the gradients.

        Raises HookError for an answer that is no dict of such arrays.
        """
        if not isinstance(after, dict):
            raise HookError(f"{hook} returned {after!r}, expected a dict from parameter names to gradient arrays")
        for name, array in after.items():
            if name not in before:
                guess = did_you_mean(str(name), before)
                raise HookError(
                    f"{hook} returned a gradient for {name!r}, expected only names that it was given"
                    + (f"; {guess}" if guess else "")
                )
            if getattr(array, "shape", None) != before[name].shape:
                got = f"shape {array.shape}" if hasattr(array, "shape") else repr(array)
                raise HookError(f"{hook} returned {got} for {name!r}, expected an array of shape {before[name].shape}")
            if array is not before[name]:
                before[name][...] = array

    def scale(self, factor: float) -> None:
        """Multiply all gradients by ``factor``."""
        for array in self.arrays().values():
            array *= array.dtype.type(factor)

    def zero(self) -> None:
        """Forget all gradients."""
        for _, p in self.named:
            if p.node is not None:
                p.node.grad = None

    def bad(self) -> list[str]:
        """Names of the parameters whose values are not all finite."""
        return [name for name, p in self.named if not bool(backend.of(p.data).xp.isfinite(p.data).all())]


def global_norm(arrays: Any) -> float:
    """The L2 norm of all arrays together.

    Each array's square sum is taken in its own dtype (float32 for smaller ones) and the sums are added in float64.
    """
    total = 0.0
    for array in arrays:
        flat = array.reshape(-1)
        if array.dtype.itemsize < 4:
            flat = flat.astype("float32")
        total += float(backend.of(array).xp.vdot(flat, flat).real)
    return math.sqrt(total)


def clip_global_norm(arrays: Any, limit: float) -> float:
    """Scale all arrays in place so that their global norm is at most ``limit``; returns the norm before.

    Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks (2013), section 3.2. A norm that
    is not finite leaves the arrays as they are.
    """
    arrays = list(arrays)
    norm = global_norm(arrays)
    if math.isfinite(norm) and norm > limit:
        for array in arrays:
            array *= array.dtype.type(limit / norm)
    return norm
