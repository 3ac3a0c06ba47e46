"""The training loop: one pass over the batches, every hook in its place.

The order within a batch is that of :mod:`lunar_core.hookspecs`, read from top to bottom. A hook that nothing implements
costs one attribute and one comparison.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lunar_core.contracts.regularizer import Seen
from lunar_core.errors import HyperparameterError
from lunar_core.hooks import Bus, Pairs
from lunar_core.tensor import Tensor

from .clock import unit_of
from .context import Context
from .data import Placer, check_classes, loss_terms, one_loss
from .errors import DivergenceError
from .gradients import Gradients, clip_global_norm, global_norm

_END = object()

#: So many steps in a row may be left out for gradients that are not finite.
PATIENCE = 50


def _weights_only(regularizer: Any) -> bool:
    return getattr(regularizer, "looks_at", "weights") == "weights"


class SkipBatch(Exception):
    """Leaves the current batch without a step; never seen outside of the loop."""


class Totals:
    """Sums over a pass, in float64: the mean loss is one division at the end."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.weight = 0.0
        self.penalty = 0.0
        self.batches = 0
        self.parts: dict[str, list[float]] = {}

    def add_parts(self, parts: Mapping[str, tuple[Any, float]]) -> None:
        """Add the named terms of a loss, (sum, weight) each."""
        for name, (total, weight) in parts.items():
            own = self.parts.setdefault(name, [0.0, 0.0])
            own[0] += total.item()
            own[1] += weight

    def part_means(self) -> dict[str, float]:
        """The means of the named terms, as the figures ``loss.name``."""
        return {f"loss.{name}": total / weight if weight else math.nan for name, (total, weight) in self.parts.items()}

    def mean(self) -> float:
        return self.loss / self.weight if self.weight else math.nan

    def state_dict(self) -> dict[str, Any]:
        """The sums as plain data."""
        return {**vars(self), "parts": {name: list(sums) for name, sums in self.parts.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.loss, self.weight, self.penalty = (float(state[name]) for name in ("loss", "weight", "penalty"))
        self.batches = int(state["batches"])
        self.parts = {str(name): [float(value) for value in sums] for name, sums in state["parts"].items()}


class TrainLoop:
    """Runs training batches for one ``fit``.

    ``loss.terms`` gives sum and weight of each batch; ``metrics`` are updated with the outputs that the step was
    computed from. With ``micro_batches`` k > 1 each batch is cut into k parts whose gradients are added up, weighted so
    that the step is that of the whole batch, ragged parts included.
    """

    def __init__(
        self,
        ctx: Context,
        loss: Any,
        metrics: dict[str, Any],
        regularizers: list[Any],
        placer: Placer,
        clip_norm: float | None,
        micro_batches: int,
    ) -> None:
        self.ctx = ctx
        self.bus: Bus = ctx.bus
        self.model = ctx.model
        self.loss = loss
        self.metrics = metrics
        self.regularizers = regularizers
        self.penalties = [r for r in regularizers if getattr(r, "looks_at", "weights") != "steps"]
        self.constraints = [r for r in regularizers if getattr(r, "looks_at", "weights") == "steps"]
        self.needs = [str(getattr(optimizer, "needs", "gradients")) for optimizer in ctx.optimizers]
        _check_needs(ctx.optimizers, self.needs, clip_norm, micro_batches)
        #: Whether the optimizers differentiate the loss themselves, so that nobody else has to.
        self.undifferentiated = bool(self.needs) and all(need == "loss" for need in self.needs)
        self.objective: Tensor | None = None  # what they differentiate
        self.placer = placer
        self.clip_norm = clip_norm
        self.micro_batches = micro_batches
        self.gradients = Gradients(ctx.model)
        self.totals = Totals()
        self.parts: list[Mapping[str, tuple[Any, float]]] = []  # the loss's named terms, of the parts of a batch
        self.heads: list[tuple[str, Any]] = []  # modules of the model with a loss of their own, by their path
        self.scaler = ctx.scaler
        self.finite = True  # whether the gradients of the batch were, where a scaler looks
        self.after_batch: Callable[[], None] | None = None  # called between two batches
        self.unchecked: Any = None  # targets of the whole training data, until the first outputs show how many classes

    # -- an epoch ----------------------------------------------------------------------------------------------------

    def run(self, loader: Any, pairs: Pairs, begun: Mapping[str, Any] | None = None) -> Totals:
        """One pass over ``loader``; the totals of its loss.

        ``begun`` is the state of the totals of a pass that is resumed: the clock stands where it was left, and ``loader``
        gives the batches that are still to come.
        """
        bus, ctx, clock = self.bus, self.ctx, self.ctx.clock
        self.totals = Totals()
        if begun is not None:
            self.totals.load_state_dict(begun)
        self.pairs = pairs
        self.gradients = Gradients(self.model)  # anew, since parameters may have been frozen or freed between epochs
        self.heads = [(n, m) for n, m in self.model.named_modules() if callable(getattr(m, "auxiliary_terms", None))]
        if begun is None:
            clock.batch = 0
        done = self.after_batch
        unhook = [*self._hook_parameters(), *(r.attach(self.model) for r in self.regularizers if hasattr(r, "attach"))]
        # Under a scaler an overflow is expected, and dealt with.
        quiet: Any = contextlib.nullcontext
        if self.scaler is not None:
            quiet = functools.partial(np.errstate, over="ignore", invalid="ignore")
        try:
            batches = iter(loader)
            while not ctx.should_stop:
                ctx.phase = "fetch"
                h = bus.before_fetch
                if h is not None:
                    h()
                start = time.perf_counter()
                batch: Any = next(batches, _END)
                if batch is _END:
                    break
                h = bus.after_fetch
                if h is not None:
                    batch = h(batch, time.perf_counter() - start)
                with quiet():
                    self._guarded(batch)
                clock.batch += 1
                if done is not None:
                    done()
        finally:
            ctx.phase = None
            for remove in unhook:
                remove()
        return self.totals

    def _guarded(self, batch: tuple[Any, ...]) -> None:
        """Run a batch; when it raises, ask what to do and do it."""
        bus, ctx, pairs = self.bus, self.ctx, self.pairs
        depth = len(pairs)
        while True:
            try:
                self._batch(batch)
                return
            except SkipBatch:
                pairs.close_to(depth)
                self.gradients.zero()
                return
            except Exception as exc:
                phase = ctx.phase
                pairs.close_to(depth, exc)
                h = bus.exception
                answer = h(exc, phase) if h is not None else None
                # A batch that has changed the weights is not run twice.
                if answer is None or answer == "raise" or (answer == "retry" and phase in ("step", "metrics")):
                    raise
                self.gradients.zero()
                if answer == "stop":
                    ctx.stop(f"{type(exc).__name__} in phase {phase}: {exc}")
                if answer != "retry":
                    return

    def _batch(self, batch: tuple[Any, ...]) -> None:
        bus, ctx, clock = self.bus, self.ctx, self.ctx.clock
        figures = {"loss": math.nan, "weight": 0.0}
        self.pairs.open(None, (), "batch_end", (None, figures))
        h = bus.batch_start
        if h is not None and h(batch) == "skip":
            raise SkipBatch
        place = self.placer
        batch = tuple([place(part) for part in batch])

        self._zero_grad()
        seen, loss_sum, weight, penalty = self._gradients(batch, self.undifferentiated)
        parts = self.parts  # of this batch: a closure of the step computes others

        n = len(batch[0])
        clock.sample += n
        clock.token += batch[1].size if batch[1].ndim == 2 and batch[1].dtype.kind in "iu" else n
        ctx.phase = "step"
        h = bus.before_step
        if self.finite and (h is None or h(clock.step) != "skip"):
            self._step(batch, (loss_sum / weight if weight else 0.0) + penalty)
        self.objective = None
        if self.scaler is not None:
            self._rescale()

        ctx.phase = "metrics"
        totals = self.totals
        totals.loss += loss_sum
        totals.weight += weight
        totals.penalty += penalty
        totals.batches += 1
        terms: dict[str, float] = {}
        if parts:
            batch_totals = Totals()
            for one in parts:
                totals.add_parts(one)
                batch_totals.add_parts(one)
            terms = batch_totals.part_means()
        for metric in self.metrics.values():
            for outputs, part in seen:
                metric.update(outputs, part[1], part[2] if len(part) > 2 else None)

        figures["loss"] = loss_sum / weight if weight else 0.0
        figures["weight"] = weight
        h = bus.log
        if h is not None:
            h(
                {
                    "event": "step",
                    "epoch": clock.epoch + 1,
                    "step": clock.step,
                    "batch": clock.batch + 1,
                    "loss": figures["loss"],
                    **terms,
                }
            )
        self.pairs.close("batch_end", seen[-1][0], figures)

    def _zero_grad(self) -> None:
        for optimizer in self.ctx.optimizers:
            optimizer.zero_grad()
        self.gradients.zero()  # those of parameters that no optimizer has would add up for ever

    # -- forward and backward ----------------------------------------------------------------------------------------

    def _gradients(self, batch: tuple[Any, ...], keep: bool = False) -> tuple[list[Any], float, float, float]:
        """Compute the gradients of a placed batch; ([(outputs, part), ...], loss sum, weight, penalty).

        With ``keep`` no gradients: what is to be differentiated is kept as ``self.objective``, with its graph.
        """
        clock, pairs = self.ctx.clock, self.pairs
        n = len(batch[0])
        parts = min(self.micro_batches, n)
        clock.micro = 0
        self.parts = []
        self.finite = True
        loss_sum = weight = penalty = 0.0
        seen = []
        for i in range(parts):
            part = batch
            if parts > 1:
                cut = slice(i * n // parts, (i + 1) * n // parts)
                part = tuple([array[cut] for array in batch])
            share = len(part[0]) / n
            pairs.open("micro_start", (i, parts, share), "micro_end", (i, parts, share))
            divisor = n if parts > 1 else None
            outputs, part_sum, weight, penalty = self._forward_backward(part, weight, divisor, i == parts - 1, keep)
            pairs.close("micro_end", i, parts, share)
            clock.micro += 1
            seen.append((outputs.detach() if type(outputs) is Tensor else _detached(outputs), part))
            loss_sum += part_sum
        if parts > 1 and weight and weight != n:
            # Each part's gradient was taken as if the weights summed to the number of examples.
            self.gradients.scale(n / weight)
        if not keep:
            self._after_accumulate()
        return seen, loss_sum, weight, penalty

    def _forward_backward(
        self, batch: tuple[Any, ...], before: float, divisor: int | None, last: bool, keep: bool
    ) -> tuple[Any, float, float, float]:
        """Forward and backward of one part of a batch; (outputs, loss sum, weight so far, penalty).

        ``before`` is the weight of the parts before it. With several parts their total is not known yet, so the sum of
        the losses is divided by ``divisor``, the number of examples, and put right when the last part is through.
        """
        bus, ctx = self.bus, self.ctx
        with ctx.autocast():
            inputs, outputs, compared, targets, weights, total, weight = self._forward(batch)
        named = getattr(self.loss, "parts", None)
        if named:
            self.parts.append(named)
        objective = total / weight if weight else total
        h = bus.after_loss
        if h is None:
            loss_sum = total.item()
        else:
            objective = one_loss(h(objective, weight), "lunar_after_loss")
            loss_sum = objective.item() * weight
        if not math.isfinite(loss_sum):
            self._nonfinite(loss_sum / weight if weight else loss_sum, batch)

        for name, head in self.heads:
            if not head.waiting:
                continue  # the pass did not reach it
            extra, size = head.auxiliary_terms(self.loss, targets, weights)
            self.parts.append({f"auxiliary.{name}": (extra.detach(), size)})
            objective = objective + (extra / size if size else extra)
        so_far = before + weight
        if divisor is not None:
            objective = objective * (weight / divisor)
        penalty = 0.0
        if self.penalties and last:  # once a batch
            seen = Seen(inputs, compared, targets, self._mean_loss)
            parts = [r.terms(self.model) if _weights_only(r) else r.terms(self.model, seen) for r in self.penalties]
            added: Any = sum((total / w for total, w in parts), 0.0)
            penalty = added.item()
            objective = objective + (added if divisor is None else added * ((so_far or divisor) / divisor))

        ctx.phase = "backward"
        h = bus.before_backward
        if h is not None:
            objective = one_loss(h(objective), "lunar_before_backward")
        if keep:
            self.objective = objective
            return outputs, loss_sum, so_far, penalty
        (objective if self.scaler is None else self.scaler.scale(objective)).backward()
        h = bus.after_backward
        if h is not None:
            h()
        return outputs, loss_sum, so_far, penalty

    def _forward(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Forward pass and loss: (inputs, outputs, what was compared with the targets, these, weights, sum, weight)."""
        bus, ctx = self.bus, self.ctx
        ctx.phase = "forward"
        inputs, targets = Tensor(batch[0]), Tensor(batch[1])
        h = bus.before_forward
        if h is not None:
            inputs = h(inputs)
        outputs = self.model(inputs)
        h = bus.after_forward
        if h is not None:
            outputs = h(outputs)
        ctx.phase = "loss"
        if self.unchecked is not None:
            check_classes(self.loss, outputs, self.unchecked)
            self.unchecked = None
        compared = outputs
        h = bus.before_loss
        if h is not None:
            compared, targets = h(outputs, targets)
        weights = Tensor(batch[2]) if len(batch) > 2 else None
        total, weight = loss_terms(self.loss, compared, targets, weights)
        return inputs, outputs, compared, targets, weights, total, weight

    def _nonfinite(self, loss: float, batch: tuple[Any, ...]) -> None:
        """The loss is NaN or infinite: skip, stop or raise."""
        ctx, clock = self.ctx, self.ctx.clock
        h = self.bus.loss_nonfinite
        answer = h(loss, batch) if h is not None else None
        if answer == "stop":
            ctx.stop(f"the loss was {loss}")
        if answer in ("skip", "stop"):
            raise SkipBatch
        raise DivergenceError(
            f"the loss is {loss} in epoch {clock.epoch + 1}, batch {clock.batch + 1} (step {clock.step + 1})"
            f"{self._why(batch)}",
            hint='plugins=["terminate_on_nan"] ends the run in good order instead',
        )

    def _why(self, batch: tuple[Any, ...]) -> str:
        """What can be said about where a value that is not finite came from."""
        from lunar_core import backend

        for name, part in zip(("inputs", "targets", "weights"), batch):
            if part.dtype.kind == "f":
                count = int((~backend.of(part).xp.isfinite(part)).sum())
                if count:
                    return f"; the batch's {name} hold {count} value(s) that are not finite"
        bad = self.gradients.bad()
        if bad:
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            return (
                f"; weights were lost before it: {', '.join(bad[:3])}{more} (lower the learning rate, or clip_norm=1.0)"
            )
        rates = ", ".join(f"{o.lr:g}" for o in self.ctx.optimizers if hasattr(o, "lr"))
        return f"; inputs and weights are finite (learning rate {rates})"

    # -- gradients and the step --------------------------------------------------------------------------------------

    def _after_accumulate(self) -> None:
        """Hooks on the complete gradients, and clipping."""
        bus = self.bus
        edit, ready, limit = bus.after_accumulate, bus.grads_ready, self.clip_norm
        if edit is None and ready is None and limit is None and self.scaler is None:
            return
        self.ctx.phase = "gradients"
        grads = self.gradients.arrays()
        if self.scaler is not None:
            self.finite = self.scaler.divide(grads.values())
            if not self.finite:
                return  # the step is left out: nobody has to deal with infinities
        if edit is None and ready is None and limit is None:
            return
        if edit is not None:
            self.gradients.replace(grads, edit(grads), "lunar_after_accumulate")
        norm = clip_global_norm(grads.values(), limit) if limit is not None else global_norm(grads.values())
        if limit is not None and not math.isfinite(norm):
            clock = self.ctx.clock
            raise DivergenceError(
                f"the gradients' norm is {norm} in epoch {clock.epoch + 1}, batch {clock.batch + 1} "
                f"(step {clock.step + 1})",
                hint="the loss was finite; look for a division by zero or a square root at zero in the model",
            )
        if ready is not None:
            self.gradients.replace(grads, ready(grads, norm), "lunar_grads_ready")

    def _step(self, batch: tuple[Any, ...], loss: float) -> None:
        bus, ctx, clock = self.bus, self.ctx, self.ctx.clock
        wrap = bus.optimizer_step
        fresh = wrap is None  # a plugin around the step may change the weights before it
        for optimizer, need in zip(ctx.optimizers, self.needs):
            step = optimizer.step
            if need != "gradients":
                closure = self._evaluation(batch, need, loss if fresh else None)
                step = functools.partial(optimizer.step, closure)
            if wrap is None:
                step()
            else:
                wrap(step, optimizer, lambda: self._closure(batch))
            fresh = False  # the weights are others now
        for constraint in self.constraints:
            constraint.project(self.model)
        clock.step += 1
        h = bus.after_step
        if h is not None:
            h(clock.step)
        if ctx.schedulers:
            self.advance("step")

    def _rescale(self) -> None:
        """Let the scaler draw its conclusion; gradients that never become finite are an error."""
        scaler, clock = self.scaler, self.ctx.clock
        scaler.update(self.finite)
        if scaler.bad_steps >= PATIENCE:
            raise DivergenceError(
                f"{scaler.bad_steps} steps in a row were left out for gradients that are not finite, the last in epoch "
                f"{clock.epoch + 1}, batch {clock.batch + 1}, with {scaler!r}",
                hint='a lower learning rate, clip_norm=1.0, or precision="bfloat16"',
            )

    def _mean_loss(self, outputs: Any, targets: Any) -> Any:
        total, weight = loss_terms(self.loss, outputs, targets, None)
        return total / weight if weight else total

    def advance(self, now: str, figures: Any = None) -> None:
        """Move the schedulers on whose unit is due after an optimizer step ("step") or an epoch ("epoch")."""
        ctx, h = self.ctx, self.bus.scheduler_step
        for scheduler in ctx.schedulers:
            unit = unit_of(getattr(scheduler, "unit", "step"))
            if (unit == "epoch") == (now == "epoch"):
                position = getattr(ctx.clock, unit)
                core = getattr(scheduler, "scheduler", scheduler)
                metric = (figures or {}).get(core.monitor) if getattr(core, "metric_driven", False) else None
                position = position if h is None else h(position, unit, metric)
                scheduler.step(position) if metric is None else scheduler.step(position, metric)

    def _evaluation(self, batch: tuple[Any, ...], need: str, known: float | None) -> Callable[[], Any]:
        """What an optimizer calls for the loss of the batch; the first time, what is ``known`` already is not computed."""

        def evaluation() -> Any:
            nonlocal known
            first, known = known, None
            if need == "loss":
                if first is None or self.objective is None:
                    self._gradients(batch, keep=True)
                objective, self.objective = self.objective, None
                return objective
            return self._closure(batch) if first is None else first

        return evaluation

    def _closure(self, batch: tuple[Any, ...]) -> float:
        """Loss and fresh gradients of the same batch at the weights as they are now."""
        phase = self.ctx.phase
        self._zero_grad()
        _, loss_sum, weight, penalty = self._gradients(batch)
        if not self.finite:  # the weights may stand anywhere between two steps, so it cannot be left out
            raise DivergenceError(
                f"gradients that an optimizer asked for again are not finite under {self.scaler!r}",
                hint='precision="bfloat16" needs no scaling of the loss',
            )
        self.ctx.phase = phase
        return (loss_sum / weight if weight else 0.0) + penalty

    def _hook_parameters(self) -> list[Any]:
        """Let ``lunar_param_grad_ready`` see each parameter's gradient in the backward pass."""
        if self.bus.param_grad_ready is None:
            return []

        def hook_for(name: str, parameter: Any) -> Any:
            def hook(grad: Tensor) -> Tensor | None:
                h = self.bus.param_grad_ready
                if h is None:
                    return None
                result = h(name, parameter, grad.data)
                return None if result is grad.data else Tensor(result)

            return parameter.register_hook(hook)

        return [hook_for(name, parameter) for name, parameter in self.gradients.named]


def _check_needs(optimizers: list[Any], needs: list[str], clip_norm: float | None, micro_batches: int) -> None:
    """Raise HyperparameterError for an optimizer that this loop cannot give what it needs."""
    for optimizer, need in zip(optimizers, needs):
        name = type(optimizer).__name__
        if need not in ("gradients", "closure", "loss"):
            raise HyperparameterError(
                f"{name} steps by {need}, which the Trainer does not have",
                hint=f"write the loop yourself: help({name})",
            )
        if need == "loss" and (clip_norm is not None or micro_batches > 1):
            setting = "clip_norm" if clip_norm is not None else "micro_batches"
            raise HyperparameterError(
                f"{name} differentiates the loss itself, so {setting} has no gradients to work on",
                hint=f"leave {setting} out",
            )


def _detached(outputs: Any) -> Any:
    """``outputs`` outside of the graph, whatever containers a model returns its Tensors in."""
    if isinstance(outputs, Tensor):
        return outputs.detach()
    if isinstance(outputs, dict):
        return {key: _detached(value) for key, value in outputs.items()}
    if isinstance(outputs, (list, tuple)):
        return type(outputs)(_detached(value) for value in outputs)
    return outputs
