"""Run the step of a bundle again, looking at every op."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lunar_core.config import from_config
from lunar_core.errors import ConfigError
from lunar_core.hooks import restore_random
from lunar_core.hookspecs import hookimpl

from .flight import random_from_plain, read_bundle, row_from_plain, same_rows
from .opwatch import OpWatch, Row


class Replay:
    """What a replay saw.

    - ``first``: the :class:`~lunar_training.opwatch.Row` of the first result that is not finite, or None.
    - ``cause``: which of its inputs was not finite already; "" where all were.
    - ``rows``: every result in order.
    - ``loss``: the loss; ``exception``: what the step raised, or None.
    - ``agrees``: whether every op gave what was recorded, to the last bit of its range; None where no op was recorded.
    - ``record``: the bundle's JSON.
    """

    def __init__(self, record: dict[str, Any], watch: OpWatch, loss: float | None, exception: Exception | None) -> None:
        self.record = record
        self.rows: list[Row] = watch.rows
        self.first = watch.first
        self.cause = watch.cause
        self.examples = watch.examples
        self.loss = loss
        self.exception = exception
        self.agrees: bool | None
        recorded = record.get("ops")
        if recorded is None:
            self.agrees = None
        else:  # a bundle that was written in the middle of the step holds the ops up to there
            self.agrees = same_rows(self.rows[: len(recorded)], [_row(values) for values in recorded])

    def text(self) -> str:
        """All of it in words."""
        record = self.record
        lines = [f"step {record['step']} (epoch {record['epoch']}): {record['text']}"]
        if self.first is None:
            lines.append(f"replay: all {len(self.rows)} results are finite")
        else:
            place = self.rows.index(self.first) + 1
            lines.append(f"replay: {self.first}; it is number {place} of {len(self.rows)} results")
            lines.append(f"  values from {self.first.low:.6g} to {self.first.high:.6g}")
            lines.append(f"  because {self.cause} was not finite" if self.cause else "  its inputs were all finite")
            ids = record.get("ids")
            if self.examples:
                shown = [ids[i] for i in self.examples] if ids else self.examples
                word = "examples" if ids else "positions in the batch"
                lines.append(f"  {word}: {', '.join(map(str, shown[:16]))}{' ...' if len(shown) > 16 else ''}")
        if self.loss is not None:
            lines.append(f"  loss {self.loss:.9g} (recorded {record['loss']})")
        if self.exception is not None:
            lines.append(f"  raised {type(self.exception).__name__}: {self.exception}")
        if self.agrees is not None:
            lines.append(
                "  the same as recorded in every op"
                if self.agrees
                else "  NOT the same as recorded (another machine or code?)"
            )
        if record.get("plugins_without_configuration"):
            lines.append(f"  without the plugins {', '.join(record['plugins_without_configuration'])}")
        return "\n".join(lines)


def _row(values: Any) -> Row:
    row = row_from_plain(values)
    assert row is not None
    return row


class _Still:
    """An optimizer that leaves everything as it is."""

    def zero_grad(self) -> None:
        pass

    def step(self) -> None:
        pass


class _Restore:
    """Puts the run where the bundle was, and ends it before the step."""

    band = "control"

    def __init__(self, record: dict[str, Any], state: dict[str, Any]) -> None:
        self.record = record
        self.state = state
        self.loss: float | None = None

    def lunar_fit_start(self, ctx: Any) -> None:
        ctx.model.load_state_dict(self.state)
        if self.record.get("frozen"):
            names = set(self.record["frozen"])
            for name, parameter in ctx.model.named_parameters():
                parameter.requires_grad_(name not in names)

    @hookimpl(tryfirst=True)
    def lunar_batch_start(self, ctx: Any) -> None:
        ctx.clock.load_state_dict(self.record["clock"])
        restore_random(random_from_plain(self.record["random"]))

    def lunar_before_backward(self, loss: Any) -> None:
        self.loss = loss.item() if self.loss is None else self.loss + loss.item()

    def lunar_loss_nonfinite(self, loss: float, ctx: Any) -> str:
        self.loss = loss
        ctx.stop("replayed")
        return "stop"

    def lunar_before_step(self, ctx: Any) -> str:
        ctx.stop("replayed")
        return "skip"


def replay(
    bundle: str | os.PathLike[str],
    model: Any = None,
    loss: Any = None,
    plugins: Iterable[Any] = (),
    watch: Callable[[], OpWatch] = OpWatch,
) -> Replay:
    """Run the step of ``bundle`` again up to its gradients, with the same weights, batch and random numbers.

    The model, the loss, regularizers and the plugins that take part are built from the bundle. What had no configuration
    (a hand-written module, a function, a plugin of your own) has to be given: ``model`` an equal model, ``loss``,
    ``plugins``.

    Raises SerializationError for what is no bundle, ConfigError where something has to be given.
    """
    from .trainer import Trainer

    record, arrays = read_bundle(bundle)
    if model is None:
        model = _built(
            record, "model", "model", "replay(bundle, model=MyModel()), or lunar replay --model my_module:make"
        )
    if loss is None:
        loss = _built(record, "loss_component", "loss", "replay(bundle, loss=...)")
    penalties = [_component(item, "regularizer") for item in record["regularizers"]]
    restore = _Restore(record, {n.partition("/")[2]: a for n, a in arrays.items() if n.startswith("model/")})
    batch = [arrays[f"batch/{i}"] for i in range(sum(n.startswith("batch/") for n in arrays))]
    eyes = watch()
    floats = {array.dtype for array in restore.state.values() if array.dtype.kind in "fV"}
    trainer = Trainer(
        model, loss, _Still(), regularizers=penalties, progress="off", micro_batches=record["micro_batches"],
        plugins=[restore, *(_component(item, "callback") for item in record["plugins"]), *plugins, eyes],
        dtype=next(iter(floats)) if len(floats) == 1 else None, precision=record.get("precision"),
    )  # fmt: skip
    raised: Exception | None = None
    try:
        with np.errstate(all="ignore"):  # values that overflow are what it is about
            trainer.fit(tuple(batch), epochs=1, batch_size=len(batch[0]), shuffle=False)
    except Exception as exc:
        raised = exc
    return Replay(record, eyes, restore.loss, raised)


def _built(record: dict[str, Any], entry: str, what: str, hint: str) -> Any:
    config = record.get(entry)
    if not isinstance(config, dict):
        raise ConfigError(f"the bundle's {what} is {config}, which has no configuration to build it from", hint=hint)
    return from_config(config)


def _component(item: Any, what: str) -> Any:
    if not isinstance(item, dict):
        raise ConfigError(f"the bundle's {what} is {item}, which has no configuration to build it from")
    return from_config(item)
