"""Say in words what is going wrong."""

from __future__ import annotations

import time
from typing import Any

from lunar_core.component import field, in_range, positive

from ..diagnosis import DataBound, DeadUnits, Finding, GradientFlow, LossSpike, Plateau, Subnormals
from .activation_stats import always_off, floating
from .watching import Listening, norm, rms, subnormal_share


class Diagnosis(Listening):
    """Looks for dead ReLUs, exploding and vanishing gradients, loss spikes, steps that wait for data, plateaus,
    overfitting and subnormal numbers; each is said with its evidence and what to do.

    A finding is logged as a record of event "diagnosis" with ``kind``, ``where``, ``text``, ``suggestion`` and its
    evidence, shown by the progress display, and kept in ``findings``. Each kind at each place is said once a run.
    Gradients, activations and optimizer state are looked at every ``every``; loss and times at each step.
    """

    every: Any = field(default="25step", doc="how often to look at the model: a period")
    spike: float = field(default=3.0, validator=positive, doc="a loss so many times the median is a spike")
    wait_share: float = field(default=0.4, validator=in_range(0, 1), doc="share of the time waiting that is too much")
    dead_share: float = field(default=0.5, validator=in_range(0, 1), doc="share of dead units that is too much")
    patience: int = field(default=5, validator=positive, doc="epochs without improvement that make a plateau")

    def lunar_fit_start(self, ctx: Any) -> None:
        super().lunar_fit_start(ctx)
        self.findings: list[Finding] = []
        self._said: set[tuple[str, str]] = set()
        self._spikes, self._bound = LossSpike(self.spike), DataBound(self.wait_share)
        self._flow, self._dead = GradientFlow(), DeadUnits(self.dead_share)
        self._plateau, self._small = Plateau(self.patience), Subnormals()
        self._start = self._waited = 0.0

    def say(self, ctx: Any, finding: Finding | None) -> None:
        """Log a finding, unless this kind was found at this place before."""
        if finding is None or (finding.kind, finding.where) in self._said:
            return
        self._said.add((finding.kind, finding.where))
        self.findings.append(finding)
        if ctx.bus.log is not None:
            clock = ctx.clock
            told = {
                "kind": finding.kind,
                "where": finding.where,
                "text": finding.text,
                "suggestion": finding.suggestion,
            }
            at = {"epoch": clock.epoch + 1, "step": clock.step}
            ctx.bus.log({"event": "diagnosis", **at, **told, **finding.evidence})

    # -- every batch -------------------------------------------------------------------------------------------------

    def lunar_before_fetch(self) -> None:
        self._start = time.perf_counter()

    def lunar_after_fetch(self, wait_s: float) -> None:
        self._waited = wait_s

    def lunar_batch_end(self, metrics: dict[str, Any], ctx: Any) -> None:
        super().lunar_batch_end(ctx)
        took = time.perf_counter() - self._start
        self._small.time(took - self._waited)
        self.say(ctx, self._bound.see(self._waited, took))
        self.say(ctx, self._spikes.see(metrics["loss"], ctx.clock.step))

    def lunar_log(self, record: dict[str, Any], ctx: Any) -> None:
        if record["event"] == "epoch":
            self.say(ctx, self._plateau.see(record))

    # -- batches that are looked at ----------------------------------------------------------------------------------

    def lunar_before_step(self, ctx: Any) -> None:
        if not self.on:
            return
        sizes: dict[str, float] = {}
        total = 0.0
        for name, parameter in ctx.model.named_parameters():
            if parameter.grad is not None:
                array = parameter.grad.data
                total += norm(array) ** 2
                if array.ndim >= 2:
                    sizes[name] = rms(array)
        for finding in self._flow.see(sizes, total**0.5, ctx.clock.step + 1):
            self.say(ctx, finding)

    def listener(self) -> Any:
        return _Ears()

    def heard(self, ctx: Any, ears: Any) -> None:
        for path, off in ears.off.items():
            self.say(ctx, self._dead.see(path, off))
        shares = {f"the output of {path}": share for path, share in ears.subnormal.items()}
        for name, parameter in ctx.model.named_parameters():
            shares[name] = subnormal_share(parameter.data)
            if parameter.grad is not None:
                shares[f"the gradient of {name}"] = subnormal_share(parameter.grad.data)
        for optimizer in ctx.optimizers:
            if hasattr(optimizer, "state_dict"):
                for name, array in _arrays("the optimizer's state", optimizer.state_dict()):
                    shares[name] = subnormal_share(array)
        self.say(ctx, self._small.see(shares))


class _Ears:
    band = "reader"
    draws = False

    def __init__(self) -> None:
        self.off: dict[str, Any] = {}
        self.subnormal: dict[str, float] = {}

    def lunar_module_forward_post(self, module: Any, path: str, outputs: Any, ctx: Any) -> None:
        array = floating(outputs) if ctx.stage == "train" else None
        if array is None or next(iter(module.children()), None) is not None:
            return
        where = path or "model"
        self.subnormal[where] = subnormal_share(array)
        if getattr(type(module), "kind", "") == "activation" and array.ndim > 1:
            self.off[where] = always_off(array)


def _arrays(path: str, state: Any) -> Any:
    if isinstance(state, dict):
        for key, value in state.items():
            yield from _arrays(f"{path} {key}", value)
    elif isinstance(state, (list, tuple)):
        for value in state:
            yield from _arrays(path, value)
    elif hasattr(state, "nbytes") and hasattr(state, "dtype") and state.dtype.kind == "f":
        yield path, state
