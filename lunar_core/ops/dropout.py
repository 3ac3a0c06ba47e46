"""Dropout: the masking itself, and how masks are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..carried import innermost
from ..errors import HyperparameterError
from ..op import Op, Sample, Spec
from ..random import drawn
from .common import array

_STEPS = 1 << 16  # masks are drawn from 16-bit integers, which costs half of drawing floats


def _masked_forward(xp: Any, x: Any, mask: Any, scale: float) -> Any:
    out = x * mask
    if scale != 1:
        out *= scale
    return out


def _masked_samples() -> list[Sample]:
    def call(scale: float) -> Any:
        return lambda t, x, mask: x * mask * scale

    mask = np.array([[True, False, True], [False, True, True]])
    return [
        Sample((array(0, (2, 3)), mask), {"scale": 1.25}, torch=call(1.25)),
        Sample((array(1, (2, 4, 3)), mask[:, None]), {"scale": 2.0}, torch=call(2.0)),
    ]


masked = Op(
    "masked",
    _masked_forward,
    lambda F, g, mask, need, scale: (F.masked(g, mask, scale=scale), None),
    save=1,
    elementwise=True,
    abstract=lambda x, mask, scale: Spec(x.shape, x.dtype),
    samples=_masked_samples,
    doc="``x * mask * scale`` with a mask of bools, which broadcasts to ``x`` and is kept as bytes.",
)


def draw_mask(
    x: Any, rate: float, generator: np.random.Generator, shape: tuple[int, ...] | None = None
) -> tuple[Any, float]:
    """A bool mask on the device of ``x`` that is False with probability ``rate``, and the scale that keeps the mean.

    ``rate`` is rounded to 1/65536, and the scale is that of the rounded one. The mask belongs to the positions of
    ``shape`` (default: of ``x``) in C order, whatever the memory order of ``x``. On a device one number is drawn from
    ``generator`` and seeds the device's own.
    """
    raw = innermost(x)
    shape, wrapped = drawn(x.shape if shape is None else shape)
    threshold = min(max(round(rate * _STEPS), 1), _STEPS - 1)
    xp = backend.of(raw).xp
    if xp is np:
        mask = generator.integers(0, _STEPS, shape, dtype=np.uint16) >= threshold
    else:
        seed = int(generator.integers(0, 1 << 63))
        mask = xp.random.default_rng(seed).integers(0, _STEPS, shape, dtype=np.uint16) >= threshold
    return wrapped(mask), _STEPS / (_STEPS - threshold)


def dropout(x: Any, rate: float, generator: np.random.Generator) -> Any:
    """``x`` with each element set to 0 with probability ``rate`` and the others scaled by ``1 / (1 - rate)``.

    ``generator`` draws the mask, in training from a stream: ``lc.random.stream("dropout").next()``. ``rate`` 0 gives
    ``x`` itself, 1 gives zeros; another one is rounded to 1/65536. The mask is kept for the backward pass as bytes.

    Source: N. Srivastava et al., Dropout, JMLR 15 (2014); the scaling at training time is "inverted" dropout.
    """
    if not 0 <= rate <= 1:
        raise HyperparameterError(f"dropout: rate must be in [0, 1], got {rate!r}")
    if rate == 0:
        return x
    if rate == 1:
        return x * 0
    mask, scale = draw_mask(x, rate, generator)
    return masked(x, mask, scale=scale)
