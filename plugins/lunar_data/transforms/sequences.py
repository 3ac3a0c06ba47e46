"""Transforms of tokens, tables and time series."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.transform import Drawn, Transform
from lunar_core.errors import ShapeError


class TokenMask(Transform):
    """Each token (T,) replaced by ``mask_id`` with probability ``p``; ``keep`` are ids that are never replaced."""

    mask_id: int = field(validator=non_negative)
    p: float = field(default=0.15, validator=in_range(0, 1))
    keep: tuple[int, ...] = field(default=(), doc="special tokens, padding")
    example_ndim = 1

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"chosen": rng.random(shape) < self.p}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        chosen = drawn["chosen"] & ~np.isin(values, self.keep)
        return np.where(chosen, values.dtype.type(self.mask_id), values)


class TokenSwap(Transform):
    """Neighbouring tokens (T,) exchanged, each pair with probability ``p``: EDA's random swap, kept local."""

    p: float = field(default=0.05, validator=in_range(0, 1))
    example_ndim = 1

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        order = np.arange(shape[0])
        for k in np.flatnonzero(rng.random(max(shape[0] - 1, 0)) < self.p):
            order[k], order[k + 1] = order[k + 1], order[k]
        return {"order": order}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return np.take_along_axis(values, drawn["order"], axis=1)


class FeatureDropout(Transform):
    """Columns (F,) of a row replaced by ``value`` with probability ``p``, such as the column's mean after Normalize."""

    p: float = field(default=0.1, validator=in_range(0, 1))
    value: float = 0.0
    example_ndim = 1

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"chosen": rng.random(shape) < self.p}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return np.where(drawn["chosen"], values.dtype.type(self.value), values)


class FeatureNoise(Transform):
    """Normal noise of deviation ``std`` added to each number: rows of a table, or a series' jitter."""

    std: float = field(default=0.05, validator=non_negative)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"noise": rng.standard_normal(shape)}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return values + (self.std * drawn["noise"]).astype(values.dtype)


class SeriesScale(Transform):
    """Each channel of a series (C, T) multiplied by a factor from N(1, ``std``). T. Um et al., arXiv:1706.00527."""

    std: float = field(default=0.1, validator=non_negative)
    example_ndim = 2

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"factor": rng.normal(1, self.std, (shape[0], 1))}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        return values * drawn["factor"].astype(values.dtype)


class SeriesWindow(Transform):
    """A run of ``length`` steps of a series (C, T) from a random place."""

    length: int = field(validator=positive)
    example_ndim = 2

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        if shape[1] < self.length:
            raise ShapeError(f"SeriesWindow: a window of {self.length} steps does not fit a series of {shape[1]}")
        return {"start": rng.integers(0, shape[1] - self.length + 1)}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        places = drawn["start"][:, None, None] + np.arange(self.length)
        return np.take_along_axis(values, np.broadcast_to(places, (*values.shape[:2], self.length)), axis=2)


class SeriesMask(Transform):
    """Up to ``time`` steps and ``channels`` channels of a series (C, T) set to ``value``: SpecAugment's two masks.

    Source: D. Park et al., arXiv:1904.08779.
    """

    time: int = field(default=10, validator=non_negative)
    channels: int = field(default=0, validator=non_negative)
    value: float = 0.0
    example_ndim = 2

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, Any]:
        spans = []
        for most, size in ((self.channels, shape[0]), (self.time, shape[1])):
            width = int(rng.integers(0, min(most, size) + 1))
            start = int(rng.integers(0, size - width + 1))
            spans.append((start, start + width))
        return {"spans": np.array(spans)}

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        (low, high), (start, stop) = drawn["spans"].transpose(1, 2, 0)[..., None, None]
        channel = np.arange(values.shape[1])[:, None]
        time = np.arange(values.shape[2])
        hidden = ((channel >= low) & (channel < high)) | ((time >= start) & (time < stop))
        return np.where(hidden, values.dtype.type(self.value), values)
