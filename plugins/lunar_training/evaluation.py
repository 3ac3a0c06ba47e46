"""Passes without gradients: evaluation and prediction."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core.errors import DataError
from lunar_core.hooks import Pairs
from lunar_core.modes import no_grad
from lunar_core.tensor import Tensor

from .context import Context
from .data import Placer, loss_terms
from .loop import Totals
from .signals import Interrupted


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module is in the mode in which it was, frozen ones included."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def switching(optimizers: Any) -> list[Any]:
    """The optimizers that train other weights than those that are to be judged, such as averages."""
    return [o for o in optimizers if all(callable(getattr(o, name, None)) for name in ("eval", "train"))]


@contextlib.contextmanager
def averaged(optimizers: Any) -> Iterator[None]:
    """The weights that are to be judged in place, of optimizers that train others (``eval()`` and ``train()``).

    Those that have them in place already keep them.
    """
    switched = [o for o in switching(optimizers) if not getattr(o, "averaged", False)]
    try:
        for optimizer in switched:
            optimizer.eval()
        yield
    finally:
        for optimizer in switched:
            optimizer.train()


def evaluate(
    ctx: Context, loader: Any, name: str, loss: Any, metrics: dict[str, Any], placer: Placer, pairs: Pairs
) -> dict[str, float]:
    """Loss and metrics of ``ctx.model`` over ``loader``, exact whatever the sizes of the batches."""
    bus, model = ctx.bus, ctx.model
    totals = Totals()
    own = {key: copy.deepcopy(metric) for key, metric in metrics.items()}
    for metric in own.values():
        metric.reset()
    stage, phase = ctx.stage, ctx.phase
    ctx.stage, ctx.phase = "eval", "eval"
    depth = len(pairs)
    pairs.open("eval_start", (name,), "eval_end", (name, {}))
    pairs.open("stage_start", ("eval", loader), "stage_end", ("eval", loader))
    try:
        with no_grad(), evaluating(model), averaged(ctx.optimizers), ctx.autocast():
            for batch in loader:
                if ctx.interrupt:
                    raise Interrupted
                pairs.open("eval_batch_start", (batch,), "eval_batch_end", (batch, None))
                placed = tuple([placer(part) for part in batch])
                outputs = forward(ctx, placed[0])
                targets, weights = placed[1], placed[2] if len(placed) > 2 else None
                total, weight = loss_terms(loss, outputs, Tensor(targets), None if weights is None else Tensor(weights))
                totals.loss += total.item()
                totals.weight += weight
                totals.batches += 1
                totals.add_parts(getattr(loss, "parts", {}))
                for metric in own.values():
                    metric.update(outputs, targets, weights)
                pairs.close("eval_batch_end", batch, outputs)
        if not totals.batches:
            raise DataError(f"evaluation {name!r}: the loader gave no batch")
        pairs.close("stage_end", "eval", loader)
        return pairs.close("eval_end", name, {"loss": totals.mean(), **totals.part_means(), **figures(bus, own)})
    except BaseException as exc:
        pairs.close_to(depth, exc)
        raise
    finally:
        ctx.stage, ctx.phase = stage, phase


def predict(ctx: Context, loader: Any, placer: Placer, pairs: Pairs) -> Any:
    """The outputs of ``ctx.model`` for the inputs of ``loader``, on the host, one after the other."""
    stage, phase = ctx.stage, ctx.phase
    ctx.stage, ctx.phase = "predict", "predict"
    pairs.open("predict_start", (), "predict_end", (None,))
    pairs.open("stage_start", ("predict", loader), "stage_end", ("predict", loader))
    parts = []
    try:
        with no_grad(), evaluating(ctx.model), averaged(ctx.optimizers), ctx.autocast():
            for batch in loader:
                pairs.open("predict_batch_start", (batch,), "predict_batch_end", (batch, None))
                outputs = _to_host(forward(ctx, placer(batch[0])))
                pairs.close("predict_batch_end", batch, outputs)
                parts.append(outputs)
        pairs.close("stage_end", "predict", loader)
        return pairs.close("predict_end", _joined(parts))
    finally:
        ctx.stage, ctx.phase = stage, phase


def forward(ctx: Context, array: Any) -> Any:
    """The model's outputs for a placed batch of inputs, through the forward hooks."""
    inputs = Tensor(array)
    h = ctx.bus.before_forward
    if h is not None:
        inputs = h(inputs)
    outputs = ctx.model(inputs)
    h = ctx.bus.after_forward
    return outputs if h is None else h(outputs)


def figures(bus: Any, metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics' values by name, through ``lunar_metric_compute``; a metric of several figures gives ``name.key``."""
    found: dict[str, Any] = {}
    for name, metric in metrics.items():
        value = metric.compute()
        if bus.metric_compute is not None:
            value = bus.metric_compute(name, value)
        if isinstance(value, dict):
            found.update({f"{name}.{key}": item for key, item in value.items()})
        else:
            found[name] = value
    return found


def _to_host(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return backend.of(outputs.data).to_numpy(outputs.data)
    if isinstance(outputs, dict):
        return {key: _to_host(value) for key, value in outputs.items()}
    if isinstance(outputs, (list, tuple)):
        return tuple(_to_host(value) for value in outputs)
    raise DataError(f"predict: the model returned {type(outputs).__name__}, expected Tensors or containers of them")


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, tuple):
        return tuple(_joined([part[i] for part in parts]) for i in range(len(first)))
    return np.concatenate(parts) if len(parts) > 1 else np.array(first)
