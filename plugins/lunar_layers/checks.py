"""What layers ask of their inputs and of hyperparameters that speak of the axes of a grid, each mistake one sentence."""

from __future__ import annotations

from typing import Any

from lunar_core.component import Check, hyperparameter_error, non_negative
from lunar_core.errors import DTypeError, ShapeError

_GRIDS = {
    1: ("NCL", "(batch, channels, length)"),
    2: ("NCHW", "(batch, channels, height, width)"),
    3: ("NCDHW", "(batch, channels, depth, height, width)"),
}
_THINGS = {1: "sequences", 2: "images", 3: "volumes"}

padding_check = Check(
    lambda v: v in ("same", "valid") if isinstance(v, str) else v >= 0, "'same', 'valid' or numbers >= 0"
)
"""Padding of a window: a word, or numbers that are not negative."""


def require_floating(layer: str, x: Any) -> None:
    """Refuse what is no tensor or array, and integers: a layer that multiplies by weights does not take them."""
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        raise DTypeError(f"{layer} expects a tensor or an array, got {type(x).__name__}", hint="wrap it: lc.tensor(x)")
    if dtype.kind in "biu":
        raise DTypeError(
            f"{layer} expects floating-point inputs, got {dtype} of shape {tuple(x.shape)}",
            hint='convert first: x.astype("float32")',
        )


def require_grid(layer: str, x: Any, dims: int, channels: int | None = None, detail: str = "") -> None:
    """Refuse what is not shaped (N, C, *sizes) with ``dims`` sizes, or has another number of channels."""
    shape = tuple(getattr(x, "shape", ()))
    order, words = _GRIDS[dims]
    if len(shape) != dims + 2:
        hint = f"{_THINGS[dims]} without a channel axis get one by x[:, None]" if len(shape) == dims + 1 else None
        raise ShapeError(f"{layer} expects {order} inputs {words}, got {shape}", hint=hint)
    if channels is not None and shape[1] != channels:
        hint = None
        if shape[-1] == channels:
            to = ", ".join(map(str, (0, dims + 1, *range(1, dims + 1))))
            last = order[0] + order[2:] + "C"
            hint = f"the channels seem to come last ({last}): x.transpose({to}) puts them where they belong"
        raise ShapeError(
            f"{layer} expects {order} inputs with {channels} channels on axis 1{detail}, got {shape}", hint=hint
        )


def require_images(layer: str, x: Any, channels: int | None = None, detail: str = "") -> None:
    """:func:`require_grid` for NCHW."""
    require_grid(layer, x, 2, channels, detail)


def per_axis(instance: Any, attribute: Any, value: Any) -> None:
    """Validator: a tuple has one item for each of the ``dims`` axes of the component's grid."""
    dims = instance.dims
    if isinstance(value, tuple) and len(value) != dims:
        raise hyperparameter_error(instance, attribute.alias, value, f"one int, or {dims} of them")


def per_side(instance: Any, attribute: Any, value: Any) -> None:
    """Validator: what :func:`pads_of` understands."""
    dims = instance.dims
    if isinstance(value, tuple) and not (
        len(value) == dims or (dims == 1 and len(value) == 2 and not isinstance(value[0], tuple))
    ):
        expected = "one int, (before, after)" if dims == 1 else f"one int, {dims} of them, or {dims} pairs"
        raise hyperparameter_error(instance, attribute.alias, value, expected)


def pads_of(padding: Any, dims: int) -> tuple[tuple[int, int], ...]:
    """((before, after), ...) for each axis of a grid, from any of the spellings that :func:`per_side` lets through.

    These are one number for all sides, one for each axis, a pair for each axis; for a single axis also (before, after).
    """
    if not isinstance(padding, tuple):
        return ((padding, padding),) * dims
    if dims == 1 and len(padding) == 2 and not isinstance(padding[0], tuple):
        return (padding,)
    return tuple(p if isinstance(p, tuple) else (p, p) for p in padding)


def each_axis(value: Any, dims: int) -> tuple[int, ...]:
    """One number for each axis."""
    return value if isinstance(value, tuple) else (value,) * dims


sides = [non_negative, per_side]
"""Validators of a border's widths."""


def require_sequences(layer: str, x: Any, features: int | None = None, detail: str = "") -> None:
    """Refuse what is not shaped (batch, time, features), or has another number of features than ``features``."""
    require_floating(layer, x)
    shape = tuple(x.shape)
    if len(shape) != 3 or not shape[2]:
        hint = "one sequence gets a batch axis by x[None]" if len(shape) == 2 else None
        raise ShapeError(f"{layer} expects sequences (batch, time, features), got {shape}", hint=hint)
    if features is not None and shape[2] != features:
        raise ShapeError(
            f"{layer} expects sequences (batch, time, features) with {features} features{detail}, got {shape}"
        )
