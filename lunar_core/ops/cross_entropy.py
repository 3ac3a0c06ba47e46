"""The losses that take logits: cross_entropy, fused with softmax, and bce_with_logits, fused with sigmoid.

They give one number for each sample: what a mean is taken over, and with which weights, belongs to the loss components.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, HyperparameterError, IndexingError, ShapeError
from ..op import Op, Sample, Spec
from ..tensor import Tensor
from .common import array, wide
from .softmax import FLOAT, rounded, row_total, shifted

# A row of logits z has the loss -sum_c w_c q_c log softmax(z)_c with the target distribution q: one-hot or given,
# smoothed towards the uniform one. The kernels see rows; the class axis is moved to the end for them.


def _rows(x: Any, axis: int) -> Any:
    """All axes but ``axis`` merged: (rows, classes)."""
    if x.ndim == 2 and axis == 1:
        return x
    return x.transpose(_last(x.ndim, axis)).reshape(-1, x.shape[axis])


def _last(ndim: int, axis: int) -> tuple[int, ...]:
    return (*range(axis), *range(axis + 1, ndim), axis)


def _labels(xp: Any, target: Any, classes: int, ignore_index: int | None) -> tuple[Any, Any]:
    """Flat class indices that are safe to index with, and which rows count (``None`` for all).

    On a device an index out of range is not looked for, which would wait for the device; its row counts as NaN.
    """
    labels = target.reshape(-1)
    if xp is np:
        ignores_a_class = ignore_index is not None and 0 <= ignore_index < classes
        if not ignores_a_class and (not labels.size or (labels.min() >= 0 and labels.max() < classes)):
            return labels, None
        counted = labels != ignore_index if ignore_index is not None else np.ones(labels.shape, bool)
        kept = labels[counted]
        if kept.size and (kept.min() < 0 or kept.max() >= classes):
            bad = int(kept.min() if kept.min() < 0 else kept.max())
            raise IndexingError(
                f"cross_entropy: class {bad} is out of range for {classes} classes",
                hint=f"targets are 0..{classes - 1}, or ignore_index={ignore_index}",
            )
        return np.where(counted, labels, 0), counted
    inside = (labels >= 0) & (labels < classes)
    counted = xp.where(inside, np.float32(1), np.float32(np.nan))
    if ignore_index is not None:
        counted = xp.where(labels == ignore_index, np.float32(0), counted)
    return xp.where(inside, labels, 0), counted


def _drop(xp: Any, out: Any, counted: Any) -> None:
    """Make the rows that do not count 0, whatever stands there."""
    if xp is np:
        out[~counted] = 0
    else:
        shape = (-1,) + (1,) * (out.ndim - 1)
        out[...] = xp.where((counted == 0).reshape(shape), 0, out * counted.reshape(shape))


def _cross_entropy_forward(
    xp: Any, x: Any, target: Any, weight: Any, axis: int, label_smoothing: float, ignore_index: int | None
) -> Any:
    z = shifted(xp, _rows(x, axis), 1)
    rows, classes = z.shape
    w = None if weight is None else weight.astype(z.dtype, copy=False)
    spread = label_smoothing / classes
    if target.dtype.kind in "iu":
        labels, counted = _labels(xp, target, classes, ignore_index)
        picked = z[xp.arange(rows), labels]
        smooth = None if not spread else z.sum(axis=1) if w is None else z.dot(w)
        log_sum = xp.log(row_total(xp, xp.exp(z, out=z), 1))[:, 0]
        out = log_sum - picked
        if w is not None:
            out *= w[labels]
        if smooth is not None:
            out *= 1 - label_smoothing
            out += (log_sum * (classes if w is None else w.sum()) - smooth) * spread
        if counted is not None:
            _drop(xp, out, counted)
    else:
        q = _rows(target, axis).astype(z.dtype, copy=False)
        if spread:
            q = q * (1 - label_smoothing) + spread
        if w is not None:
            q = q * w
        expected = (q * z).sum(axis=1)
        out = xp.log(row_total(xp, xp.exp(z, out=z), 1))[:, 0] * q.sum(axis=1) - expected
    return rounded(out, x).reshape(tuple(n for i, n in enumerate(x.shape) if i != axis))


def _cross_entropy_grad_forward(
    xp: Any, g: Any, x: Any, target: Any, weight: Any, axis: int, label_smoothing: float, ignore_index: int | None
) -> Any:
    """``g (Q softmax(z) - w q)`` with ``Q = sum_c w_c q_c``."""
    out = shifted(xp, _rows(x, axis), 1)
    rows, classes = out.shape
    g = g.reshape(-1)
    if wide(g.dtype):
        g = g.astype(np.float32)
    w = None if weight is None else weight.astype(out.dtype, copy=False)
    spread = label_smoothing / classes
    xp.exp(out, out=out)
    total = row_total(xp, out, 1)[:, 0]
    if target.dtype.kind in "iu":
        labels, counted = _labels(xp, target, classes, ignore_index)
        hit = g if w is None else g * w[labels]
        if spread:
            hit = hit * (1 - label_smoothing)
            out *= ((hit + g * spread * (classes if w is None else w.sum())) / total)[:, None]
            out -= (g * spread)[:, None] if w is None else (g * spread)[:, None] * w
        else:
            out *= (hit / total)[:, None]
        out[xp.arange(rows), labels] -= hit
        if counted is not None:
            _drop(xp, out, counted)
    else:
        q = _rows(target, axis).astype(out.dtype, copy=False)
        if spread:
            q = q * (1 - label_smoothing) + spread
        if w is not None:
            q = q * w
        out *= (q.sum(axis=1) / total)[:, None]
        out -= q
        out *= g[:, None]
    out = rounded(out, x)
    if x.ndim == 2 and axis == 1:
        return out
    shape = tuple(n for i, n in enumerate(x.shape) if i != axis)
    order = (*range(axis), x.ndim - 1, *range(axis, x.ndim - 1))
    return out.reshape((*shape, classes)).transpose(order)


def _distribution(x: Any, target: Any, axis: int, label_smoothing: float, ignore_index: int | None) -> Any:
    """The smoothed target distribution q in the shape of the logits; rows that are ignored are 0."""
    classes = x.shape[axis]
    if target.dtype.kind not in "iu":
        return target * (1 - label_smoothing) + label_smoothing / classes if label_smoothing else target
    labels = target.data if isinstance(target, Tensor) else target
    xp = backend.of(labels).xp
    column = (1,) * axis + (classes,) + (1,) * (x.ndim - 1 - axis)
    q = (xp.expand_dims(labels, axis) == xp.arange(classes).reshape(column)).astype(x.dtype)
    if label_smoothing:
        q = q * (1 - label_smoothing) + label_smoothing / classes
    if ignore_index is not None:
        q = q * xp.expand_dims(labels != ignore_index, axis)
    return Tensor(q) if isinstance(x, Tensor) else q


def _class_vector(weight: Any, ndim: int, axis: int) -> Any:
    return weight.reshape((1,) * axis + (-1,) + (1,) * (ndim - 1 - axis))


def _cross_entropy_vjp(F: Any, g: Any, saved: Any, need: Any, axis: int, **static: Any) -> Any:
    x, target, weight = saved
    gx = F.cross_entropy_grad(g, x, target, weight, axis=axis, **static) if need[0] else None
    gt = gw = None
    if need[1] or need[2]:
        surprise = F.expand_dims(-g, axis) * F.log_softmax(x, axis=axis)
        if need[1]:
            gt = surprise * (1 - static["label_smoothing"])
            gt = gt if weight is None else gt * _class_vector(weight, x.ndim, axis)
        if need[2]:
            gw = F.sum(surprise * _distribution(x, target, axis, **static), axis=_others(x.ndim, axis))
    return gx, gt, gw


def _others(ndim: int, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(ndim) if i != axis)


def _cross_entropy_grad_vjp(F: Any, h: Any, saved: Any, need: Any, axis: int, **static: Any) -> Any:
    g, x, target, weight = saved
    wide = F.expand_dims(g, axis)
    p = F.softmax(x, axis=axis)
    q = _distribution(x, target, axis, **static)
    w = None if weight is None else _class_vector(weight, x.ndim, axis)
    wq = q if w is None else q * w
    total = F.sum(wq, axis=axis, keepdims=True)
    along = F.sum(p * h, axis=axis, keepdims=True)  # sum_c p_c h_c
    results: list[Any] = [None] * 4
    if need[0]:
        results[0] = F.sum((p * h) * total - wq * h, axis=axis)
    if need[1]:
        results[1] = wide * total * (p * (h - along))
    if need[2]:
        gt = wide * (1 - static["label_smoothing"]) * (along - h)
        results[2] = gt if w is None else gt * w
    if need[3]:
        results[3] = F.sum(wide * q * (along - h), axis=_others(x.ndim, axis))
    return results


def _cross_entropy_spec(x: Spec, target: Any, weight: Any, axis: int, **static: Any) -> Spec:
    return Spec(tuple(n for i, n in enumerate(x.shape) if i != axis), FLOAT(x).dtype)


def _cross_entropy_cases() -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """(logits, target, weight) and static arguments."""
    labels = np.array([2, 0, 1, 2])
    maps = np.array([[[0, 2], [1, -100]], [[1, 1], [0, 2]]])
    weight = array(60, (3,), 0.3, 2.0)
    q = np.abs(array(61, (4, 3))) + 0.1
    q /= q.sum(axis=1, keepdims=True)
    x, images = array(62, (4, 3), -3, 3), array(63, (2, 3, 2, 2), -3, 3)
    plain = {"axis": 1, "label_smoothing": 0.0, "ignore_index": -100}
    smooth = {**plain, "label_smoothing": 0.2}
    return [
        ((x, labels, None), plain),
        ((x, labels, weight), plain),
        ((x, labels, None), smooth),
        ((x, labels, weight), {**smooth, "ignore_index": 2}),
        ((images, maps, None), plain),
        ((images, maps, weight), smooth),
        ((x, q, None), plain),
        ((x, q, weight), smooth),
        ((np.moveaxis(images, 1, -1).copy(), maps, weight), {**smooth, "axis": 3}),
        ((images, np.abs(array(64, images.shape)), weight), smooth),
    ]


def _cross_entropy_samples() -> list[Sample]:
    def call(static: dict[str, Any]) -> Any:
        def of(t: Any, x: Any, target: Any, weight: Any = None) -> Any:
            weight = None if weight is None else weight.detach()  # PyTorch does not differentiate by it
            options = {"label_smoothing": static["label_smoothing"], "ignore_index": static["ignore_index"]}
            x = x.movedim(static["axis"], 1)
            return t.nn.functional.cross_entropy(x, target, weight, reduction="none", **options)

        return of

    return [Sample(args, static, torch=call(static)) for args, static in _cross_entropy_cases()]


def _cross_entropy_grad_samples() -> list[Sample]:
    samples = []
    for i, ((x, target, weight), static) in enumerate(_cross_entropy_cases()):
        shape = tuple(n for k, n in enumerate(x.shape) if k != static["axis"])
        samples.append(Sample((array(i, shape), x, target, weight), static))
    return samples


_cross_entropy = Op(
    "cross_entropy",
    _cross_entropy_forward,
    _cross_entropy_vjp,
    save=(0, 1, 2),
    heavy=True,
    cast="float32",
    abstract=_cross_entropy_spec,
    samples=_cross_entropy_samples,
    doc="Cross-entropy of logits with class indices or probabilities, one loss a sample.",
)
cross_entropy_grad = Op(
    "cross_entropy_grad",
    _cross_entropy_grad_forward,
    _cross_entropy_grad_vjp,
    save=(0, 1, 2, 3),
    heavy=True,
    abstract=lambda g, x, target, weight, **static: Spec(x.shape, FLOAT(x).dtype),
    samples=_cross_entropy_grad_samples,
    doc="The gradient of cross_entropy in the logits.",
)


def cross_entropy(
    logits: Any,
    target: Any,
    weight: Any = None,
    *,
    axis: int = 1,
    label_smoothing: float = 0.0,
    ignore_index: int | None = -100,
) -> Any:
    """Cross-entropy between ``softmax(logits)`` and targets, unreduced: one loss for each sample or pixel.

    Shapes: logits (N, C, ...) with the classes on ``axis`` (for 1-D logits, axis 0). ``target`` holds either integer
    classes, shape (N, ...), or the probability of each class (one-hot included), the logits' shape. The result has
    shape (N, ...).

    ``weight`` (C,) multiplies the term of each class. ``label_smoothing`` in [0, 1] moves that share of the target to
    the uniform distribution. Samples whose class is ``ignore_index`` have loss and gradient 0; ``None`` ignores none.

    This is ``torch.nn.functional.cross_entropy`` with ``reduction="none"``, also in how weights and smoothing combine.
    Raises :class:`ShapeError` for shapes that do not fit, :class:`IndexingError` for a class out of range.
    """
    ndim = logits.ndim
    if not ndim:
        raise ShapeError("cross_entropy: logits need a class axis, got a number")
    if ndim == 1:
        axis = 0
    elif not -ndim <= axis < ndim:
        raise ShapeError(f"cross_entropy: axis {axis} is out of range for logits of shape {tuple(logits.shape)}")
    elif axis < 0:
        axis += ndim
    if not 0 <= label_smoothing <= 1:
        raise HyperparameterError(f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing!r}")
    shape = logits.shape
    if not hasattr(target, "dtype"):
        raw = logits.data if isinstance(logits, Tensor) else logits
        owner = backend.of(raw)
        target = owner.from_numpy(np.asarray(target), owner.device_of(raw))
    if target.shape == shape:
        if target.dtype.kind in "biu":  # one-hot integers
            target = target.astype(logits.dtype)
    elif target.shape != shape[:axis] + shape[axis + 1 :]:
        raise ShapeError(
            f"cross_entropy: target of shape {tuple(target.shape)} does not fit logits {tuple(shape)} with classes on "
            f"axis {axis}; expected classes of shape {shape[:axis] + shape[axis + 1 :]} or probabilities of the logits' shape"
        )
    elif target.dtype.kind not in "iu":
        raise DTypeError(
            f"cross_entropy: target classes must be integers, got {target.dtype} of shape {tuple(target.shape)}",
            hint='target.astype("int64"); probabilities have the shape of the logits',
        )
    if weight is not None and tuple(weight.shape) != (shape[axis],):
        raise ShapeError(
            f"cross_entropy: weight must have shape ({shape[axis]},), one for each class, got {weight.shape}"
        )
    return _apply_cross_entropy(
        logits, target, weight, axis=axis, label_smoothing=float(label_smoothing), ignore_index=ignore_index
    )


_apply_cross_entropy = _cross_entropy.applier(3)

# -- binary cross-entropy ----------------------------------------------------------------------------------------------


def _bce_forward(xp: Any, x: Any, t: Any, pos_weight: Any) -> Any:
    tail = xp.log1p(xp.exp(-abs(x)))  # softplus(-|x|)
    if pos_weight is None:
        return tail + xp.maximum(x, 0) - x * t
    return (1 - t) * x + (1 + (pos_weight - 1) * t) * (tail + xp.maximum(-x, 0))


def _bce_vjp(F: Any, g: Any, saved: Any, need: Any) -> Any:
    x, t, pos_weight = saved
    if pos_weight is None:
        return (g * (F.sigmoid(x) - t) if need[0] else None, g * -x if need[1] else None, None)
    tail = F.softplus(-x)
    return (
        g * ((1 - t) - (1 + (pos_weight - 1) * t) * F.sigmoid(-x)) if need[0] else None,
        g * ((pos_weight - 1) * tail - x) if need[1] else None,
        g * t * tail if need[2] else None,
    )


def _bce_samples() -> list[Sample]:
    def call(t: Any, x: Any, target: Any, pos_weight: Any = None) -> Any:
        pos_weight = None if pos_weight is None else pos_weight.detach()  # PyTorch does not differentiate by it
        return t.nn.functional.binary_cross_entropy_with_logits(x, target, pos_weight=pos_weight, reduction="none")

    return [
        Sample((array(0, (4,), -4, 4), array(1, (4,), 0, 1), None), torch=call),
        Sample((array(2, (3, 2), -4, 4), array(3, (3, 2), 0, 1), None), torch=call),
        Sample((array(4, (3, 2), -4, 4), array(5, (3, 2), 0, 1), array(6, (2,), 0.5, 3)), torch=call),
    ]


_bce_with_logits = Op(
    "bce_with_logits",
    _bce_forward,
    _bce_vjp,
    save=(0, 1, 2),
    broadcasts=True,
    cast="float32",
    abstract=lambda x, t, pos_weight: Spec(x.shape, np.result_type(FLOAT(x).dtype, t.dtype)),
    samples=_bce_samples,
    doc="Binary cross-entropy of logits, one loss an element.",
)


def bce_with_logits(logits: Any, target: Any, pos_weight: Any = None) -> Any:
    """Binary cross-entropy of ``sigmoid(logits)`` with targets in [0, 1], unreduced.

    ``-(pos_weight * t * log(s) + (1 - t) * log(1 - s))`` with ``s = sigmoid(logits)``, computed without overflow.
    ``target`` has the shape of ``logits``; ``pos_weight`` broadcasts with them, usually one number for each class
    (C,).
    """
    if tuple(target.shape) != tuple(logits.shape):
        raise ShapeError(
            f"bce_with_logits: target of shape {tuple(target.shape)} must have the logits' shape {tuple(logits.shape)}"
        )
    if target.dtype.kind in "biu":
        target = target.astype(logits.dtype)
    if pos_weight is not None and not hasattr(pos_weight, "dtype"):
        raw = logits.data if isinstance(logits, Tensor) else logits
        owner = backend.of(raw)
        pos_weight = owner.from_numpy(np.asarray(pos_weight, raw.dtype), owner.device_of(raw))
    if pos_weight is not None:
        try:
            fits = np.broadcast_shapes(tuple(pos_weight.shape), tuple(logits.shape)) == tuple(logits.shape)
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(
                f"bce_with_logits: pos_weight of shape {tuple(pos_weight.shape)} does not broadcast to the logits' "
                f"{tuple(logits.shape)}"
            )
    return _bce_with_logits(logits, target, pos_weight)
