"""Rearranging channels and pixels: pixel_shuffle, pixel_unshuffle, channel_shuffle."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import HyperparameterError, ShapeError
from .shape import transpose


def _factor(op: str, x: Any, factor: Any) -> tuple[int, ...]:
    if not isinstance(factor, (int, np.integer)) or factor < 1:
        raise HyperparameterError(f"{op}: factor must be a positive int, got {factor!r}")
    if x.ndim < 3:
        raise ShapeError(f"{op} expects inputs of shape (..., C, H, W), got {tuple(x.shape)}")
    return tuple(x.shape)


def pixel_shuffle(x: Any, factor: int) -> Any:
    """Channels to pixels: (..., C r^2, H, W) -> (..., C, H r, W r) for the ``factor`` r.

    Source: W. Shi et al., Real-time single image and video super-resolution, arXiv:1609.05158.
    """
    *lead, c, h, w = _factor("pixel_shuffle", x, factor)
    if c % (factor * factor):
        raise ShapeError(f"pixel_shuffle: {factor}^2 must divide the {c} channels of {tuple(x.shape)}")
    n = len(lead)
    x = x.reshape((*lead, c // factor**2, factor, factor, h, w))
    x = transpose(x, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return x.reshape((*lead, c // factor**2, h * factor, w * factor))


def pixel_unshuffle(x: Any, factor: int) -> Any:
    """Pixels to channels, the inverse of :func:`pixel_shuffle`: (..., C, H r, W r) -> (..., C r^2, H, W)."""
    *lead, c, h, w = _factor("pixel_unshuffle", x, factor)
    if h % factor or w % factor:
        raise ShapeError(f"pixel_unshuffle: {factor} must divide height and width of {tuple(x.shape)}")
    n = len(lead)
    x = x.reshape((*lead, c, h // factor, factor, w // factor, factor))
    x = transpose(x, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return x.reshape((*lead, c * factor**2, h // factor, w // factor))


def channel_shuffle(x: Any, groups: int) -> Any:
    """Mix the channels of ``groups``: channel ``i`` of group ``g`` moves to place ``i * groups + g``.

    Shape: x (N, C, ...) with C a multiple of ``groups``, kept.

    Source: X. Zhang et al., ShuffleNet, arXiv:1707.01083.
    """
    shape = tuple(x.shape)
    if x.ndim < 3:
        raise ShapeError(f"channel_shuffle expects inputs of shape (N, C, ...), got {shape}")
    if not isinstance(groups, (int, np.integer)) or groups < 1 or shape[1] % groups:
        raise ShapeError(f"channel_shuffle: groups={groups!r} must divide the {shape[1]} channels of {shape}")
    x = x.reshape((shape[0], int(groups), shape[1] // groups, *shape[2:]))
    return transpose(x, (0, 2, 1, *range(3, x.ndim))).reshape(shape)
