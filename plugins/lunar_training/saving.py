"""A run and its checkpoints: when one is taken, what it holds, and how a run goes on from it."""

from __future__ import annotations

import itertools
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lunar_core.errors import HyperparameterError, StateError

from .checkpoint import Checkpoint, Checkpointer, CheckpointWarning, read
from .clock import Trigger
from .data import Feed, Loader
from .evaluation import averaged, switching
from .signals import Stop
from .states import put_state

FOLDER = "checkpoints"


class Saver:
    """Takes the checkpoints of one ``fit``, at the ends of batches and epochs, where the run's state is whole.

    - ``checkpointer``: where they go; ``None``: nowhere.
    - ``stop``: tells of a signal.
    - ``limit``: a period after which the run is stopped, or ``None``.
    - ``loaded``: the checkpoint to go on from, or ``None``.
    """

    def __init__(
        self,
        trainer: Any,
        checkpointer: Checkpointer | None,
        stop: Stop,
        limit: Any = None,
        loaded: Checkpoint | None = None,
    ) -> None:
        self.trainer = trainer
        self.ctx = trainer.context
        self.checkpointer = checkpointer
        self.stop = stop
        self.limit = None if limit is None else Trigger(limit, "max_time", unit="second")
        self.loaded = loaded
        self.run: dict[str, Any] = {}  # what the run is: the same whenever it is resumed
        self.begin = self.ctx.clock.epoch if loaded is None else _run_of(loaded)["begin"]
        self.epoch: dict[str, Any] | None = None  # the epoch that is under way
        self.loop: Any = None
        self._last: tuple[Any, ...] | None = None  # where the last checkpoint was taken

    # -- when --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The run begins or goes on where the clock stands."""
        clock = self.ctx.clock
        if self.checkpointer is not None:
            self.checkpointer.begin(clock)
        if self.limit is not None:
            # Counted from the very beginning, so that a run that is resumed does not get its time twice.
            self.limit.reset(clock)
            if self.limit.period.count <= clock.position(self.limit.period.unit):
                self.ctx.stop(f"max_time of {self.limit.period} is over")

    def after_batch(self) -> None:
        """A training batch is complete."""
        ctx = self.ctx
        if self.stop:
            ctx.stop("a signal")
            return
        if self.limit is not None and self.limit.due(ctx.clock):
            ctx.stop(f"max_time of {self.limit.period} is over")
        if ctx.should_stop:
            if not self.loop.gradients.bad():  # weights that are lost are no place to go on from
                self.commit()
        elif self.checkpointer is not None and self.checkpointer.due(ctx.clock):
            self.commit()

    def after_epoch(self, figures: Mapping[str, Any], early: bool) -> None:
        """An epoch is complete, with its figures; ``early`` if a stop cut it short.

        The checkpoint of a run that was stopped within an epoch is the one of that point, so that it can go on there.
        """
        ctx = self.ctx
        if self.checkpointer is None or early:
            return
        due = self.checkpointer.due(ctx.clock)
        ask = ctx.bus.should_save
        answer = ask() if ask is not None else None
        if ctx.should_stop or ctx.clock.epoch >= ctx.epochs or (due if answer is None else answer):
            self.commit(figures)

    # -- what --------------------------------------------------------------------------------------------------------

    def begin_epoch(self, loader: Any, order: Any, started: float, samples: int) -> None:
        """Note what is to be saved of the epoch that begins. ``order`` is that of the examples, if a plugin chose it."""
        self.epoch = {"loader": loader, "order": order, "started": started, "samples": samples}

    def end_epoch(self) -> None:
        self.epoch = None

    def parts(self) -> dict[str, Any]:
        """What can be saved and restored, by name."""
        trainer, ctx = self.trainer, self.ctx
        return {
            "model": ctx.model,
            "optimizers": [o if _stateful(o) else None for o in ctx.optimizers],
            "schedulers": [s if _stateful(s) else None for s in ctx.schedulers],
            "scaler": ctx.scaler,
            "loss": trainer.loss if _stateful(trainer.loss) else None,
            "metrics": trainer.metrics,
            "clock": ctx.clock,
        }

    def commit(self, figures: Mapping[str, Any] | None = None) -> None:
        """Take a checkpoint now, unless the last one was taken here."""
        saver, ctx = self.checkpointer, self.ctx
        here = (ctx.clock.epoch, ctx.clock.batch, ctx.clock.step, ctx.clock.sample)
        if saver is None or (here == self._last and figures is None):
            return
        bus = ctx.bus
        plugins = {name: plugin for name, plugin in bus.plugins().items() if _stateful(plugin)}
        under_way = None
        if self.epoch is not None and self.loop is not None:
            loader = self.epoch["loader"]
            under_way = {
                "totals": self.loop.totals.state_dict(),
                "seconds": time.perf_counter() - self.epoch["started"],
                "samples": self.epoch["samples"],
                "order": self.epoch["order"],
                "loader": loader.state() if callable(getattr(loader, "load_state", None)) else None,
            }
        run = {
            **self.run,
            "begin": self.begin,
            "stopped": ctx.stop_reason if under_way is None else None,
            "frozen": sorted(name for name, p in ctx.model.named_parameters() if not p.requires_grad),
            "history": self.trainer.history.rows,
            "epoch": under_way,
        }
        parts: dict[str, Any] = {**self.parts(), "plugins": plugins, "run": run}
        if bus.checkpoint_collect is not None:
            parts = bus.checkpoint_collect(parts, "checkpoint")
        if bus.before_write is not None:
            bus.before_write(str(saver.directory))
        if bus.prune is not None:
            saver.choose, saver.background = bus.prune, False  # hooks belong to this thread
        saver.save(parts, clock=ctx.clock, figures=figures, averaged=averaged_weights(ctx))
        self._last = here
        if bus.after_commit is not None:
            saver.wait()
            bus.after_commit(str(saver.saved), saver.digest)

    def wait(self) -> None:
        """Wait for what is written in the background."""
        if self.checkpointer is not None:
            self.checkpointer.wait()

    def settle(self) -> None:
        """At the end, whatever ended it: nothing is on its way any more."""
        if self.checkpointer is not None:
            self.checkpointer.settle()

    # -- going on ----------------------------------------------------------------------------------------------------

    def describe(self, **run: Any) -> None:
        """Say what the run is: examples, batch size, ...; checked against the checkpoint that it goes on from."""
        self.run = run
        if self.loaded is None:
            return
        before = _run_of(self.loaded)
        for name, value in run.items():
            if before.get(name) != value:
                raise StateError(
                    f"{self.loaded.path} was taken in a run with {name}={before.get(name)!r}, this one has "
                    f"{name}={value!r}",
                    hint="the same data and settings resume a run; resume=False begins anew",
                )

    def restore(self) -> None:
        """Put everything but the random streams where the checkpoint has it; :meth:`restore_epoch` does the rest."""
        if self.loaded is None:
            return
        ctx, loaded = self.ctx, self.loaded
        run = _run_of(loaded)
        if ctx.bus.checkpoint_restore is not None:
            loaded.state = ctx.bus.checkpoint_restore(loaded.state, "checkpoint")
        frozen = set(run["frozen"])
        for name, parameter in ctx.model.named_parameters():
            if parameter.requires_grad == (name in frozen):
                parameter.requires_grad_(name not in frozen)
        parts = self.parts()
        if loaded.state.get("scaler") is None:
            parts.pop("scaler")
        loaded.restore({name: part for name, part in parts.items() if part is not None}, random=False)
        states = loaded.state.get("plugins", {})
        plugins = {name: plugin for name, plugin in ctx.bus.plugins().items() if _stateful(plugin)}
        for name, state in states.items():
            if name in plugins:
                put_state(plugins[name], state, f"{loaded.path}: plugin {name}")
            else:
                warnings.warn(
                    f"{loaded.path} holds the state of the plugin {name!r}, which takes no part here",
                    CheckpointWarning,
                    stacklevel=2,
                )
        self.trainer.history.rows[:] = run["history"]
        if run["stopped"] is not None:
            ctx.stop(run["stopped"])
        clock = ctx.clock
        self._last = (clock.epoch, clock.batch, clock.step, clock.sample)

    def under_way(self) -> dict[str, Any] | None:
        """The epoch in which the checkpoint was taken, if it was taken within one."""
        return None if self.loaded is None else _run_of(self.loaded)["epoch"]

    def restore_random(self) -> None:
        """Put the random streams where the checkpoint has them: the last thing before the first batch or epoch."""
        if self.loaded is not None:
            self.loaded.restore_random()
            self.loaded = None


def checkpointer_of(checkpoint: Any, out: Any) -> Checkpointer | None:
    """The Checkpointer that ``fit(checkpoint=, out=)`` means."""
    if isinstance(checkpoint, Checkpointer):
        return checkpoint
    if checkpoint is False or (checkpoint is None and out is None):
        return None
    if out is None:
        raise HyperparameterError(
            f"fit(): checkpoint={checkpoint!r} needs a directory", hint='fit(..., out="runs/a", checkpoint="1ep")'
        )
    every, spacing = ("1ep", "10s") if checkpoint is None else (checkpoint, None)
    return Checkpointer(Path(out) / FOLDER, every=every, spacing=spacing, background=True)


def find(where: Any) -> Checkpoint | None:
    """The checkpoint that ``where`` means: a checkpoint, the directory of several, or that of a run."""
    path = Path(where)
    if (path / "manifest.json").is_file():
        return read(path)
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    return Checkpointer(folder).load()


def averaged_weights(ctx: Any) -> dict[str, Any] | None:
    """Copies of the weights to evaluate and ship where an optimizer trains others, else ``None``."""
    if not switching(ctx.optimizers):
        return None
    with averaged(ctx.optimizers):
        return {name: array.copy() for name, array in ctx.model.state_dict().items()}


def forwarded(loader: Any, batch: int, state: Any) -> Any:
    """``loader`` such that its next pass begins after ``batch`` batches, which it does by itself if it can."""
    if isinstance(loader, (Loader, Feed)):
        loader.batch = batch
        return loader
    if state is not None:
        loader.load_state(state)
        return loader
    batches = iter(loader)
    for _ in itertools.islice(batches, batch):
        pass
    return batches


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether the directory ``path`` holds a checkpoint to go on from."""
    return bool(Checkpointer(Path(path) / FOLDER).names())


def _run_of(loaded: Checkpoint) -> dict[str, Any]:
    run = loaded.state.get("run")
    needed = {"begin", "stopped", "frozen", "history", "epoch"}
    if not isinstance(run, dict) or not needed <= run.keys():
        raise StateError(
            f"{loaded.path} was not taken by a Trainer",
            hint="Checkpointer(...).restore(parts) reads it into your parts",
        )
    return run


def _stateful(value: Any) -> bool:
    return all(callable(getattr(value, name, None)) for name in ("state_dict", "load_state_dict"))
