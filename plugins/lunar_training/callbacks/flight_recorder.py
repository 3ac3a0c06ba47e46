"""Keep what is needed to run a bad step again."""

from __future__ import annotations

import os
from collections import deque
from statistics import median
from typing import Any, ClassVar

from lunar_core import backend
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.callback import Callback
from lunar_core.hooks import plugin_name, save_random
from lunar_core.hookspecs import hookimpl

from ..flight import ids_of, random_to_plain, row_to_plain, write_bundle
from ..opwatch import OpWatch
from ..rundir import describe


class FlightRecorder(Callback):
    """Remembers the last ``keep`` steps and writes a bundle when one goes wrong; ``lunar replay BUNDLE`` runs it again.

    A step goes wrong when its loss or a gradient is not finite, when an exception leaves it, or when its loss is more
    than ``spike`` times the median of the last 32. For each step it keeps the ids of its examples, the random state, the
    loss and, with ``ops``, the range and the number of non-finite values of every result of every op and gradient rule,
    by module. The bundle adds the weights and buffers before the step, the batch, and how to build the rest. The first
    bad op is logged as a record of event "diagnosis".

    With ``ops=False`` a step costs next to nothing (buffers are copied, the random state is saved); with it, two passes
    over every result. A relative ``path`` lies in the run directory if there is one. The weights of a step that raised
    after the optimizer had begun are those afterwards, which the bundle says.
    """

    band: ClassVar[str] = "reader"
    draws: ClassVar[bool] = False

    path: str = field(default="flight", doc="directory for bundles")
    keep: int = field(default=20, validator=positive, doc="steps to remember")
    ops: bool = field(default=True, doc="remember every op of them")
    spike: float = field(default=10.0, validator=non_negative, doc="a loss so many times the median is one; 0: none is")
    limit: int = field(default=3, validator=positive, doc="bundles a run")

    watch: Any = None

    def lunar_fit_start(self, ctx: Any) -> None:
        self.ring: deque[dict[str, Any]] = deque(maxlen=self.keep)
        self.bundles: list[str] = []
        self._losses: deque[float] = deque(maxlen=32)
        self._now: dict[str, Any] | None = None
        self._ids: Any = None
        self._batch: Any = None
        if self.ops:
            self.watch = OpWatch()
            ctx.bus.add(self.watch, "flight_recorder.ops")

    def lunar_fit_end(self, ctx: Any) -> None:
        watch, self.watch = self.watch, None
        if watch is not None:
            ctx.bus.remove(watch)
        self._now = self._batch = self._ids = None

    @hookimpl(band="control", tryfirst=True)
    def lunar_stage_start(self, stage: str, loader: Any, ctx: Any) -> None:
        if stage == "train":  # walked once a pass: it takes longer than what is done with them
            self._ids = ids_of(loader, ctx.clock.epoch)
            self._buffers, self._parameters = list(ctx.model.named_buffers()), list(ctx.model.parameters())

    @hookimpl(band="control", tryfirst=True)
    def lunar_after_fetch(self, batch: Any, ctx: Any) -> None:
        # As it was fetched, before editors see it: they take part in the replay.
        self._batch = batch

    @hookimpl(band="control", tryfirst=True)
    def lunar_batch_start(self, ctx: Any) -> None:
        clock = ctx.clock
        self._now = {
            "step": clock.step + 1,
            "clock": clock.state_dict(),
            "ids": self._ids(clock.batch, len(self._batch[0])),
            "random": save_random(),
            "buffers": {name: b.data.copy() for name, b in self._buffers},
            "loss": None,
            "written": False,
        }

    def lunar_before_backward(self, loss: Any, ctx: Any) -> None:
        now, value = self._now, float(loss.item())
        if now is None:
            return
        now["loss"] = value if now["loss"] is None else now["loss"] + value
        if self.spike and len(self._losses) >= 8 and value > self.spike * median(self._losses) > 0:
            self.write(ctx, "spike", f"the loss is {value:.4g}, its median was {median(self._losses):.4g}")
        self._losses.append(value)

    def lunar_loss_nonfinite(self, loss: float, ctx: Any) -> None:
        if self._now is not None:
            self._now["loss"] = loss
        self.write(ctx, "loss", f"the loss is {loss}")

    def lunar_before_step(self, ctx: Any) -> None:
        bad = self.watch.first is not None if self.watch is not None else _bad_gradient(self._parameters)
        if bad:
            self.write(ctx, "gradient", "a value or a gradient is not finite")

    def lunar_exception(self, exc: Exception, phase: str, ctx: Any) -> None:
        if phase != "fetch":
            self.write(ctx, "exception", f"{type(exc).__name__} in phase {phase}: {exc}", phase)

    def lunar_batch_end(self) -> None:
        now = self._now
        if now is not None:
            self.ring.append({**self._entry(now), "random": now["random"][0]})

    def _entry(self, now: dict[str, Any]) -> dict[str, Any]:
        watch = self.watch
        return {
            "step": now["step"],
            "epoch": now["clock"]["epoch"] + 1,
            "ids": now["ids"],
            "loss": now["loss"],
            "ops": None if watch is None else list(watch.rows),
        }

    def write(self, ctx: Any, reason: str, text: str, phase: str | None = None) -> None:
        """Write the bundle of the step that is under way, once for each step."""
        now, watch = self._now, self.watch
        if now is None or now["written"] or len(self.bundles) >= self.limit:
            return
        now["written"] = True
        first = None if watch is None else watch.first
        ids = now["ids"]
        examples = [] if watch is None else watch.examples
        trainer = ctx.trainer
        others, unknown = _editors(ctx, self)
        entry = self._entry(now)
        record = {
            "reason": reason,
            "text": text,
            "phase": phase or ctx.phase,
            "weights": "after the step had begun" if phase in ("step", "metrics") else "before the step",
            **{key: entry[key] for key in ("step", "epoch", "ids", "loss")},
            "first": row_to_plain(first),
            "cause": "" if watch is None else watch.cause,
            "examples": examples,
            "example_ids": None if ids is None else [ids[i] for i in examples],
            "clock": now["clock"],
            "random": random_to_plain(now["random"]),
            "ops": None if watch is None else [list(row) for row in watch.rows],
            "model": describe(ctx.model),
            "loss_component": describe(getattr(trainer, "loss", None)),
            "regularizers": [describe(r) for r in getattr(trainer, "regularizers", ())],
            "plugins": others,
            "plugins_without_configuration": unknown,
            "frozen": [name for name, p in ctx.model.named_parameters() if not p.requires_grad],
            "micro_batches": ctx.config.get("micro_batches", 1),
            "precision": getattr(ctx, "precision", None),
            "loss_scale": getattr(ctx.scaler, "value", None),
            "ring": [
                {**entry, "ops": None if entry["ops"] is None else [list(row) for row in entry["ops"]]}
                for entry in self.ring
            ],
        }
        arrays = {f"model/{name}": array for name, array in ctx.model.state_dict().items()}
        arrays |= {f"model/{n}": a for n, a in now["buffers"].items() if f"model/{n}" in arrays}
        arrays |= {f"batch/{i}": part for i, part in enumerate(self._batch)}
        folder = self.path if ctx.run_dir is None else os.path.join(ctx.run_dir, self.path)
        path = write_bundle(os.path.join(folder, f"step-{now['step']:06d}-{reason}"), record, arrays)
        self.bundles.append(str(path))
        self._tell(ctx, reason, text, first, record, str(path))

    def _tell(self, ctx: Any, reason: str, text: str, first: Any, record: dict[str, Any], path: str) -> None:
        if ctx.bus.log is None:
            return
        said = [f"step {record['step']}: {text}"]
        if first is not None:
            said.append(
                f"the first is from {first}" + (f", because {record['cause']} was not" if record["cause"] else "")
            )
        if record["example_ids"]:
            said.append(f"examples {', '.join(map(str, record['example_ids'][:8]))}")
        at = {"epoch": record["epoch"], "step": record["step"]}
        told = {"kind": f"bad_{reason}", "where": "" if first is None else first.module, "text": "; ".join(said)}
        hint = f"Run the step again: lunar replay {path}"
        ctx.bus.log({"event": "diagnosis", **at, **told, "suggestion": hint, "bundle": path})


def _bad_gradient(parameters: list[Any]) -> bool:
    for parameter in parameters:
        if parameter.grad is not None:
            array = parameter.grad.data
            if not bool(backend.of(array).xp.isfinite(array.sum())):
                return True
    return False


def _editors(ctx: Any, own: Any) -> tuple[list[Any], list[str]]:
    """The plugins that may change a step: as configurations, and the names of those that have none."""
    known, unknown = [], []
    for name, plugin in ctx.bus.plugins().items():
        if plugin is own or getattr(plugin, "band", "editor") != "editor":
            continue
        found = describe(plugin) if isinstance(plugin, Callback) else None
        if isinstance(found, dict):
            known.append(found)
        else:
            unknown.append(name or plugin_name(plugin))
    return known, unknown
