"""Steps that a user writes: several optimizers in turn, several losses, anything that is no single forward and backward.

>>> def gan_step(run, batch):                                       # doctest: +SKIP
...     real, _ = batch
...     generator, discriminator = run.optimizers
...     with run.only(discriminator):
...         loss_d = d_loss(run.model.d(real), run.model.d(run.model.g(noise(run)).detach()))
...         run.minimize(loss_d, discriminator)
...     with run.only(generator):
...         loss_g = g_loss(run.model.d(run.model.g(noise(run))))
...         run.minimize(loss_g, generator)
...     return {"loss": loss_d, "generator": loss_g}
>>> Trainer(model, optimizer=[opt_g, opt_d], step=gan_step).fit(data, epochs=10)     # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lunar_core.errors import HookError, HyperparameterError
from lunar_core.tensor import Tensor

from .context import Context
from .data import one_loss
from .loop import SkipBatch, TrainLoop


class Step:
    """What a custom step works with. ``ctx`` is the context of the run, ``batch`` the placed raw arrays."""

    def __init__(self, loop: CustomLoop, batch: tuple[Any, ...]) -> None:
        self._loop = loop
        self.ctx: Context = loop.ctx
        self.batch = batch
        self.stepped = False

    @property
    def model(self) -> Any:
        """The Module that is trained."""
        return self._loop.model

    @property
    def optimizers(self) -> list[Any]:
        """The optimizers, in the order in which the Trainer got them."""
        return self.ctx.optimizers

    @property
    def loss(self) -> Any:
        """The Trainer's loss, or None."""
        return self._loop.loss

    @contextlib.contextmanager
    def only(self, optimizer: Any) -> Iterator[None]:
        """A block in which no parameter but those of ``optimizer`` (it or its number) needs a gradient: what the others
        would get is not computed."""
        mine = {id(p) for group in self._of(optimizer).groups for p in group.params}
        others = [p for p in self.model.parameters() if p.requires_grad and id(p) not in mine]
        try:
            for parameter in others:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    def minimize(self, loss: Tensor, optimizer: Any = 0, *, retain_graph: bool = False) -> bool:
        """Differentiate ``loss``, a Tensor with one element, and let ``optimizer`` (it or its number) step.

        Gradients of before are dropped. The hooks of backward, gradients and step fire, and the gradients are clipped as
        the Trainer was told. Gives whether the step was made: a plugin or the loss scaler may leave it out.
        """
        loop, bus, ctx = self._loop, self._loop.bus, self.ctx
        chosen = self._of(optimizer)
        if not math.isfinite(one_loss(loss, "the custom step").item()):
            loop._nonfinite(loss.item(), self.batch)
        loop._zero_grad()
        loop.finite = True
        ctx.phase = "backward"
        if bus.before_backward is not None:
            loss = one_loss(bus.before_backward(loss), "lunar_before_backward")
        (loss if loop.scaler is None else loop.scaler.scale(loss)).backward(retain_graph=retain_graph)
        if bus.after_backward is not None:
            bus.after_backward()
        loop._after_accumulate()
        ctx.phase = "step"
        made = loop.finite and (bus.before_step is None or bus.before_step(ctx.clock.step) != "skip")
        if made:
            self.stepped = True
            if bus.optimizer_step is None:
                chosen.step()
            else:
                bus.optimizer_step(chosen.step, chosen, _no_closure)
        if loop.scaler is not None:
            loop._rescale()
        ctx.phase = "forward"
        return made

    def _of(self, optimizer: Any) -> Any:
        if isinstance(optimizer, int) and not isinstance(optimizer, bool):
            if not 0 <= optimizer < len(self.optimizers):
                raise HyperparameterError(
                    f"the custom step asks for optimizer {optimizer}; there are {len(self.optimizers)}, counted from 0"
                )
            return self.optimizers[optimizer]
        return optimizer


def _no_closure() -> float:
    raise HookError(
        "a custom step cannot be evaluated again: plugins that need the closure (SAM, L-BFGS) do not fit it"
    )


class CustomLoop(TrainLoop):
    """A loop whose step is ``function(run, batch)``.

    ``batch`` is the tuple of the batch's arrays as Tensors. What the function returns is a dict of figures, Tensors or
    numbers, means over the batch; ``"loss"`` is the loss of the run, and the others appear as ``loss.NAME``.
    ``"outputs"``, if there, is what the metrics compare with the targets. The clock counts one step a batch.
    """

    function: Callable[[Step, tuple[Any, ...]], Mapping[str, Any] | Tensor]

    def _batch(self, batch: tuple[Any, ...]) -> None:
        bus, ctx, clock = self.bus, self.ctx, self.ctx.clock
        figures = {"loss": math.nan, "weight": 0.0}
        self.pairs.open(None, (), "batch_end", (None, figures))
        if bus.batch_start is not None and bus.batch_start(batch) == "skip":
            raise SkipBatch
        batch = tuple([self.placer(part) for part in batch])
        run = Step(self, batch)
        ctx.phase = "forward"
        self._zero_grad()
        found = self.function(run, tuple(Tensor(part) for part in batch))
        values = dict(found) if isinstance(found, Mapping) else {"loss": found}
        outputs = values.pop("outputs", None)
        if "loss" not in values:
            raise HyperparameterError(
                f"the custom step returned {sorted(values)}, which has no 'loss'", hint='return {"loss": loss, ...}'
            )
        n = len(batch[0])
        clock.sample += n
        clock.token += n
        if run.stepped:
            clock.step += 1
            if bus.after_step is not None:
                bus.after_step(clock.step)
            if ctx.schedulers:
                self.advance("step")

        ctx.phase = "metrics"
        means = {name: float(v.item()) if isinstance(v, Tensor) else float(v) for name, v in values.items()}
        totals = self.totals
        totals.loss += means["loss"] * n
        totals.weight += n
        totals.batches += 1
        for name, value in means.items():
            if name != "loss":
                own = totals.parts.setdefault(name, [0.0, 0.0])
                own[0] += value * n
                own[1] += n
        if self.metrics and outputs is None:
            raise HyperparameterError('a custom step with metrics has to return "outputs" for them')
        outputs = outputs.detach() if isinstance(outputs, Tensor) else outputs
        for metric in self.metrics.values():
            metric.update(outputs, batch[1], batch[2] if len(batch) > 2 else None)
        figures["loss"], figures["weight"] = means["loss"], float(n)
        if bus.log is not None:
            at = {"epoch": clock.epoch + 1, "step": clock.step, "batch": clock.batch + 1}
            rest = {f"loss.{name}": value for name, value in means.items() if name != "loss"}
            bus.log({"event": "step", **at, "loss": means["loss"], **rest})
        self.pairs.close("batch_end", outputs, figures)


def custom_loop(function: Callable[[Step, tuple[Any, ...]], Any]) -> type[CustomLoop]:
    """The loop for a custom step; HyperparameterError for what cannot be called."""
    if not callable(function):
        raise HyperparameterError(f"Trainer: step must be a function of (run, batch), got {function!r}")
    return type("CustomLoop", (CustomLoop,), {"function": staticmethod(function)})
