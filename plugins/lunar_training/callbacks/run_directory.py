"""Write the run directory as the run goes on."""

from __future__ import annotations

from typing import Any, ClassVar

from lunar_core.component import field
from lunar_core.contracts.callback import Callback

from ..rundir import RunDir, environment, write_weights


class RunDirectory(Callback):
    """Writes configuration and environment when training starts, the history after each epoch, the weights at the end.

    The Trainer adds it for ``fit(..., out=path)``. See :mod:`lunar_training.rundir` for the files. A write that fails
    ends the run with an error.
    """

    band: ClassVar[str] = "checkpoint"

    path: str = field(doc="the directory; it must not hold another run")
    resume: bool = field(default=False, doc="go on in a directory that holds this run already")

    def lunar_setup(self, stage: str, ctx: Any) -> None:
        if stage == "fit" and ctx.run_dir is None:
            ctx.run_dir = RunDir(self.path, existing=self.resume)

    def lunar_fit_start(self, ctx: Any) -> None:
        ctx.run_dir.write_json("config.json", ctx.config)
        device = next((p.device for p in ctx.model.parameters()), "cpu")
        ctx.run_dir.write_json("environment.json", environment(ctx.bus.plugins(), device))

    def lunar_flush(self, ctx: Any) -> None:
        ctx.run_dir.write_history(ctx.history)

    def lunar_fit_end(self, ctx: Any) -> None:
        ctx.run_dir.write_history(ctx.history)
        write_weights(ctx, ctx.run_dir.file("weights.safetensors"))
