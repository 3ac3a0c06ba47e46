"""Keep parts of a model as they are."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.component import field, positive
from lunar_core.contracts.callback import Callback


class Freeze(Callback):
    """Excludes parts of the model from training, until epoch ``until`` if given.

    ``what`` are patterns as :meth:`lunar_core.module.Module.freeze` takes them: globs over dotted names, registry names
    of layers. What was trainable before becomes so again at ``until`` and when the run ends. Modules all of whose
    parameters are frozen are put into evaluation mode while they are (``statistics=False``), so that running statistics
    and dropout rest as well.

    Raises StateError when a pattern means nothing.
    """

    band: ClassVar[str] = "control"

    what: tuple[str, ...] = field(doc="patterns of parameters or names of layers")
    until: int | None = field(default=None, validator=positive, doc="epochs after which they are trained; None: never")
    statistics: bool = field(default=False, doc="let running statistics and dropout of frozen modules go on")

    frozen: Any = ()

    def lunar_fit_start(self, ctx: Any) -> None:
        before = {name for name, p in ctx.model.named_parameters() if p.requires_grad}
        ctx.model.freeze(*self.what)
        self.frozen = [p for name, p in ctx.model.named_parameters() if name in before and not p.requires_grad]

    def lunar_epoch_start(self, epoch: int) -> None:
        if self.until is not None and epoch >= self.until:
            self._thaw()

    def lunar_stage_start(self, stage: str, ctx: Any) -> None:
        if stage == "train" and self.frozen and not self.statistics:
            rest(ctx.model)

    def lunar_fit_end(self) -> None:
        self._thaw()

    def _thaw(self) -> None:
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        self.frozen = ()


def rest(model: Any) -> None:
    """Put every module that has parameters, none of them trainable, into evaluation mode."""
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()
