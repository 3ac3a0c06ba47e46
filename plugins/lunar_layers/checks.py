"""What layers ask of their inputs, each mistake one sentence."""

from __future__ import annotations

from typing import Any

from lunar_core.errors import DTypeError, ShapeError


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


def require_images(layer: str, x: Any, channels: int | None = None, detail: str = "") -> None:
    """Refuse what is not shaped NCHW, or has another number of channels than ``channels``."""
    shape = tuple(x.shape)
    if len(shape) != 4:
        hint = "images without a channel axis get one by x[:, None]" if len(shape) == 3 else None
        raise ShapeError(f"{layer} expects NCHW inputs (batch, channels, height, width), got {shape}", hint=hint)
    if channels is not None and shape[1] != channels:
        hint = None
        if shape[3] == channels:
            hint = "the channels seem to come last (NHWC): x.transpose(0, 3, 1, 2) puts them where they belong"
        raise ShapeError(
            f"{layer} expects NCHW inputs with {channels} channels on axis 1{detail}, got {shape}", hint=hint
        )
