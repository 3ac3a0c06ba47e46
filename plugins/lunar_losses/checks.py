"""What losses ask of predictions and targets, and how they bring them together."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.errors import DTypeError, IndexingError, ShapeError
from lunar_core.tensor import Tensor


def raw(x: Any) -> Any:
    """The array of a tensor; arrays as they are."""
    return x.data if isinstance(x, Tensor) else x


def constant(pred: Any, value: Any, dtype: Any = None) -> Any:
    """A host array, or numbers, as an array on the device of ``pred``."""
    data = raw(pred)
    owner = backend.of(data)
    return owner.from_numpy(np.asarray(value, dtype), owner.device_of(data))


def beside(pred: Any, value: Any) -> Any:
    """What a user gave: lists and numbers as an array on the device of ``pred``, tensors and arrays as they are."""
    return value if hasattr(value, "dtype") else constant(pred, value)


def several(loss: str, pred: Any, *names: str) -> tuple[Any, ...]:
    """The tensors that ``pred`` holds, as many as there are ``names`` for; else ShapeError."""
    if not isinstance(pred, tuple) or len(pred) != len(names):
        got = f"{len(pred)} of them" if isinstance(pred, tuple) else f"a {type(pred).__name__}"
        raise ShapeError(f"{loss} compares {len(names)} tensors, ({', '.join(names)}), got {got}")
    return pred


def same_shapes(loss: str, **tensors: Any) -> None:
    """Raise ShapeError unless all shapes are equal: broadcasting would hide a mistake."""
    if len({tuple(t.shape) for t in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
        raise ShapeError(f"{loss} expects tensors of one shape, got {shapes}")


def matching_target(loss: str, pred: Any, target: Any) -> Any:
    """``target`` in the dtype of ``pred``; its shape must be the same, since broadcasting would hide a mistake."""
    if not hasattr(pred, "shape"):
        raise ShapeError(f"{loss} compares one tensor, the prediction is a {type(pred).__name__} of {len(pred)}")
    target = beside(pred, target)
    if tuple(target.shape) != tuple(pred.shape):
        hint = None
        if tuple(pred.shape) == (*target.shape, 1):
            hint = "the target lacks the last axis: target[..., None] adds it"
        raise ShapeError(
            f"{loss} expects a target of the prediction's shape {tuple(pred.shape)}, got {tuple(target.shape)}",
            hint=hint,
        )
    return target if target.dtype == pred.dtype else target.astype(pred.dtype)


def one_each(loss: str, shape: tuple[int, ...], like: Any, target: Any) -> Any:
    """A raw ``target`` with one entry for each of ``shape``, in the dtype of ``like``; else ShapeError."""
    target = raw(beside(like, target))
    if tuple(target.shape) != tuple(shape):
        raise ShapeError(f"{loss} expects a target of shape {tuple(shape)}, got {tuple(target.shape)}")
    return target.astype(like.dtype, copy=False)


def signs(loss: str, shape: tuple[int, ...], like: Any, target: Any) -> Any:
    """1 where ``target`` is positive, else -1, in the dtype of ``like``: labels are -1 / 1 or 0 / 1."""
    target = one_each(loss, shape, like, target)
    return backend.of(target).xp.where(target > 0, 1, -1).astype(like.dtype)


def class_labels(loss: str, pred: Any, target: Any, axis: int, ignore_index: int | None) -> tuple[Any, Any]:
    """(class indices that are safe to index with, where they are ignored or ``None`` for nowhere).

    ``target`` (N, ...) holds one class for each position of ``pred``, whose classes are on ``axis``. On the host a
    class that is out of range raises IndexingError.
    """
    labels = raw(beside(pred, target))
    shape = tuple(n for i, n in enumerate(pred.shape) if i != axis % pred.ndim)
    if tuple(labels.shape) != shape:
        raise ShapeError(
            f"{loss}: a target of shape {tuple(labels.shape)} does not fit a prediction {tuple(pred.shape)} with its "
            f"classes on axis {axis}; expected {shape}"
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{loss}: classes must be integers, got {labels.dtype}", hint='target.astype("int64")')
    xp, classes = backend.of(labels).xp, pred.shape[axis]
    ignored = None if ignore_index is None else labels == ignore_index
    if xp is np:  # on a device the questions would wait for it
        if ignored is not None and not ignored.any():
            ignored = None
        bad = ((labels < 0) | (labels >= classes)) & (True if ignored is None else ~ignored)
        if bad.any():
            raise IndexingError(
                f"{loss}: class {int(labels[bad].flat[0])} is out of range for {classes} classes",
                hint=f"targets are 0..{classes - 1}, or ignore_index={ignore_index}",
            )
    return (labels if ignored is None else xp.where(ignored, 0, labels)), ignored


def class_vector(loss: str, class_weights: tuple[float, ...] | None, pred: Any, axis: int) -> Any:
    """The classes' weights as an array beside ``pred``, ``None`` for none; ShapeError for another number of them."""
    if class_weights is None:
        return None
    if -pred.ndim <= axis < pred.ndim and pred.shape[axis] != len(class_weights):
        raise ShapeError(
            f"{loss} has {len(class_weights)} class weights, the logits {tuple(pred.shape)} have "
            f"{pred.shape[axis]} classes"
        )
    return constant(pred, class_weights, pred.dtype)


def label_weights(labels: Any, ignored: Any, class_weights: Any) -> Any:
    """What each sample weighs: its class's weight, 0 where it is ignored; ``None`` where all weigh 1."""
    if class_weights is None:
        return None if ignored is None else (~ignored).astype(np.float32)
    weights = class_weights[labels]
    return weights if ignored is None else backend.of(labels).xp.where(ignored, 0, weights)


def class_maps(loss: str, pred: Any, target: Any, ignore_index: int | None) -> tuple[Any, Any]:
    """(the target as one number for each class, in the shape of ``pred``; which positions count, (N, 1, ...), or None).

    ``pred`` is (N, C, ...), ``target`` has its shape or holds class indices, (N, ...).
    """
    if pred.ndim < 2:
        raise ShapeError(f"{loss} expects predictions (N, C, ...), got {tuple(pred.shape)}")
    target = beside(pred, target)
    if tuple(target.shape) == tuple(pred.shape):
        return target.astype(pred.dtype), None
    labels, ignored = class_labels(loss, pred, target, 1, ignore_index)
    xp = backend.of(labels).xp
    classes = xp.arange(pred.shape[1]).reshape((-1,) + (1,) * (pred.ndim - 2))
    hot = (labels[:, None] == classes).astype(pred.dtype)
    return hot, None if ignored is None else (~ignored)[:, None].astype(pred.dtype)


def scores(loss: str, pred: Any, activation: str) -> Any:
    """Probabilities from ``pred`` (N, C, ...): softmax over the classes, sigmoid of each, or as they are ("none")."""
    if activation == "softmax":
        if pred.ndim > 1 and pred.shape[1] == 1:
            raise ShapeError(
                f"{loss}: a softmax over one class is 1 everywhere", hint='activation="sigmoid" for a binary mask'
            )
        return ops.softmax(pred, axis=1)
    return ops.sigmoid(pred) if activation == "sigmoid" else pred


def unit(x: Any, axis: int = -1, eps: float = 1e-12) -> Any:
    """``x`` divided by its 2-norm along ``axis``, by ``eps`` where that is smaller."""
    return x / ops.maximum(ops.norm(x, axis=axis, keepdims=True), eps)
