"""From predictions and targets to class indices, in the forms that the classification metrics take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lunar_core import backend
from lunar_core.errors import DataError


class Labels(NamedTuple):
    """One class index per prediction, twice, in one shape.

    ``predicted`` is ``classes`` where a prediction holds a NaN, which names no class. ``counted`` is false where the
    target is ``ignore_index``, None where all count. ``valid`` is false where a target is out of range on a device,
    where nothing is raised at once, None on the host.
    """

    predicted: Any
    truth: Any
    counted: Any
    valid: Any
    classes: int


def class_axis(name: str, pred: Any, axis: int | None) -> int | None:
    """The axis of ``pred`` that holds one score per class; None where each prediction is one number."""
    if axis is None or pred.ndim <= 1:
        return None
    if not -pred.ndim <= axis < pred.ndim:
        raise DataError(f"{name}: pred of shape {tuple(pred.shape)} has no axis {axis}")
    return axis % pred.ndim


def class_targets(
    name: str, target: Any, shape: tuple[int, ...], axis: int, ignore_index: int | None
) -> tuple[Any, Any, Any]:
    """(class indices, which count, which are valid) of the targets of scores of ``shape`` with classes on ``axis``.

    Indices that do not count or are not valid are 0.
    """
    places = shape[:axis] + shape[axis + 1 :]
    if tuple(target.shape) == shape:
        return target.argmax(axis), None, None
    if tuple(target.shape) != places:
        raise DataError(
            f"{name}: predictions {shape} with the classes along axis {axis} take class indices {places} or one-hot "
            f"targets {shape}, got {tuple(target.shape)}"
        )
    return checked_indices(name, target, shape[axis], ignore_index)


def checked_indices(name: str, target: Any, classes: int, ignore_index: int | None) -> tuple[Any, Any, Any]:
    """(class indices, which count, which are valid); on the host an index out of range is an error."""
    if target.dtype.kind not in "iub":
        raise DataError(f"{name}: class indices are integers, got {target.dtype} of shape {tuple(target.shape)}")
    xp = backend.of(target).xp
    if target.dtype.kind != "i":  # bools do not index and unsigned ones do not go below zero
        target = target.astype(np.int64)
    inside = (target >= 0) & (target < classes)
    counted = None if ignore_index is None else target != ignore_index
    if not isinstance(target, np.ndarray):  # a look at the values would stop the device
        return xp.where(inside, target, 0), counted, inside if counted is None else inside | ~counted
    wrong = ~inside if counted is None else ~inside & counted
    if wrong.any():
        bad = target[wrong]
        raise DataError(f"{name}: class indices lie in 0..{classes - 1}, got {int(bad.min())}..{int(bad.max())}")
    if counted is None or counted.all():
        return target, None, None
    return np.where(counted, target, 0), counted, None


def decode(
    name: str,
    pred: Any,
    target: Any,
    *,
    axis: int | None,
    from_logits: bool,
    ignore_index: int | None,
    num_classes: int | None,
) -> Labels:
    """Class indices of a batch.

    - Integers (or bools) of the targets' shape are class indices already.
    - Scores with several classes along ``axis``: the largest is the prediction, the first of equals; targets are
      class indices, or one-hot rows or probabilities of the scores' shape.
    - One number per prediction: class 1 above 0, or with ``from_logits=False`` above one half; targets are 0 and 1
      (probabilities count as 1 from one half on).
    """
    if pred.dtype.kind in "biu" and pred.shape == target.shape:
        return _given(name, pred, target, ignore_index, num_classes)
    at = class_axis(name, pred, axis)
    if at is None or pred.shape[at] == 1:
        return _binary(name, pred, target, at, from_logits, ignore_index, num_classes)
    classes = pred.shape[at]
    if num_classes is not None and num_classes != classes:
        raise DataError(f"{name}: num_classes is {num_classes}, but pred {tuple(pred.shape)} has {classes} classes")
    xp = backend.of(pred).xp
    truth, counted, valid = class_targets(name, target, tuple(pred.shape), at, ignore_index)
    predicted = pred.argmax(at)
    # argmax takes a NaN for the largest, so the winning score tells whether there was one
    score = xp.take_along_axis(pred, xp.expand_dims(predicted, at), at).squeeze(at)
    return Labels(xp.where(score == score, predicted, classes), truth, counted, valid, classes)


def _given(name: str, pred: Any, target: Any, ignore_index: int | None, num_classes: int | None) -> Labels:
    if num_classes is None:  # waits for a device: there is no other way to know
        kept = [pred] if ignore_index is None else [xp_where(target == ignore_index, 0, pred)]
        kept.append(target if ignore_index is None else xp_where(target == ignore_index, 0, target))
        num_classes = max(2, *(int(a.max()) + 1 for a in kept)) if pred.size else 2
    truth, counted, valid = checked_indices(name, target, num_classes, ignore_index)
    if counted is not None:
        pred = xp_where(counted, pred, 0)
    predicted, _, sound = checked_indices(f"{name} (predictions)", pred, num_classes, None)
    if sound is not None:
        valid = sound if valid is None else valid & sound
    return Labels(predicted, truth, counted, valid, num_classes)


def xp_where(condition: Any, x: Any, y: Any) -> Any:
    """``where`` of the library of the condition."""
    return backend.of(condition).xp.where(condition, x, y)


def _binary(
    name: str,
    pred: Any,
    target: Any,
    at: int | None,
    from_logits: bool,
    ignore_index: int | None,
    num_classes: int | None,
) -> Labels:
    if num_classes not in (None, 2):
        raise DataError(f"{name}: num_classes is {num_classes}, but predictions of one number tell two classes apart")
    if at is not None:
        pred = pred.squeeze(at)
        target = target.squeeze(at) if target.ndim > pred.ndim and target.shape[at] == 1 else target
    elif target.ndim == pred.ndim + 1 and target.shape[-1] == 1:
        target = target.squeeze(-1)
    if target.shape != pred.shape:
        raise DataError(
            f"{name}: predictions {tuple(pred.shape)} take targets of that shape, got {tuple(target.shape)}"
        )
    predicted = (pred > (0 if from_logits else 0.5)).astype(np.int64)
    predicted = xp_where(pred == pred, predicted, 2)
    counted = valid = None
    if target.dtype.kind in "iub":
        truth, counted, valid = checked_indices(name, target, 2, ignore_index)
    else:
        if isinstance(target, np.ndarray) and target.size and not 0 <= target.min() <= target.max() <= 1:
            raise DataError(
                f"{name}: a prediction by one number takes targets of 0 and 1, got {target.min():g}..{target.max():g}"
            )
        truth = (target >= 0.5).astype(np.int64)
    return Labels(predicted, truth, counted, valid, 2)
