"""``vmap(f)``: a function of one example as a function of a batch of them, without a loop.

Inside, a tensor of one example stands for the tensors of all: a :class:`Batched`, whose values have the examples on a
leading axis. How an op computes all examples at once is what ``Op.batch`` says: the name of a scheme below or a function
``batch(op, size, values, flags, static)``. It gets the tensors with the examples on axis 0 where ``flags`` says so (the
others are the same for all examples) and gives the result, or a tuple of results, with the examples on axis 0; or
``NotImplemented``. An op without a rule is applied to one example after the other and the results are stacked, which is
always right but slow; a warning names it once.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from . import autograd
from .carried import Carried, Level, _record, alias
from .errors import GradientError, HyperparameterError, ShapeError, stack_level
from .modes import modes
from .tensor import Tensor
from .trees import tree_leaves, tree_map


class Batched(Carried):
    """The values of all examples; ``batched`` is False where they are the same, and have no axis for them."""

    __slots__ = ("batched", "value")

    def __init__(self, level: Level, value: Tensor, batched: bool) -> None:
        self.level = level
        self.value = value
        self.batched = batched

    def inner(self) -> Tensor:
        return self.value

    @property
    def shape(self) -> Any:
        shape = self.value.data.shape
        return shape[1:] if self.batched else shape

    @classmethod
    def compute(cls, level: Any, op: Any, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        values = [a.value if type(a) is cls else a for a in arrays]
        flags = [a.batched if type(a) is cls else False for a in arrays]
        indexed = any(type(i) is cls and i.batched for i in _index(static))
        batched = indexed or any(flags)
        if not batched:
            out = op(*values, **_example(static, cls, None))
        else:
            out = NotImplemented if indexed else _by_rule(op, level.size, values, flags, static)
            if out is NotImplemented:
                out = _one_by_one(op, level.size, values, flags, static, cls)
        if isinstance(out, (tuple, list)):
            return [cls(level, o, batched) for o in out]
        return cls(level, out, batched)


_record(Batched)


def _index(static: dict[str, Any]) -> Any:
    index = static.get("index")
    return index if isinstance(index, tuple) else (index,)


def _example(static: dict[str, Any], kind: type, i: int | None) -> dict[str, Any]:
    """The keyword arguments for example ``i``: an index may be one of each example."""
    if "index" not in static:
        return static
    return {**static, "index": tree_map(lambda v: _of_example(v, i) if type(v) is kind else v, static["index"])}


def _of_example(value: Any, i: int | None) -> Any:
    return value.value.data[i] if value.batched else value.value.data


class _Examples(Level):
    name = "vmap"

    def __init__(self, size: int, randomness: str) -> None:
        self.size = size
        self.randomness = randomness

    def constant(self, x: Tensor) -> Batched:
        return Batched(self, x, False)

    def drawn(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], Callable[[Any], Any]]:
        if self.randomness == "error":
            raise GradientError(
                "a random draw inside vmap would be the same for all examples",
                hint='vmap(f, randomness="different") draws for each, "same" allows it; or pass the numbers in',
            )
        if self.randomness == "same":
            return super().drawn(shape)
        shape, wrapped = super().drawn((self.size, *shape))
        return shape, lambda array: Batched(self, Tensor(wrapped(array)), True)


def _by_rule(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any]) -> Any:
    from .ops import batching  # the table of rules, at the first use

    rule = op.batch or batching.RULES.get(op.name)
    if rule is None:
        return NotImplemented
    return (batching.SCHEMES[rule] if isinstance(rule, str) else rule)(op, size, values, flags, static)


@functools.cache
def _warn_slow(name: str) -> None:
    warnings.warn(
        f"vmap: {name} has no batching rule and is applied to each example in turn, which takes as long as a loop does; an op "
        "of your own gets a rule by Op(..., batch=...)",
        RuntimeWarning,
        stacklevel=stack_level(),
    )


def _one_by_one(op: Any, size: int, values: list[Any], flags: list[bool], static: dict[str, Any], kind: type) -> Any:
    _warn_slow(op.name)
    if not size:
        raise ShapeError(f"vmap: {op.name} has no batching rule, and there is no example to apply it to")
    outs = [
        op(*[v[i] if flag else v for v, flag in zip(values, flags)], **_example(static, kind, i)) for i in range(size)
    ]
    stack = autograd._differentiable.stack
    if isinstance(outs[0], (tuple, list)):
        return [stack(column) for column in zip(*outs)]
    return stack(outs)


def vmap(
    function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, *, randomness: str = "error"
) -> Callable[..., Any]:
    """``function``, written for one example, over the examples that lie along an axis of its arguments.

    ``in_axes`` is where the examples lie: an int for all arguments, or a tuple with an int, ``None`` (the same for all
    examples) or a nested structure of these for each; keyword arguments are mapped along axis 0. Arguments may be nested
    tuples, lists and dicts; what is no tensor is passed on. ``out_axes`` says where the examples lie in the results.
    Differentiable, and to be nested: ``vmap(grad(loss), in_axes=(None, 0, 0))(params, x, y)`` are per-sample gradients.

    Random draws inside are an error by default, because one draw would serve all examples. ``randomness="different"``
    lets dropout and the functions of :mod:`lunar_core.random` draw for each example, ``"same"`` once for all.

    Raises :class:`ShapeError` if the arguments disagree on the number of examples; :class:`GradientError` if the function
    looks at a value (``if x > 0``, ``x.item()``), which is a different one for each example. Ops without a batching rule
    work, one example after the other, with a warning.
    """
    if randomness not in ("error", "different", "same"):
        raise HyperparameterError(f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}")

    @functools.wraps(function)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        axes = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
        if len(axes) != len(args):
            raise ShapeError(f"vmap: in_axes {in_axes!r} for {len(args)} positional arguments")
        placed = [_spread(axis, arg) for axis, arg in zip(axes, args)]
        placed_kwargs = _spread(0, kwargs)
        sizes = set(tree_leaves(tree_map(_size, [*args, kwargs], [*placed, placed_kwargs]))) - {None}
        if len(sizes) != 1:
            raise ShapeError(
                f"vmap: the arguments have {sorted(sizes)} examples along in_axes {in_axes!r}"
                if sizes
                else f"vmap: no argument has examples: in_axes is {in_axes!r}"
            )
        with _Examples(sizes.pop(), randomness) as level:
            enter = functools.partial(_enter, level)
            out = function(*tree_map(enter, list(args), placed), **tree_map(enter, kwargs, placed_kwargs))
        axes = (
            out_axes
            if isinstance(out_axes, (tuple, list)) and isinstance(out, (tuple, list))
            else _spread(out_axes, out)
        )
        if isinstance(out, (tuple, list)) and len(axes) != len(out):
            raise ShapeError(f"vmap: out_axes {out_axes!r} for {len(out)} results")
        return tree_map(functools.partial(_leave, level), out, _spread(axes, out))

    return mapped


def _spread(axes: Any, tree: Any) -> Any:
    """``axes`` in the structure of ``tree``: one for a whole subtree stands for each of its leaves."""
    if isinstance(tree, dict):
        return {key: _spread(axes[key] if isinstance(axes, dict) else axes, value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        own = isinstance(axes, (list, tuple))
        return [_spread(axes[i] if own else axes, value) for i, value in enumerate(tree)]
    return axes


def _size(x: Any, axis: Any) -> int | None:
    if not isinstance(x, Tensor) or axis is None:
        return None
    if not isinstance(axis, int) or not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"vmap: in_axes names axis {axis!r} of a tensor of shape {x.shape}")
    return x.shape[axis]


def _enter(level: _Examples, x: Any, axis: Any) -> Any:
    if not isinstance(x, Tensor):
        return x
    if axis is None:
        return level.lift(x)
    return Tensor(Batched(level, autograd._differentiable.moveaxis(x, axis, 0) if axis % x.ndim else alias(x), True))


def _leave(level: _Examples, x: Any, axis: Any) -> Any:
    if not isinstance(x, Tensor):
        raise GradientError(f"vmap: the function must return tensors, got {type(x).__name__}")
    ops = autograd._differentiable
    value, batched = (x.data.value, x.data.batched) if level.owns(x) else (x, False)
    if axis is None:
        if batched:
            raise GradientError("vmap: out_axes is None for a result that differs between the examples")
    else:
        if not batched:
            value = ops.broadcast_to(value, (level.size, *value.shape))
        if axis % value.ndim:
            value = ops.moveaxis(value, 0, axis)
    return value if modes.grad or value.node is None else value.detach()


def aligned(values: list[Any], flags: list[bool], rank: int | None = None) -> list[Any]:
    """Batched values with axes of size 1 behind the first, so that they broadcast as the examples do."""
    ranks = [v.ndim - flag for v, flag in zip(values, flags) if isinstance(v, Tensor)]
    rank = max(ranks) if rank is None else rank
    return [
        v.reshape((v.shape[0], *(1,) * (rank + 1 - v.ndim), *v.shape[1:])) if flag and v.ndim - 1 < rank else v
        for v, flag in zip(values, flags)
    ]


def given(values: list[Any], flags: list[bool], size: int) -> list[Any]:
    """Every tensor with the examples on axis 0."""
    broadcast = autograd._differentiable.broadcast_to
    return [
        v if flag or not isinstance(v, Tensor) else broadcast(v, (size, *v.shape)) for v, flag in zip(values, flags)
    ]
