"""Derivatives as functions: grad, value_and_grad, vjp, jacobian, hessian, hvp; jvp is in :mod:`lunar_core.forward`.

They differentiate with respect to chosen inputs and leave every ``grad`` alone. ``lc.grad`` takes results that were
computed already, or a function like the others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import backend
from .autograd import run_backward
from .carried import hangs, leaf
from .errors import GradientError, ShapeError, StateError
from .modes import enable_grad, modes
from .tensor import Tensor
from .trees import tree_leaves, tree_map

if TYPE_CHECKING:
    from .module import Module


def grad(
    outputs: Any,
    inputs: Any = 0,
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
    has_aux: bool = False,
) -> Any:
    """Gradients of ``outputs`` with respect to ``inputs``, without touching any ``grad``.

    ``outputs`` and ``inputs`` are a tensor or a sequence of tensors; ``grad_outputs`` seeds each output (one-element
    outputs need none). ``create_graph`` makes the results differentiable, to any order. An input that the outputs do
    not depend on is an error, or ``None`` in the result under ``allow_unused``.

    ``grad(function, argnums)`` of a function of tensors that gives one number is a function too: its gradient, as
    :func:`value_and_grad` describes it. It composes: ``grad(grad(f))``, ``jvp`` of it, ``vmap`` of it.
    """
    if callable(outputs) and not isinstance(outputs, Tensor):
        return _gradient("grad", outputs, inputs, has_aux, create_graph)
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
    return [r if r is None or isinstance(r, Tensor) else Tensor(r) for r in results]


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
        inputs = [leaf(p) for p in primals]
        output = function(*inputs)

    def pullback(cotangent: Tensor, *, create_graph: bool = False) -> list[Any]:
        return grad(output, inputs, cotangent, create_graph=create_graph, retain_graph=True, allow_unused=True)

    return output if recording else output.detach(), pullback


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor, *, create_graph: bool = False) -> Tensor:
    """The matrix of partial derivatives of ``function`` at ``x``: shape ``output.shape + x.shape``.

    One backward pass for each element of the output.
    """
    from . import ops

    with enable_grad():
        x = leaf(x)
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
    """The Hessian of a one-element ``function`` at ``x`` times ``v``, of the shape of ``x``, without forming the matrix.

    Forward over reverse: the directional derivative of the gradient, which keeps no graph of the gradient.
    """
    from .forward import jvp

    if v.shape != x.shape:
        raise ShapeError(f"hvp: vector of shape {v.shape} for an input of shape {x.shape}")
    return jvp(_gradient("hvp", function, 0, False), [x], [v])[1]


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False, create_graph: bool = False
) -> Callable[..., Any]:
    """A function that gives ``(value, gradient)`` of ``function``, which computes one number from its arguments.

    ``argnums`` says which positional arguments to differentiate in: a position gives one gradient, a sequence a tuple.
    Such an argument may be a nested tuple, list or dict of tensors; its gradient has the same structure, with zeros
    where the value does not depend on it. With ``has_aux`` the function returns ``(value, aux)``, and so does the first
    result. The gradient itself is differentiable inside another derivative of this kind, where an argument was computed in a
    graph, and with ``create_graph``.
    """
    return _gradient("value_and_grad", function, argnums, has_aux, create_graph, value=True)


def _gradient(
    name: str,
    function: Callable[..., Any],
    argnums: Any,
    has_aux: bool,
    create_graph: bool = False,
    value: bool = False,
) -> Callable[..., Any]:
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(function)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        if not all(-len(args) <= i < len(args) for i in positions):
            raise GradientError(f"{name}: argnums {argnums!r} with {len(args)} positional arguments")
        chosen = [args[i] for i in positions]
        keep = create_graph or modes.derivatives > 0 or any(map(hangs, _tensors(name, tree_leaves(chosen))))
        recording, before = modes.grad, modes.closed
        modes.derivatives += 1
        if modes.level is not None and not (keep and recording):
            modes.closed = modes.level.depth
        try:
            with enable_grad():
                chosen = tree_map(leaf, chosen)
                full = list(args)
                for i, x in zip(positions, chosen):
                    full[i] = x
                out = function(*full, **kwargs)
                result, aux = out if has_aux else (out, None)
                if not isinstance(result, Tensor) or result.size != 1:
                    got = f"shape {result.shape}" if isinstance(result, Tensor) else type(result).__name__
                    raise ShapeError(f"{name}: the function must give one element, got {got}")
                leaves = tree_leaves(chosen)
                found: list[Any] = [None] * len(leaves)
                if result.node is not None:
                    found = grad(result.reshape(()), leaves, create_graph=keep, allow_unused=True)
        finally:
            modes.derivatives -= 1
            modes.closed = before
        if not keep or not recording:
            result, aux = tree_map(_detached, (result, aux))
        rest = iter([_zeros(x) if g is None else g if recording else _detached(g) for g, x in zip(found, leaves)])
        grads = tree_map(lambda x: next(rest), chosen)
        grads = grads[0] if isinstance(argnums, int) else tuple(grads)
        first = (result, aux) if has_aux else result
        return (first, grads) if value else (grads, aux) if has_aux else grads

    return gradient


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) and x.node is not None else x


def _zeros(x: Tensor) -> Tensor:
    return Tensor(backend.of(x.data).xp.zeros_like(x.data))


def functional_call(module: Module, parameters: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """``module(*args, **kwargs)`` with ``parameters`` (dotted name -> tensor) in the place of its own.

    Parameters and buffers that are not named stay the module's own. Gradients, tangents and examples of a batch flow
    through the given tensors, so that per-sample gradients are one line::

        params = dict(model.named_parameters())
        loss = lambda p, x, y: loss_fn(lc.functional_call(model, p, x[None]), y[None])
        per_sample = lc.vmap(lc.grad(loss), in_axes=(None, 0, 0))(params, xs, ys)

    Raises :class:`StateError` for a name that the module does not have and :class:`ShapeError` for another shape.
    """
    own = dict(module._named_tensors(Tensor, repeats=True))
    unknown = sorted(parameters.keys() - own.keys())
    if unknown:
        raise StateError(
            f"functional_call: the module has no {', '.join(unknown[:8])}", hint=f"it has {', '.join(list(own)[:8])}"
        )
    for name, value in parameters.items():
        if value.shape != own[name].shape:
            raise ShapeError(f"functional_call: {name} has shape {own[name].shape}, got {value.shape}")
    swapped = [(own[name], own[name].data, own[name].node) for name in parameters]
    try:
        for name, value in parameters.items():
            own[name].data, own[name].node = value.data, value.node
        return module(*args, **kwargs)
    finally:
        for tensor, data, node in swapped[::-1]:  # a shared parameter has its first values under its first name
            tensor.data, tensor.node = data, node
