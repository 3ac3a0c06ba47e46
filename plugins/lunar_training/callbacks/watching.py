"""What the instruments share: when they look, at what, the statistics of an array, and how figures are told."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field
from lunar_core.contracts.callback import Callback

from ..clock import Trigger

LARGEST_SAMPLE = 1_000_000  # values that a histogram is made of; of a larger array, every n-th


class Watching(Callback):
    """Base of instruments: readers that look at a run every so often and log records of event "stats".

    A record holds ``epoch``, ``step`` (the optimizer step that is looked at, from 1) and figures named ``what/where``.
    The first batch of a run is looked at, then one batch whenever ``every`` has passed.
    """

    band: ClassVar[str] = "reader"
    draws: ClassVar[bool] = False

    every: Any = field(default="50step", doc="how often to look: a period such as '50step' or '1ep'")

    on = False  #: whether the current batch is looked at

    def __attrs_post_init__(self) -> None:
        self._trigger = Trigger(self.every, f"{type(self).__name__}: every")

    def lunar_fit_start(self, ctx: Any) -> None:
        self._first = True
        self._trigger.reset(ctx.clock)

    def lunar_batch_start(self, ctx: Any) -> None:
        self.on = self._trigger.due(ctx.clock) or self._first
        self._first = False
        if self.on:
            self.look(ctx)

    def look(self, ctx: Any) -> None:
        """A batch that is looked at begins."""

    def tell(self, ctx: Any, figures: Mapping[str, Any], step: int | None = None) -> None:
        """Log ``figures`` as a record of event "stats"."""
        if ctx.bus.log is not None and figures:
            clock = ctx.clock
            step = clock.step + 1 if step is None else step
            ctx.bus.log({"event": "stats", "epoch": clock.epoch + 1, "step": step, **figures})


class Listening(Watching):
    """An instrument whose ears, a second plugin, are there only during the batches that are looked at.

    So the hooks of modules and ops, which cost something at every call, cost nothing in the batches between.
    """

    ears: Any = None

    def listener(self) -> Any:
        """A new plugin for one batch."""
        raise NotImplementedError

    def heard(self, ctx: Any, ears: Any) -> None:
        """The batch is over."""

    def look(self, ctx: Any) -> None:
        self.ears = self.listener()
        ctx.bus.add(self.ears, f"{type(self).__name__}.ears")

    def lunar_batch_end(self, ctx: Any) -> None:
        ears, self.ears = self.ears, None
        if ears is not None:
            ctx.bus.remove(ears)
            self.heard(ctx, ears)


def chosen(name: str, patterns: Iterable[str]) -> bool:
    """Whether a dotted name fits one of the glob patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def wide(array: Any) -> Any:
    """``array`` in a dtype whose sums can be trusted: halves become float32."""
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


def rms(array: Any) -> float:
    """The root of the mean square."""
    return norm(array) / max(array.size, 1) ** 0.5


def norm(array: Any) -> float:
    """The L2 norm."""
    flat = wide(array).ravel()
    if flat.dtype.kind == "c":
        flat = abs(flat)
    return float(backend.of(flat).xp.linalg.norm(flat))


def summary(array: Any) -> dict[str, float]:
    """``mean``, ``std``, ``norm``, ``max`` (of the absolute values) and ``nonfinite`` (how many) of a floating array."""
    xp = backend.of(array).xp
    values = wide(array)
    if not values.size:
        return {"mean": 0.0, "std": 0.0, "norm": 0.0, "max": 0.0, "nonfinite": 0}
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "norm": norm(values),
        "max": float(abs(values).max()),
        "nonfinite": int(values.size - xp.isfinite(values).sum()),
    }


def subnormal_share(array: Any) -> float:
    """The share of values that are subnormal: not zero, and smaller than the smallest normal number of the dtype."""
    if array.dtype.kind != "f" or not array.size or array.dtype.itemsize < 4:
        return 0.0
    # By the bits: with flushing switched on, arithmetic would not see them.
    host = backend.of(array).to_numpy(array)
    kind, low, high = (np.uint32, 1, 0x7FFFFF) if host.dtype.itemsize == 4 else (np.uint64, 1, (1 << 52) - 1)
    bits = np.ascontiguousarray(host).view(kind) & kind(np.iinfo(kind).max >> 1)
    return float(((bits >= low) & (bits <= high)).mean())


def histogram(array: Any, bins: int) -> dict[str, list[float]]:
    """``edges`` (bins + 1) and ``counts`` (bins) of the finite values."""
    values = backend.of(array).to_numpy(wide(array)).ravel()
    values = values[:: -(-values.size // LARGEST_SAMPLE) or 1]
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, bins) if values.size else (np.zeros(bins), np.linspace(0, 1, bins + 1))
    return {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts]}
