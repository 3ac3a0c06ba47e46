"""Rehearsals: one batch through everything, one batch by heart. Both put everything back; see :mod:`lunar_training.tools`."""

from __future__ import annotations

import copy
import math
import os
import tempfile
import time
import warnings
from typing import Any, NamedTuple

import numpy as np

from lunar_core.errors import DataError
from lunar_core.serialize import load, save

from .data import as_source
from .tools import Steps, as_before, epochs_for


class DryRun(NamedTuple):
    """What :func:`dry_run` saw."""

    loss: float
    figures: dict[str, Any]
    output_shape: tuple[int, ...] | None
    parameters: int
    seconds: float
    calls: dict[str, int]  # plugin -> calls of its hooks
    warnings: list[str]

    def __str__(self) -> str:
        lines = [
            f"loss {self.loss:.4g}, {self.parameters:,} parameters, outputs {self.output_shape}, {self.seconds:.2f} s",
            *(f"plugin {name}: {count} calls" for name, count in self.calls.items()),
            *(f"warning: {text}" for text in self.warnings),
        ]
        return "\n".join(lines)


class _Bill:
    """Counts the calls of every plugin's hooks, over all runs that it takes part in."""

    band = "control"

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def lunar_setup(self, ctx: Any) -> None:
        ctx.bus.timing = True

    def lunar_teardown(self, ctx: Any) -> None:
        plugins = ctx.bus.plugins()
        for name, cost in ctx.bus.bill().items():
            if plugins.get(name) is not self:
                self.calls[name] = self.calls.get(name, 0) + int(cost["calls"])


def dry_run(trainer: Any, data: Any, val: Any = None, *, batch_size: int = 32) -> DryRun:
    """One batch through everything: ``fit`` with all plugins, evaluation, prediction, saving and loading.

    The files of the run go to a temporary directory. Weights and optimizer state are written, read back and compared to
    the last bit.

    Raises whatever goes wrong on the way; DataError where what comes back from disk differs.
    """
    few = as_source(data, "training data")
    batch = few.take(slice(0, min(batch_size, len(few))))
    held = batch if val is None or isinstance(val, (int, float)) else _few(val, batch_size)
    bill = _Bill()
    started = time.perf_counter()
    with (
        as_before(trainer, data),
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        trainer.plugins = [*trainer.plugins, bill]
        history = trainer.fit(
            batch,
            val=held if trainer.loss is not None else None,
            batch_size=batch_size,
            out=os.path.join(folder, "run"),
        )
        outputs = trainer.predict(batch[0])
        path = os.path.join(folder, "weights.safetensors")
        save(trainer.model, path)
        _compare(trainer.model.state_dict(), load(path), "weights")
        trainer.model.load_state_dict(load(path))
        for optimizer in trainer.context.optimizers:
            if callable(getattr(optimizer, "load_state_dict", None)):
                before = copy.deepcopy(optimizer.state_dict())
                optimizer.load_state_dict(copy.deepcopy(before))
                _compare(before, optimizer.state_dict(), type(optimizer).__name__)
        row = dict(history[-1])
        size = trainer.model.num_parameters()
    shape = tuple(outputs.shape) if hasattr(outputs, "shape") else None
    said = list(dict.fromkeys(str(w.message) for w in caught))
    return DryRun(row["loss"], row, shape, size, time.perf_counter() - started, bill.calls, said)


def _few(val: Any, size: int) -> Any:
    if isinstance(val, dict):
        return {name: _few(part, size) for name, part in val.items()}
    source = as_source(val, "validation data")
    return source.take(slice(0, min(size, len(source))))


def _compare(before: Any, after: Any, what: str) -> None:
    if isinstance(before, dict):
        if before.keys() != after.keys():
            raise DataError(
                f"{what}: entries {sorted(map(str, before.keys() ^ after.keys()))} are lost between saving and loading"
            )
        for key, value in before.items():
            _compare(value, after[key], f"{what}.{key}")
    elif isinstance(before, (list, tuple)):
        for i, (one, other) in enumerate(zip(before, after, strict=True)):
            _compare(one, other, f"{what}[{i}]")
    elif hasattr(before, "tobytes") and np.asarray(before).tobytes() != np.asarray(after).tobytes():
        raise DataError(f"{what} changes between saving and loading")


class Overfit(NamedTuple):
    """What :func:`overfit` saw: the loss of each step, and whether it came down to ``target`` of the first."""

    losses: list[float]
    ok: bool
    target: float

    def __str__(self) -> str:
        first, last, steps = self.losses[0], self.losses[-1], len(self.losses)
        fell = f"the loss went from {first:.4g} to {last:.4g} in {steps} steps on the same data"
        if self.ok:
            return f"{fell}: model, loss and gradients work together."
        return (
            f"{fell}, which is not below {self.target:.0%} of where it began. Try more steps or another learning rate "
            "(lr_find); then suspect the loss, targets that do not fit the inputs, frozen parts, or a wrong gradient "
            "(callback gradient_check)."
        )


def overfit(
    trainer: Any, data: Any, *, batches: int = 1, batch_size: int = 32, steps: int = 100, target: float = 0.1
) -> Overfit:
    """Train on the first ``batches`` batches alone for ``steps`` steps; a model that works learns them by heart.

    No plugin takes part, schedulers rest.
    """
    source = as_source(data, "training data")
    few = source.take(slice(0, min(batches * batch_size, len(source))))
    watch = Steps(steps)
    with as_before(trainer, data):
        trainer.plugins, trainer.schedulers, trainer._own_schedules = [watch], [], []
        trainer.fit(few, epochs=epochs_for(few, batch_size, steps), batch_size=batch_size, shuffle=False)
    losses = watch.losses
    tail = losses[-min(batches, len(losses)) :]
    ok = math.isfinite(losses[-1]) and sum(tail) / len(tail) <= target * losses[0]
    return Overfit(losses, ok, target)
