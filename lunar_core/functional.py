"""Derivatives as functions: grad, vjp, jvp, jacobian, hessian, hvp.

They differentiate with respect to chosen inputs and leave every ``grad`` alone. ``lc.grad`` takes results that were
computed already; the others take a function and compute it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import backend
from .autograd import run_backward
from .errors import GradientError, ShapeError
from .modes import enable_grad, modes
from .tensor import Tensor


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> list[Any]:
    """Gradients of ``outputs`` with respect to ``inputs``, without touching any ``grad``.

    ``outputs`` and ``inputs`` are a tensor or a sequence of tensors; ``grad_outputs`` seeds each output (one-element
    outputs need none). ``create_graph`` makes the results differentiable, to any order. An input that the outputs do
    not depend on is an error, or ``None`` in the result under ``allow_unused``.
    """
    outputs, inputs = _tensors("grad: outputs", outputs), _tensors("grad: inputs", inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise GradientError(f"grad: {len(grad_outputs)} grad_outputs for {len(outputs)} outputs")
    for i, tensor in enumerate(inputs):
        if tensor.node is None:
            raise GradientError(f"grad: input {i} of shape {tensor.shape} does not require a gradient")
    results = run_backward(outputs, grad_outputs, inputs=inputs, create_graph=create_graph, retain_graph=retain_graph)
    assert results is not None
    for i, (tensor, result) in enumerate(zip(inputs, results)):
        if result is None and not allow_unused:
            raise GradientError(
                f"grad: the outputs do not depend on input {i} of shape {tensor.shape}",
                hint="allow_unused=True gives None",
            )
    return [r if r is None or create_graph else Tensor(r) for r in results]


def _tensors(name: str, value: Any) -> list[Tensor]:
    found = [value] if isinstance(value, Tensor) else list(value) if isinstance(value, Iterable) else [value]
    for item in found:
        if not isinstance(item, Tensor):
            raise GradientError(f"{name} must be a tensor or a sequence of tensors, got {type(item).__name__}")
    return found


def vjp(function: Callable[..., Any], *primals: Tensor) -> tuple[Any, Callable[..., list[Any]]]:
    """``function(*primals)`` and a function that maps an output gradient to the gradients of ``primals``."""
    recording = modes.grad
    with enable_grad():
        inputs = [_fresh_leaf(p) for p in primals]
        output = function(*inputs)

    def pullback(cotangent: Tensor, *, create_graph: bool = False) -> list[Any]:
        return grad(output, inputs, cotangent, create_graph=create_graph, retain_graph=True, allow_unused=True)

    return output if recording else output.detach(), pullback


def jvp(function: Callable[..., Any], primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> tuple[Any, Any]:
    """``function(*primals)`` and its directional derivative along ``tangents``, by differentiating a vjp."""
    primals, tangents = _tensors("jvp: primals", primals), _tensors("jvp: tangents", tangents)
    if [p.shape for p in primals] != [t.shape for t in tangents]:
        shapes = [", ".join(str(t.shape) for t in tensors) for tensors in (primals, tangents)]
        raise ShapeError(f"jvp: each primal needs a tangent of its shape: primals {shapes[0]}; tangents {shapes[1]}")
    recording = modes.grad
    with enable_grad():
        inputs = [_fresh_leaf(p) for p in primals]
        output = function(*inputs)
        v = Tensor(backend.of(output.data).xp.ones_like(output.data))
        v.requires_grad_()
        pulled = grad(output, inputs, v, create_graph=True, allow_unused=True)
    result = output if recording else output.detach()
    pairs = [(p, t) for p, t in zip(pulled, tangents) if p is not None and p.node is not None]
    if not pairs:
        return result, output.detach() * 0
    (tangent,) = grad([p for p, _ in pairs], [v], [t for _, t in pairs], create_graph=recording, allow_unused=True)
    return result, output.detach() * 0 if tangent is None else tangent


def _fresh_leaf(tensor: Tensor) -> Tensor:
    """A leaf with the same values; when the tensor has a graph, gradients flow on into it."""
    if tensor.node is not None:
        return tensor
    new = Tensor(tensor.data)
    new.requires_grad_()
    return new


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor, *, create_graph: bool = False) -> Tensor:
    """The matrix of partial derivatives of ``function`` at ``x``: shape ``output.shape + x.shape``.

    One backward pass for each element of the output.
    """
    from . import ops

    with enable_grad():
        x = _fresh_leaf(x)
        output = function(x)
        if output.node is None:
            raise GradientError("jacobian: the output does not depend on the input")
        flat = output.reshape(-1)
        rows = []
        for i in range(output.size):
            (row,) = grad(flat[i], x, create_graph=create_graph, retain_graph=True, allow_unused=True)
            rows.append(x.detach() * 0 if row is None else row)
        if not rows:
            return Tensor(backend.of(x.data).xp.zeros((*output.shape, *x.shape), x.dtype))
        return ops.stack(rows).reshape((*output.shape, *x.shape))


def hessian(function: Callable[[Tensor], Tensor], x: Tensor, *, create_graph: bool = False) -> Tensor:
    """The matrix of second derivatives of a one-element ``function`` at ``x``: shape ``x.shape + x.shape``."""

    def gradient(t: Tensor) -> Tensor:
        value = function(t)
        if value.size != 1:
            raise ShapeError(f"hessian: the function must give one element, got shape {value.shape}")
        (g,) = grad(value.reshape(()), t, create_graph=True)
        return g if g.node is not None else g + t * 0.0

    return jacobian(gradient, x, create_graph=create_graph)


def hvp(function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """The Hessian of a one-element ``function`` at ``x`` times ``v``, of the shape of ``x``, without forming the matrix."""
    if v.shape != x.shape:
        raise ShapeError(f"hvp: vector of shape {v.shape} for an input of shape {x.shape}")
    with enable_grad():
        x = _fresh_leaf(x)
        value = function(x)
        if value.size != 1:
            raise ShapeError(f"hvp: the function must give one element, got shape {value.shape}")
        (g,) = grad(value.reshape(()), x, create_graph=True)
        if g.node is None:
            return x.detach() * 0
        (result,) = grad((g * v).sum(), x, allow_unused=True)
    return x.detach() * 0 if result is None else result
