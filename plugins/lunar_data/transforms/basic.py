"""Putting transforms together, dtypes and normalisation with its statistics, and datasets seen through a transform."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np

from lunar_core.component import field, in_range
from lunar_core.contracts.dataset import Dataset
from lunar_core.contracts.transform import Drawn, Transform
from lunar_core.errors import DataError, HyperparameterError


class Compose(Transform):
    """Several transforms, one after the other; each example's numbers come from its one generator, in this order."""

    transforms: list[Transform] = field(doc="in order")

    def run(self, fields: dict[str, Any], generators: Sequence[np.random.Generator]) -> dict[str, Any]:
        for transform in self.transforms:
            fields = transform.run(fields, generators)
        return fields

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        raise NotImplementedError("Compose has no numbers of its own: call it, or its batch()")


class RandomApply(Transform):
    """A transform that happens to each example with probability ``p``; it must keep shape and dtype."""

    transform: Transform
    p: float = field(default=0.5, validator=in_range(0, 1))

    def run(self, fields: dict[str, Any], generators: Sequence[np.random.Generator]) -> dict[str, Any]:
        rows = [k for k, rng in enumerate(generators) if rng.random() < self.p]
        if not rows:
            return fields
        part = {name: _rows(value, rows) for name, value in fields.items()}
        changed = self.transform.run(part, [generators[k] for k in rows])
        return {name: _put(value, rows, changed[name]) for name, value in fields.items()}


def _rows(value: Any, rows: list[int]) -> Any:
    if isinstance(value, np.ndarray):
        return value[rows]
    return [value[k] for k in rows] if isinstance(value, list) and len(value) > max(rows) else value


def _put(value: Any, rows: list[int], new: Any) -> Any:
    if isinstance(value, np.ndarray):
        result = value.copy()
        result[rows] = new
        return result
    if isinstance(value, list):
        result_ = list(value)
        for k, one in zip(rows, new):
            result_[k] = one
        return result_
    return value


class ToFloat(Transform):
    """Bytes in 0..255 as float32 in 0..1; floating values stay."""

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        if values.dtype.kind == "f":
            return values
        return np.multiply(values, np.float32(1 / 255), dtype=np.float32)


class Normalize(Transform):
    """``(x - mean) / std`` for each channel (the first axis of an example); bytes are taken as 0..1 first.

    :func:`statistics` finds mean and std in one pass. Tables are a matter of one axis: each column is a channel.
    """

    mean: tuple[float, ...] = field(doc="one for each channel")
    std: tuple[float, ...] = field(doc="one for each channel, > 0")

    def apply(self, values: np.ndarray, drawn: Drawn) -> np.ndarray:
        channels = values.shape[1] if values.ndim > 1 else 0
        if not len(self.mean) == len(self.std) == channels:
            raise HyperparameterError(
                f"Normalize: {len(self.mean)} means and {len(self.std)} deviations for examples of shape "
                f"{values.shape[1:]}, whose first axis has {channels}"
            )
        if min(self.std) <= 0:
            raise HyperparameterError(f"Normalize: std must be > 0, got {self.std}")
        kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float32)
        unit = 1 / 255 if values.dtype == np.uint8 else 1.0
        shape = (1, channels, *[1] * (values.ndim - 2))
        scale = (unit / np.array(self.std)).reshape(shape).astype(kind)
        shift = (np.array(self.mean) / np.array(self.std)).reshape(shape).astype(kind)
        result = np.multiply(values, scale, dtype=kind)
        result -= shift
        return result


@attrs.frozen
class Statistics:
    """What one pass over the data found, for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]  # of the population: divided by the count
    low: tuple[float, ...]
    high: tuple[float, ...]
    count: int  # values for each channel


def statistics(data: Dataset | Iterable[np.ndarray], batch_size: int = 256) -> Statistics:
    """Mean, deviation and range of each channel in one streaming pass, in float64.

    ``data`` is a dataset (its first field is taken) or an iterable of batches (n, C, ...). Bytes count as 0..1, as
    :class:`Normalize` takes them. Batches are joined by the rule of T. Chan, G. Golub and R. LeVeque, 1979, which does not
    lose digits where the mean is large.

    Raises:
        DataError: no data, or batches whose channels differ.
    """
    count, mean, spread = 0, np.zeros(0), np.zeros(0)
    low, high = np.zeros(0), np.zeros(0)
    for batch in _batches(data, batch_size) if isinstance(data, Dataset) else data:
        batch = np.asarray(batch)
        if batch.ndim < 2 or batch.size == 0:
            raise DataError(f"statistics: expected batches (n, C, ...), got shape {batch.shape}")
        rows = np.moveaxis(batch, 1, 0).reshape(batch.shape[1], -1).astype(np.float64)
        if batch.dtype == np.uint8:
            rows /= 255
        n, part = rows.shape[1], rows.mean(axis=1)
        inner = ((rows - part[:, None]) ** 2).sum(axis=1)
        if not count:
            count, mean, spread, low, high = n, part, inner, rows.min(axis=1), rows.max(axis=1)
            continue
        if len(part) != len(mean):
            raise DataError(f"statistics: a batch of {len(part)} channels after others of {len(mean)}")
        delta, total = part - mean, count + n
        spread = spread + inner + delta**2 * (count * n / total)
        mean = mean + delta * (n / total)
        low, high, count = np.minimum(low, rows.min(axis=1)), np.maximum(high, rows.max(axis=1)), total
    if not count:
        raise DataError("statistics: there is no data")
    std = np.sqrt(spread / count)
    return Statistics(*(tuple(map(float, values)) for values in (mean, std, low, high)), count)


def _batches(data: Dataset, size: int) -> Iterable[np.ndarray]:
    for start in range(0, len(data), size):
        stop = min(start + size, len(data))
        try:
            yield data[start:stop][0]
        except DataError:  # examples of different sizes make no batch
            for k in range(start, stop):
                yield np.asarray(data[k][0])[None]
