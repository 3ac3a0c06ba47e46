"""Linear algebra: matmul, linear, outer, einsum, tensordot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..op import INPUTS, Op, Sample, Spec
from .common import array, complex_array, speaks_as, wide


def _h(F: Any, x: Any) -> Any:
    """The last two axes exchanged, and conjugated where the values are complex."""
    x = x.swapaxes(-1, -2)
    return F.conjugate(x) if x.dtype.kind == "c" else x


def _in_single(forward: Any, xp: Any, arrays: Any, **static: Any) -> Any:
    """Half-precision products computed in float32, which BLAS knows, and rounded once."""
    dtype = np.result_type(*[a.dtype for a in arrays if a is not None])
    return forward(xp, *[a if a is None else a.astype(np.float32) for a in arrays], **static).astype(dtype)


def _matmul_forward(xp: Any, x: Any, y: Any) -> Any:
    if x.itemsize == 2 and wide(x.dtype):
        return _in_single(_matmul_forward, xp, (x, y))
    if x.ndim == 2 and y.ndim == 2:
        return x.dot(y)  # the same BLAS call at a third of matmul's overhead
    return xp.matmul(x, y)


def _matmul_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, y = saved
    gx = gy = None
    if x.ndim == 1 and y.ndim == 1:
        return (g * _conj(F, y) if need[0] else None, g * _conj(F, x) if need[1] else None)
    if x.ndim == 1:  # (k) @ (..., k, n) -> (..., n)
        row = F.expand_dims(g, -2)
        gx = F.sum(_conj(F, y) * row, axis=-1, keepdims=False) if need[0] else None
        gy = F.expand_dims(_conj(F, x), -1) * row if need[1] else None
        return gx, gy
    if y.ndim == 1:  # (..., m, k) @ (k) -> (..., m)
        tall = F.expand_dims(g, -1)
        gx = tall * _conj(F, y) if need[0] else None
        gy = F.sum(_conj(F, x) * tall, axis=-2, keepdims=False) if need[1] else None
        return gx, gy
    if need[0]:
        gx = F.matmul(g, _h(F, y))
    if need[1]:
        if y.ndim == 2 and x.ndim > 2:  # one product over all leading axes instead of a sum of small ones
            x, g = _rows(x), _rows(g)
        gy = F.matmul(_h(F, x), g)
    return gx, gy


def _conj(F: Any, x: Any) -> Any:
    return F.conjugate(x) if x.dtype.kind == "c" else x


def _rows(x: Any) -> Any:
    """All axes but the last as one; sizes of 0 leave no room for a -1."""
    return x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


def _matmul_spec(x: Spec, y: Spec) -> Spec:
    dtype = np.result_type(x.dtype, y.dtype)
    if not x.shape or not y.shape or x.shape[-1] != y.shape[-2 if len(y.shape) > 1 else 0]:
        raise ShapeError(f"matmul: inner sizes of {x.shape} and {y.shape} differ")
    head = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return Spec(head + x.shape[-2:-1] + (y.shape[-1:] if len(y.shape) > 1 else ()), dtype)


def _matmul_samples() -> list[Sample]:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 4, 3), (3, 2)), ((2, 1, 2, 3), (3, 3, 2)),
        ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((0, 3), (3, 2)),
    ]  # fmt: skip
    samples = [Sample((array(i, a), array(i + 40, b))) for i, (a, b) in enumerate(shapes)]
    empty = Sample((array(32, (2, 3, 0)), array(33, (0, 2))))
    return [*samples, empty, Sample((array(30, (3, 2)).T, array(31, (4, 3)).T))]


matmul = Op(
    "matmul",
    _matmul_forward,
    _matmul_vjp,
    save=(0, 1),
    broadcasts=True,
    heavy=True,
    cast="low",
    jvp="multilinear",
    abstract=_matmul_spec,
    samples=_matmul_samples,
    doc="``x @ y``: matrix product of the last two axes; leading axes broadcast, 1-D arrays are vectors.",
)


def product(a: Any, b: Any) -> Any:
    """``a @ b`` of raw arrays, for kernels made of products: by whoever multiplies matrices fastest on this machine."""
    return matmul.bound(type(a))(a, b)


def _linear_forward(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    if x.itemsize == 2 and wide(x.dtype):
        return _in_single(_linear_forward, xp, (x, weight, bias))
    if x.ndim == 2:
        out = x.dot(weight.T)
    else:
        out = _rows(x).dot(weight.T).reshape(*x.shape[:-1], weight.shape[0])
    if bias is not None:
        out += bias
    return out


def _linear_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, weight = saved
    if g.ndim != 2:
        flat, x2 = _rows(g), _rows(x)
    else:
        flat, x2 = g, x
    gx = F.matmul(flat, _conj(F, weight)) if need[0] else None
    if gx is not None and g.ndim != 2:
        gx = gx.reshape(x.shape)
    gw = F.matmul(flat.T, _conj(F, x2)) if need[1] else None
    gb = None
    if need[2]:  # the array's own method costs least; the op accumulates half precision in float32
        gb = F.sum(flat, axis=0, keepdims=False) if wide(flat.dtype) else flat.sum(axis=0)
    return gx, gw, gb


def _linear_spec(x: Spec, weight: Spec, bias: Any) -> Spec:
    if isinstance(bias, Spec) and bias.shape not in (weight.shape[:1], (1,), ()):
        raise ShapeError(f"linear: a weight {weight.shape} needs a bias of shape {weight.shape[:1]}, got {bias.shape}")
    return Spec((*x.shape[:-1], weight.shape[0]), np.result_type(x.dtype, weight.dtype))


def _linear_samples() -> list[Sample]:
    def call(t: Any, x: Any, w: Any, b: Any) -> Any:
        return t.nn.functional.linear(x, w, b)

    return [
        Sample((array(0, (4, 3)), array(1, (2, 3)), array(2, (2,))), torch=call),
        Sample((array(3, (2, 4, 3)), array(4, (5, 3)), array(5, (5,))), torch=call),
        Sample((array(6, (3,)), array(7, (2, 3)), array(8, (2,))), torch=call),
        Sample((array(9, (4, 3)), array(10, (2, 3)), None), torch=lambda t, x, w: t.nn.functional.linear(x, w)),
        Sample((complex_array(11, (4, 3)), complex_array(12, (2, 3)), complex_array(13, (2,))), torch=call),
        Sample((array(14, (2, 3, 0)), array(15, (2, 0)), array(16, (2,))), torch=call),
    ]


_linear = Op(
    "linear",
    _linear_forward,
    _linear_vjp,
    save=(0, 1),
    heavy=True,
    cast="low",
    jvp="bilinear",
    abstract=_linear_spec,
    samples=_linear_samples,
    doc="``x W^T + b`` over the last axis.",
)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """``x W^T + b``: x (..., in), weight (out, in), bias (out,) or ``None`` -> (..., out)."""
    if x.ndim == 0 or x.shape[-1] != weight.shape[-1]:
        raise ShapeError(
            f"linear expects inputs whose last axis is {weight.shape[-1]} (weight is {tuple(weight.shape)}), "
            f"got {tuple(x.shape)}"
        )
    return _linear(x, weight, bias)


@speaks_as("outer")
def outer(x: Any, y: Any) -> Any:
    """Outer product of two vectors: (n), (m) -> (n, m)."""
    if not hasattr(x, "reshape") or not hasattr(y, "reshape"):
        raise ShapeError(f"outer: expected two arrays, got {type(x).__name__} and {type(y).__name__}")
    return x.reshape((-1, 1)) * y.reshape((1, -1))


@speaks_as("tensordot")
def tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """Sum of products over ``axes``: a count of trailing and leading axes, or a pair of axis lists (NumPy's)."""
    from .common import normalize_axis
    from .shape import transpose

    if isinstance(axes, int):
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot: axes={axes} of arrays of shapes {tuple(x.shape)} and {tuple(y.shape)}")
        left, right = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    else:
        left, right = normalize_axis(axes[0], x.ndim, "tensordot"), normalize_axis(axes[1], y.ndim, "tensordot")
    if [x.shape[a] for a in left] != [y.shape[b] for b in right]:
        raise ShapeError(f"tensordot: axes {left} of {tuple(x.shape)} and {right} of {tuple(y.shape)} differ in size")
    keep_x = tuple(i for i in range(x.ndim) if i not in left)
    keep_y = tuple(i for i in range(y.ndim) if i not in right)
    inner = int(np.prod([x.shape[a] for a in left], dtype=int))
    a = transpose(x, keep_x + left).reshape((-1, inner)) if x.ndim else x.reshape((1, 1))
    b = transpose(y, right + keep_y).reshape((inner, -1)) if y.ndim else y.reshape((1, 1))
    return matmul(a, b).reshape(tuple(x.shape[i] for i in keep_x) + tuple(y.shape[i] for i in keep_y))


# -- einsum ------------------------------------------------------------------------------------------------------------


def _einsum_vjp(F: Any, g: Any, saved: Any, need: Any, subscripts: str) -> Any:
    """Each input's gradient is an einsum of the output's gradient with the other inputs."""
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    results: list[Any] = []
    for i, (term, needed) in enumerate(zip(terms, need)):
        if not needed:
            results.append(None)
            continue
        others = [t for j, t in enumerate(terms) if j != i]
        arrays = [_conj(F, a) for j, a in enumerate(saved) if j != i]
        known = set(output).union(*others) if others else set(output)
        lost = [c for c in term if c not in known]  # summed over alone: the gradient is constant along them
        kept = "".join(c for c in term if c in known)
        grad = F.einsum(",".join([output, *others]) + "->" + kept, g, *arrays)
        if lost:
            at = [i for i, c in enumerate(term) if c in lost]
            grad = F.broadcast_to(F.expand_dims(grad, tuple(at)), saved[i].shape)
        results.append(grad)
    return results


def _einsum_spec(*specs: Spec, subscripts: str) -> Spec:
    inputs, output = subscripts.split("->")
    sizes = {c: n for term, spec in zip(inputs.split(","), specs) for c, n in zip(term, spec.shape)}
    return Spec(tuple(sizes[c] for c in output), np.result_type(*[s.dtype for s in specs]))


def _einsum_samples() -> list[Sample]:
    table: list[tuple[str, list[tuple[int, ...]]]] = [
        ("ab->ba", [(2, 3)]), ("ab->", [(2, 3)]), ("ij,jk->ik", [(2, 3), (3, 4)]), ("bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]), ("a,ab,b,c->ac", [(2,), (2, 3), (3,), (4,)]), ("ij,kl->ik", [(2, 3), (2, 2)]),
    ]  # fmt: skip

    def sample(subscripts: str, shapes: list[tuple[int, ...]]) -> Sample:
        arrays = tuple(array(i, shape) for i, shape in enumerate(shapes))
        return Sample(arrays, {"subscripts": subscripts}, torch=lambda t, *xs: t.einsum(subscripts, *xs))

    return [sample(*row) for row in table]


def _einsum_forward(xp: Any, *xs: Any, subscripts: str) -> Any:
    if wide(xs[0].dtype):
        return _in_single(_einsum_forward, xp, xs, subscripts=subscripts)
    return xp.einsum(subscripts, *xs, optimize=len(xs) > 1)


_einsum = Op(
    "einsum",
    _einsum_forward,
    _einsum_vjp,
    save=INPUTS,
    cast="low",
    jvp="multilinear",
    abstract=_einsum_spec,
    samples=_einsum_samples,
    doc="Einstein summation.",
)


def einsum(subscripts: str, *arrays: Any) -> Any:
    """Einstein summation, contraction order optimised: ``einsum("bij,bjk->bik", x, y)``.

    Labels are letters. ``...`` stands for leading axes that broadcast; a label repeated within one term reads the
    diagonal. Without ``->`` the result has the axes of ``...`` and those labels, in alphabetic order, that occur once.
    """
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(arrays):
        raise ShapeError(f"einsum: {subscripts!r} names {len(terms)} arrays, {len(arrays)} were given")
    if not arrow:
        output = "..." * ("..." in inputs) + "".join(sorted(c for c in set(inputs) - set(".,") if inputs.count(c) == 1))
    operands = list(arrays)
    if "." in inputs or "." in output:
        terms, output = _spelled_out(terms, output, operands)
    sizes: dict[str, int] = {}
    for i, (term, x) in enumerate(zip(terms, operands)):
        if len(term) != x.ndim:
            raise ShapeError(f"einsum: term {term!r} does not fit an array of shape {tuple(x.shape)}")
        for label, size in zip(term, x.shape):
            if sizes.setdefault(label, size) != size:
                raise ShapeError(f"einsum: axis {label!r} has sizes {sizes[label]} and {size}")
        if len(set(term)) != len(term):
            terms[i], operands[i] = _without_repeats(term, x)
    if len(set(output)) != len(output) or not set(output) <= set(sizes):
        raise ShapeError(f"einsum: output {output!r} must name axes of the inputs, each once")
    return _einsum(*operands, subscripts=f"{','.join(terms)}->{output}")


def _spelled_out(terms: list[str], output: str, operands: list[Any]) -> tuple[list[str], str]:
    """The terms with letters in the place of ``...``; axes of size 1 under it are widened, in ``operands``."""
    from .shape import broadcast_to

    used = set("".join([*terms, output]))
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in used]
    spans: list[tuple[int, int]] = []  # of each array: where the axes of its dots begin, and how many they are
    for term, x in zip(terms, operands):
        head, dots, tail = term.partition("...")
        if "." in head + tail or len(head) + len(tail) > x.ndim:
            raise ShapeError(f"einsum: term {term!r} does not fit an array of shape {tuple(x.shape)}")
        spans.append((len(head), x.ndim - len(head) - len(tail) if dots else 0))
    try:
        common = np.broadcast_shapes(*[x.shape[start : start + n] for (start, n), x in zip(spans, operands)])
    except ValueError as exc:
        shapes = ", ".join(str(tuple(x.shape)) for x in operands)
        raise ShapeError(f"einsum: the axes of '...' in shapes {shapes} do not broadcast") from exc
    letters = "".join(free[: len(common)])
    for i, (start, n) in enumerate(spans):
        x = operands[i]
        if n:
            wanted = common[len(common) - n :]
            if tuple(x.shape[start : start + n]) != wanted:
                operands[i] = broadcast_to(x, (*x.shape[:start], *wanted, *x.shape[start + n :]))
        terms[i] = terms[i].replace("...", letters[len(letters) - n :])
    if "." in output.replace("...", "", 1):
        raise ShapeError(f"einsum: output {output!r} must name axes of the inputs, each once")
    return terms, output.replace("...", letters)


def _without_repeats(term: str, x: Any) -> tuple[str, Any]:
    """A term in which each label stands once, and the diagonal of its array."""
    from .rearrange import diagonal

    while len(set(term)) != len(term):
        label = next(c for c in term if term.count(c) > 1)
        a = term.index(label)
        b = term.index(label, a + 1)
        x = diagonal(x, 0, a, b)
        term = "".join(c for i, c in enumerate(term) if i not in (a, b)) + label
    return term, x
