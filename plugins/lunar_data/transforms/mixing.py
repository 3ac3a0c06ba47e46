"""Mixing the examples of a batch: MixUp and CutMix. They change the targets too, and need a whole batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lunar_core import random as streams
from lunar_core.component import field, positive
from lunar_core.contracts.transform import Drawn, Transform
from lunar_core.errors import DataError


class _Mixing(Transform):
    """Mixes each example with a partner. The last field is the target: class numbers, or shares of classes (n, K).

    One generator serves the batch: the one given, or the first of those of its examples.
    """

    classes: int = field(validator=positive, doc="how many classes there are")
    alpha: float = field(default=1.0, validator=positive, doc="of the Beta(alpha, alpha) that the share is drawn from")

    def __call__(self, example: Any, rng: np.random.Generator | None = None) -> Any:
        """The same as :meth:`batch`: there is no mixing of one example."""
        return self.batch(example, streams.stream("transform").next() if rng is None else rng)

    def batch(self, examples: Any, generators: np.random.Generator | Iterable[np.random.Generator]) -> Any:
        rng = generators if isinstance(generators, np.random.Generator) else next(iter(generators))
        if not isinstance(examples, (tuple, dict)) or len(examples) < 2:
            raise DataError(f"{type(self).__name__}: expected a batch of inputs and targets")
        names = list(examples) if isinstance(examples, dict) else list(range(len(examples)))
        values = {name: examples[name] for name in names}
        x, y = np.asarray(values[names[0]]), self._shares(np.asarray(values[names[-1]]))
        if len(x) != len(y):
            raise DataError(f"{type(self).__name__}: {len(x)} inputs and {len(y)} targets")
        partner = rng.permutation(len(x))
        mixed, share = self.mix(x, partner, float(rng.beta(self.alpha, self.alpha)), rng)
        values[names[0]] = mixed
        values[names[-1]] = y * np.float32(share) + y[partner] * np.float32(1 - share)
        return values if isinstance(examples, dict) else tuple(values.values())

    def mix(
        self, x: np.ndarray, partner: np.ndarray, share: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        raise NotImplementedError

    def _shares(self, y: np.ndarray) -> np.ndarray:
        if y.ndim == 2 and y.shape[1] == self.classes and y.dtype.kind == "f":
            return y.astype(np.float32, copy=False)
        if y.ndim != 1 or y.dtype.kind not in "iu" or (y.size and not 0 <= y.min() <= y.max() < self.classes):
            raise DataError(
                f"{type(self).__name__}: targets are classes 0 to {self.classes - 1}, got {y.dtype} {y.shape}"
            )
        shares = np.zeros((len(y), self.classes), np.float32)
        shares[np.arange(len(y)), y] = 1
        return shares

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} works on batches")


class MixUp(_Mixing):
    """``l x_i + (1 - l) x_j`` and the same of the targets, l from Beta(alpha, alpha). H. Zhang et al., arXiv:1710.09412."""

    alpha: float = field(default=0.2, validator=positive)

    def mix(
        self, x: np.ndarray, partner: np.ndarray, share: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        if x.dtype.kind != "f":
            raise DataError(f"MixUp: inputs are floating, got {x.dtype}", hint="ToFloat() first")
        return x * x.dtype.type(share) + x[partner] * x.dtype.type(1 - share), share


class CutMix(_Mixing):
    """A rectangle of each image replaced by that of its partner; the targets are mixed by area.

    S. Yun et al., arXiv:1905.04899: sides sqrt(1 - l) of the image's, the middle uniform, cut off at the edges.
    """

    def mix(
        self, x: np.ndarray, partner: np.ndarray, share: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        height, width = x.shape[-2:]
        h, w = int(height * np.sqrt(1 - share)), int(width * np.sqrt(1 - share))
        y, c = int(rng.integers(height)), int(rng.integers(width))
        top, bottom = max(y - h // 2, 0), min(y - h // 2 + h, height)
        left, right = max(c - w // 2, 0), min(c - w // 2 + w, width)
        mixed = x.copy()
        mixed[..., top:bottom, left:right] = x[partner][..., top:bottom, left:right]
        return mixed, 1 - max(bottom - top, 0) * max(right - left, 0) / (height * width)
