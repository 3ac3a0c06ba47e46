"""Forward mode: a value and its tangent travel through the ops together.

``jvp(f, x, t)`` runs ``f`` once on dual numbers ``x + t eps``. How an op moves its tangents is what ``Op.jvp`` says; an op
without such a rule has its vjp transposed: the vjp is linear in the incoming gradient, and the gradient of that linear map
is the jvp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import autograd, backend
from .carried import Carried, Level, _record, alias
from .dtypes import is_differentiable
from .errors import GradientError, ShapeError
from .functional import grad
from .modes import enable_grad, modes
from .op import _keep
from .tensor import Tensor
from .trees import tree_leaves, tree_map


class Dual(Carried):
    """A value and the direction in which it moves; ``None`` where it stands still."""

    __slots__ = ("primal", "tangent")

    def __init__(self, level: Level, primal: Tensor, tangent: Tensor | None) -> None:
        self.level = level
        self.primal = primal
        self.tangent = tangent

    def inner(self) -> Tensor:
        return self.primal

    def item(self) -> Any:
        return self.primal.item()

    def tolist(self) -> Any:
        return self.primal.tolist()

    def __bool__(self) -> bool:
        return bool(self.primal)

    def __int__(self) -> int:
        return int(self.primal)

    def __index__(self) -> int:
        return self.primal.__index__()

    @classmethod
    def compute(cls, level: Any, op: Any, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        primals = [a.primal if type(a) is cls else a for a in arrays]
        tangents = [a.tangent if type(a) is cls else None for a in arrays]
        if "index" in static:
            static["index"] = tree_map(lambda i: i.primal.data if type(i) is cls else i, static["index"])
        out = op(*primals, **static)
        if isinstance(out, (tuple, list)):
            return [cls(level, o, t) for o, t in zip(out, _moved(op, primals, tangents, out, static))]
        return cls(level, out, _moved(op, primals, tangents, [out], static)[0])


_record(Dual)


class _Forward(Level):
    name = "jvp"

    def constant(self, x: Tensor) -> Dual:
        return Dual(self, x, None)


def _moved(op: Any, primals: list[Any], tangents: list[Any], outs: Any, static: dict[str, Any]) -> list[Any]:
    """The tangents of the results."""
    still: list[Any] = [None] * len(outs)
    if all(t is None for t in tangents) or not any(is_differentiable(o.dtype) for o in outs):
        return still
    rule = op.jvp
    if rule == "symmetric" and any(x.dtype.kind == "c" for x in (*outs, *[t for t in tangents if t is not None])):
        rule = None  # true of real functions
    if rule is None:
        moved = _transposed(op, primals, tangents, outs, static)
    else:
        moved = (
            _RULES[rule](op, primals, tangents, outs, static)
            if isinstance(rule, str)
            else rule(autograd._differentiable, tangents, _saved(op, primals, outs), **static)
        )
        moved = list(moved) if isinstance(moved, (tuple, list)) else [moved]
    return [None if t is None or not is_differentiable(o.dtype) else _fitted(t, o) for t, o in zip(moved, outs)]


def _fitted(tangent: Tensor, out: Tensor) -> Tensor:
    """In the shape and dtype of the result: rules may leave a broadcast or a promotion to this."""
    if tangent.shape != out.shape:
        tangent = autograd._differentiable.broadcast_to(tangent, out.shape)
    return tangent if tangent.dtype == out.dtype else autograd._cast(tangent, out.dtype)


def _saved(op: Any, primals: list[Any], outs: Any) -> Any:
    return _keep(op.save, primals, outs[0] if len(outs) == 1 else tuple(outs))


def _linear(op: Any, primals: list[Any], tangents: list[Any], outs: Any, static: dict[str, Any]) -> Any:
    """The op of the tangents; what cannot move (an index, a mask) stays as it is."""
    args = [
        t if t is not None else p * 0 if isinstance(p, Tensor) and is_differentiable(p.dtype) else p
        for p, t in zip(primals, tangents)
    ]
    return op(*args, **static)


def _multilinear(op: Any, primals: list[Any], tangents: list[Any], outs: Any, static: dict[str, Any]) -> Any:
    total = None
    for i, t in enumerate(tangents):
        if t is not None:
            part = op(*[t if j == i else p for j, p in enumerate(primals)], **static)
            total = part if total is None else total + part
    return total


def _bilinear(op: Any, primals: list[Any], tangents: list[Any], outs: Any, static: dict[str, Any]) -> Any:
    """A product of the first two inputs, to which the others are added."""
    x, y, *_ = primals
    tx, ty, *added = tangents
    if tx is None and (ty is None or any(t is not None for t in added)):
        tx = x * 0
    total = None if tx is None else op(tx, y, *added, **static)
    if ty is None:
        return total
    part = op(x, ty, *[None] * len(added), **static)
    return part if total is None else total + part


def _symmetric(op: Any, primals: list[Any], tangents: list[Any], outs: Any, static: dict[str, Any]) -> Any:
    saved = _saved(op, primals, outs)
    total = None
    for i, t in enumerate(tangents):
        if t is None:
            continue
        need = tuple(j == i for j in range(len(tangents)))
        part = op.vjp(autograd._differentiable, _fitted(t, outs[0]), saved, need, **static)[i]
        total = part if total is None or part is None else total + part
    return total


_RULES = {"linear": _linear, "multilinear": _multilinear, "bilinear": _bilinear, "symmetric": _symmetric}


def _transposed(op: Any, primals: list[Any], tangents: list[Any], outs: Any, static: dict[str, Any]) -> list[Any]:
    """The jvp from the vjp, which is linear in the gradient ``g``: the gradient of ``<vjp(g), tangents>`` in ``g``."""
    if op.vjp is None:
        raise GradientError(
            f"jvp: {op.name} has no gradient rule", hint="use x.detach() where no derivative is meant to flow"
        )
    need = tuple(t is not None for t in tangents)
    recording = modes.grad and any(isinstance(x, Tensor) and x.node is not None for x in (*primals, *tangents))
    with enable_grad():
        leaves: list[Any] = [None] * len(outs)
        for i, out in enumerate(outs):
            if is_differentiable(out.dtype):
                # any value does, but a rule may be written in pieces that meet at 0
                ones = Tensor(backend.of(out.data).xp.ones_like(out.data))
                ones = ones if modes.level is None else modes.level.lift(ones)
                leaves[i] = Tensor(ones.data, requires_grad=True)
        g = leaves[0] if len(outs) == 1 else leaves
        pulled = op.vjp(autograd._differentiable, g, _saved(op, primals, outs), need, **static)
        pairs = []
        for p, r, t in zip(primals, pulled, tangents):
            if r is not None and t is not None and r.node is not None:
                r = autograd._sum_to(r, p.shape) if r.shape != p.shape else r
                pairs.append((autograd._cast(r, p.dtype), t))
    if not pairs:
        return [None] * len(outs)
    variables = [v for v in leaves if v is not None]
    found = iter(
        grad([r for r, _ in pairs], variables, [t for _, t in pairs], create_graph=recording, allow_unused=True)
    )
    return [None if v is None else next(found) for v in leaves]


def jvp(function: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """``function(*primals)`` and its directional derivative along ``tangents``, in one forward pass.

    ``primals`` is a tensor or a sequence of tensors (or of nested tuples, lists and dicts of them), ``tangents`` has the
    same structure and shapes. Both results have the structure of what the function returns. The tangent of a result that
    does not depend on the inputs is 0. Differentiable in everything: ``jvp`` of ``grad``, ``grad`` of ``jvp`` and ``jvp``
    of ``jvp`` are higher derivatives.

    Raises :class:`ShapeError` if a tangent does not fit its primal, :class:`GradientError` if an op without a derivative
    lies on the way.
    """
    primals, tangents = _sequence(primals), _sequence(tangents)
    for p, t in _pairs(primals, tangents):
        if not isinstance(p, Tensor) or not isinstance(t, Tensor):
            wrong = t if isinstance(p, Tensor) else p
            raise GradientError(f"jvp: primals and tangents must be tensors, got {type(wrong).__name__}")
        if not is_differentiable(p.dtype):
            raise GradientError(f"jvp: a primal of dtype {p.dtype} cannot move", hint='x.astype("float32") can')
    with _Forward() as level:
        duals = tree_map(lambda p, t: Tensor(Dual(level, alias(p), autograd._cast(t, p.dtype))), primals, tangents)
        out = function(*duals)
    return tree_map(lambda x: _finish(_parts(level, x)[0]), out), tree_map(lambda x: _finish(_parts(level, x)[1]), out)


def _parts(level: Level, x: Any) -> tuple[Any, Any]:
    if not isinstance(x, Tensor):
        raise GradientError(f"jvp: the function must return tensors, got {type(x).__name__}")
    primal, tangent = (x.data.primal, x.data.tangent) if level.owns(x) else (x, None)
    if tangent is None:
        tangent = Tensor(backend.of(primal.data).xp.zeros_like(primal.data))
    return primal, tangent


def _finish(x: Tensor) -> Tensor:
    return x if modes.grad or x.node is None else x.detach()


def _sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) else [value]


def _pairs(primals: Any, tangents: Any) -> list[tuple[Any, Any]]:
    ps, ts = tree_leaves(primals), tree_leaves(tangents)
    if [getattr(p, "shape", None) for p in ps] != [getattr(t, "shape", None) for t in ts]:
        shapes = [", ".join(str(getattr(x, "shape", x)) for x in xs) for xs in (ps, ts)]
        raise ShapeError(f"jvp: each primal needs a tangent of its shape: primals {shapes[0]}; tangents {shapes[1]}")
    return list(zip(ps, ts))
