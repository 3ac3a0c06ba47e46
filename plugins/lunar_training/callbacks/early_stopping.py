"""Stop when a figure no longer gets better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lunar_core import backend
from lunar_core.autograd import note_write
from lunar_core.component import field, non_negative, one_of, positive
from lunar_core.contracts.callback import Callback

from .monitor import Best


class EarlyStopping(Callback):
    """Stops the run after ``patience`` epochs without an improvement of ``monitor`` by more than ``min_delta``.

    With ``restore_best``, the weights and buffers of the best epoch are put back when training ends, whatever ended it
    (they are copied at each improvement: one more model in memory). Prechelt, Early Stopping - But When? (1998), the
    criterion of successive epochs without improvement.
    """

    band: ClassVar[str] = "control"

    monitor: str = field(default="val_loss", doc="name of the figure in the epoch's record")
    patience: int = field(default=5, validator=positive, doc="epochs without improvement before the stop")
    min_delta: float = field(default=0.0, validator=non_negative, doc="what counts as an improvement")
    mode: str = field(default="auto", validator=one_of("auto", "min", "max"), doc="auto: min for losses and errors")
    restore_best: bool = field(default=False, doc="put the best epoch's weights back at the end")

    def lunar_setup(self, stage: str) -> None:
        if stage == "fit":
            self.best = Best("EarlyStopping", self.monitor, self.mode, self.min_delta)
            self.weights: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The best value and, with ``restore_best``, its weights."""
        return {"best": self.best.state_dict(), "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.best.load_state_dict(state["best"])
        self.weights = state["weights"]

    def lunar_log(self, record: dict[str, Any], ctx: Any) -> None:
        # The record rather than lunar_epoch_end: by then every editor has had its say about the figures.
        if record["event"] != "epoch":
            return
        if self.best.improved(record):
            if self.restore_best:
                self.weights = {name: array.copy() for name, array in ctx.model.state_dict().items()}
        elif self.best.waited >= self.patience:
            ctx.stop(f"{self.monitor} has not improved for {self.patience} epochs (best {self.best.value})")

    def lunar_fit_end(self, ctx: Any) -> None:
        if self.weights is not None:
            live = ctx.model.state_dict()
            for name, array in self.weights.items():
                like = live[name]
                if type(array) is not type(like):  # read from a checkpoint, which gives host arrays
                    array = backend.of(like).from_numpy(array, backend.of(like).device_of(like))
                like[...] = array
                note_write(live[name])
            self.weights = None
