"""Train the last part of a model first, then one more at a time."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.component import field, positive
from lunar_core.contracts.callback import Callback

from .freeze import rest


class GradualUnfreeze(Callback):
    """Starts with all but the last part frozen and unfreezes the next one, from the back, every ``every`` epochs.

    ``parts`` are patterns as :meth:`lunar_core.module.Module.freeze` takes them, in the order of the model; by default
    the children of the model that have parameters, or, where there is one such child alone, its children. Modules that
    are frozen rest in evaluation mode. When the run ends, everything that was trainable is so again. A run that goes on
    later begins where its epoch belongs.

    Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, 1801.06146, section 3.3.
    """

    band: ClassVar[str] = "control"

    parts: tuple[str, ...] | None = field(default=None, doc="patterns of the parts in the order of the model")
    every: int = field(default=1, validator=positive, doc="epochs from one part to the next")

    groups: Any = ()

    def lunar_fit_start(self, ctx: Any) -> None:
        trained = {id(p) for p in ctx.model.parameters() if p.requires_grad}
        self.groups = []
        for part in self.parts if self.parts is not None else parts_of(ctx.model):
            report = {change[0] for change in ctx.model.freeze(part).changes}
            self.groups.append([p for n, p in ctx.model.named_parameters() if n in report and id(p) in trained])
        self._open(ctx.clock.epoch)

    def lunar_epoch_start(self, epoch: int) -> None:
        self._open(epoch)

    def lunar_stage_start(self, stage: str, ctx: Any) -> None:
        if stage == "train":
            rest(ctx.model)

    def lunar_fit_end(self) -> None:
        self._open(len(self.groups) * self.every)
        self.groups = ()

    def _open(self, epoch: int) -> None:
        count = 1 + epoch // self.every
        for group in self.groups[-count:]:
            for parameter in group:
                parameter.requires_grad_(True)


def parts_of(model: Any) -> list[str]:
    """The paths of the model's parts with parameters, in order: its children, or those of an only child."""
    prefix = ""
    while True:
        named = [(name, child) for name, child in model.named_children() if any(True for _ in child.parameters())]
        if len(named) != 1 or not any(True for _ in named[0][1].children()):
            return [f"{prefix}{name}" for name, _ in named] or ["*"]
        prefix, model = f"{prefix}{named[0][0]}.", named[0][1]
