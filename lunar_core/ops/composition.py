"""Gradient rules of fused ops under ``create_graph``: the derivative of what the op is composed of.

A fused op computes in one kernel what a few plain ops would compute in many. In a plain backward pass its rule is a
kernel too; where a graph of the gradient is wanted, the composition is applied to the kept inputs and differentiated,
so that the second derivative, and any higher one, follows from the rules of the plain ops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import run_backward
from ..carried import leaf
from ..modes import enable_grad
from ..tensor import Tensor


def _own(x: Tensor) -> Tensor:
    """``x`` with a node of its own; a leaf where it has none, as the values of a function transform."""
    new = leaf(x)
    return new * 1 if new is x else new


def composed_vjp(
    function: Callable[..., Any], inputs: Sequence[Any], g: Any, need: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Differentiable gradients of ``function(*inputs)`` in those ``inputs`` that ``need`` names.

    ``g`` is the gradient of the result, for several results a list in which ``None`` stands for no gradient. Further
    results of the fused op, behind those of ``function``, must have none.
    """
    with enable_grad():
        # a node of its own for each input: the walk ends there, also where one tensor was given twice
        fresh = [_own(x) if needed else x for x, needed in zip(inputs, need)]
        outputs = function(*fresh)
        if not isinstance(outputs, (tuple, list)):
            outputs, g = [outputs], [g]
        pairs = [(out, seed) for out, seed in zip(outputs, g) if seed is not None and out.node is not None]
        wanted = [x for x, needed in zip(fresh, need) if needed]
        found: Any = None
        if pairs:
            found = run_backward([o for o, _ in pairs], [s for _, s in pairs], inputs=wanted, create_graph=True)
    gradients = iter(found or [None] * len(wanted))
    return tuple(next(gradients) if needed else None for needed in need)
