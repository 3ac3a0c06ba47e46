"""What a hook gets when it asks for ``ctx``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from lunar_core import random as streams
from lunar_core.hooks import Bus
from lunar_core.precision import autocast

from .clock import Clock


class Context:
    """The state of a run that plugins may read, and their way to stop it.

    Usable without a Trainer: a hand-written loop makes one, gives it to its :class:`~lunar_core.hooks.Bus` and moves
    the clock itself.
    """

    def __init__(self, model: Any = None, optimizers: Any = (), trainer: Any = None) -> None:
        self.trainer = trainer  #: the Trainer, or None in a hand-written loop
        self.bus: Any = None  #: the hooks of this run, see :meth:`make_bus`
        self.model = model  #: the Module that is trained
        self.optimizers: list[Any] = list(optimizers)  #: those that step, in order
        self.schedulers: list[Any] = []  #: those that move the optimizers' learning rates
        self.clock = Clock()
        self.stage: str | None = None  #: "train", "eval", "predict" or None between passes
        self.phase: str | None = None  #: what the loop is doing: "fetch", "forward", "backward", "step", ...
        self.interrupt: Any = None  #: true once a signal asked the run to end, see :mod:`lunar_training.signals`
        self.scaler: Any = None  #: the LossScaler, or None
        self.precision: str | None = None  #: what autocast computes in, "bfloat16" or "float16"; None: as it is
        self.rank = 0  #: this process among ``world_size``
        self.world_size = 1
        self.epochs: int | None = None  #: the epoch count at which the run ends
        self.steps_per_epoch: int | None = None
        self.history: Any = None  #: the History so far
        self.config: dict[str, Any] = {}  #: the run's settings as plain data
        self.run_dir: Any = None  #: the RunDir, or None when nothing is written
        self.stop_reason: str | None = None

    def make_bus(self, plugins: Iterable[Any] = (), *, installed: bool = True, timing: bool = False) -> Bus:
        """The compiled hooks of this run: of ``plugins`` and, unless ``installed=False``, of installed hook plugins."""
        from lunar_core.plugins import registry

        self.bus = Bus(plugins, ctx=self, manager=registry.manager if installed else None, timing=timing)
        return self.bus

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The block in which the model and the loss run: ``lc.autocast`` under a ``precision``, else an empty one."""
        return contextlib.nullcontext() if self.precision is None else autocast(self.precision)

    @property
    def optimizer(self) -> Any:
        """The first optimizer."""
        return self.optimizers[0] if self.optimizers else None

    @property
    def should_stop(self) -> bool:
        """Whether somebody has asked the run to stop."""
        return self.stop_reason is not None

    def stop(self, reason: str) -> None:
        """Ask the run to end after the current batch. Sticky: the first reason stays, nothing takes it back."""
        if self.stop_reason is None:
            self.stop_reason = reason

    def rng(self, purpose: str) -> np.random.Generator:
        """A fresh generator for (seed, ``purpose``, optimizer step): the same numbers whenever this step is run again.

        A plugin that draws more than once a step under one purpose keeps the generator, or uses a purpose for each.
        """
        return streams.generator(purpose, self.clock.step)
