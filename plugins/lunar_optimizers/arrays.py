"""Pieces of the rules that work on whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core.fusion import is_half


def state_array(p: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of any shape in the dtype of a parameter's state, on its device."""
    return backend.of(p).xp.zeros_like(p, shape=shape, dtype=np.float32 if is_half(p.dtype) else p.dtype)


def one_number(p: Any) -> Any:
    """The state of a rule that keeps one number for each parameter, of shape (1,)."""
    return state_array(p, (1,))


def nothing(p: Any) -> Any:
    """A state array whose shape the first update decides."""
    return state_array(p, (0,))


def norm(x: Any) -> Any:
    """The Euclidean norm of all elements."""
    return backend.of(x).xp.sqrt((x * x).sum())


def rms(x: Any) -> Any:
    """The root of the mean square of all elements."""
    return backend.of(x).xp.sqrt((x * x).mean())


def trust_ratio(p: Any, towards: Any, coefficient: float = 1.0) -> Any:
    """``coefficient * |p| / |towards|``, or 1 where one of the norms is zero."""
    xp = backend.of(p).xp
    a, b = norm(p), norm(towards)
    zero = (a == 0) | (b == 0)
    return xp.where(zero, 1.0, coefficient * a / xp.where(zero, 1.0, b)).astype(a.dtype)
