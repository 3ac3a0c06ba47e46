"""Schedulers for a run: bound, told how long it is, advanced in their own unit."""

from __future__ import annotations

from typing import Any

from lunar_core.contracts.scheduler import Scheduler
from lunar_core.errors import HyperparameterError

from .clock import unit_of
from .context import Context


def bind_schedulers(ctx: Context, schedulers: list[Any], examples: int) -> None:
    """Make ``ctx.schedulers`` out of what the user gave: each bound to something, and told the length of the run.

    The length counts from the very first epoch, so that a second ``fit`` goes on along the longer schedule. What was
    bound by an earlier ``fit`` stays bound. Raises HyperparameterError for a unit that the clock does not have.
    """
    epochs = ctx.epochs or 0
    lengths = {"step": epochs * (ctx.steps_per_epoch or 0), "epoch": epochs, "sample": epochs * examples}
    bound_before = {id(b.scheduler): b for b in ctx.schedulers if hasattr(b, "scheduler")}
    bound = []
    for given in schedulers:
        try:
            unit = unit_of(getattr(given, "unit", "step"))
        except HyperparameterError as error:
            raise HyperparameterError(f"{given!r}: {error.message}", hint=error.hint) from None
        scheduler = getattr(given, "scheduler", given)
        if unit in lengths and hasattr(scheduler, "set_length"):
            scheduler.set_length(lengths[unit])
        if isinstance(given, Scheduler) and given.target is None:
            given = bound_before.get(id(given)) or given.bind(ctx.optimizer)
        bound.append(given)
    ctx.schedulers = bound
