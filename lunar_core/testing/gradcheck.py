"""Gradient checks against central differences, at first and second order.

The comparison is of one random directional derivative an input: the gradient's product with a direction against
``(f(x + h d) - f(x - h d)) / 2h``, extrapolated once (Richardson), which is accurate to about 1e-9 in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, GradientError
from ..functional import grad
from ..modes import enable_grad
from ..tensor import Tensor, as_tensor


def _projected(function: Callable[..., Any], inputs: Sequence[Any], weights: list[np.ndarray] | None) -> Tensor:
    """The outputs of ``function`` folded into one number by fixed weights."""
    outputs = function(*inputs)
    outputs = [o for o in (outputs if isinstance(outputs, (tuple, list)) else [outputs]) if o.dtype.kind in "fc"]
    rng = np.random.default_rng(17)
    total: Any = 0.0
    for output in outputs:
        parts = [output] if output.dtype.kind == "f" else [output.real, output.imag]
        for part in parts:
            total = total + (part * Tensor(rng.uniform(0.5, 1.5, part.shape))).sum()
    return total


def gradcheck(
    function: Callable[..., Any], inputs: Sequence[Any], *, rtol: float = 1e-6, atol: float = 1e-7, step: float = 1e-3
) -> bool:
    """Compare the gradients of ``function(*inputs)`` with central differences.

    ``inputs`` are float64 or complex128 Tensors, those that require a gradient are checked; other values are passed
    through. Raises :class:`GradientError` naming the input and both values; gives True otherwise. The gradient of a
    complex input is ``dL/dRe + i dL/dIm``, so along a direction d the change of L is the real part of ``conj(grad) d``.
    """
    wanted = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise GradientError("gradcheck: no input requires a gradient", hint="lc.tensor(..., requires_grad=True)")
    for i in wanted:
        if inputs[i].dtype not in (np.float64, np.complex128):
            raise DTypeError(f"gradcheck: input {i} is {inputs[i].dtype}; differences need float64 or complex128")
    with enable_grad():
        value = _projected(function, inputs, None)
        if value.node is None:
            raise GradientError("gradcheck: the output does not depend on any input that requires a gradient")
        gradients = grad(value, [inputs[i] for i in wanted], allow_unused=True)
    rng = np.random.default_rng(5)
    for i, gradient in zip(wanted, gradients):
        x = inputs[i].data
        direction = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)
        if x.dtype.kind == "c":
            direction = direction + 1j * rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)
        analytic = 0.0 if gradient is None else float((gradient.data.conj() * direction).sum().real)
        numeric = _directional(function, inputs, i, direction, step)
        if not abs(analytic - numeric) <= atol + rtol * max(abs(numeric), abs(analytic)):
            raise GradientError(
                f"gradcheck: input {i} of shape {x.shape}: the rule gives {analytic:.12g}, differences {numeric:.12g}"
            )
    return True


def _directional(function: Any, inputs: Sequence[Any], i: int, direction: np.ndarray, step: float) -> float:
    def at(t: float) -> float:
        moved = list(inputs)
        moved[i] = Tensor(inputs[i].data + t * direction, requires_grad=True)
        return float(_projected(function, moved, None).data)

    def central(h: float) -> float:
        return (at(h) - at(-h)) / (2 * h)

    coarse, middle, fine = central(step), central(step / 2), central(step / 4)
    first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * second - first) / 15


def gradgradcheck(
    function: Callable[..., Any], inputs: Sequence[Any], *, rtol: float = 1e-6, atol: float = 1e-7, step: float = 1e-3
) -> bool:
    """:func:`gradcheck` of the gradients of ``function``: the second order."""
    wanted = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]

    def first_order(*args: Any) -> Any:
        value = _projected(function, args, None)
        results = grad(value, [args[i] for i in wanted], create_graph=True, allow_unused=True)
        kept = [r for r in results if r is not None]
        # a gradient that is constant has no graph; a product with 0 keeps it comparable
        anchor = sum((as_tensor(args[i]) * 0.0).sum() for i in wanted)
        return [r + anchor for r in kept] if kept else [anchor]

    return gradcheck(first_order, inputs, rtol=rtol, atol=atol, step=step)
