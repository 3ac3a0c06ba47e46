"""From what a user gives for a component (an object, a name, a configuration) to the component."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lunar_core.contracts.loss import Loss
from lunar_core.contracts.metric import Metric
from lunar_core.contracts.regularizer import Regularizer
from lunar_core.errors import HyperparameterError
from lunar_core.hookdispatch import plugin_name
from lunar_core.tensor import Tensor
from lunar_optimizers.hybrid import Hybrid


class FunctionLoss(Loss):
    """A plain function ``f(pred, target) -> mean over the examples`` in the place of a loss.

    Its sum is that mean times the number of examples, so totals over batches of any size are exact as long as the
    function is a mean over examples. It takes no sample weights.
    """

    def __init__(self, function: Callable[[Any, Any], Tensor]) -> None:
        self.function = function
        self.reduction = "mean"

    def terms(self, pred: Any, target: Any, weight: Any = None) -> tuple[Tensor, float]:
        if weight is not None:
            raise HyperparameterError(
                f"the loss {plain_name(self.function)} is a plain function, which takes no sample weights",
                hint="write a subclass of lunar_core.contracts.loss.Loss",
            )
        n = float(len(target))
        return self.function(pred, target) * n, n


def plain_name(function: Any) -> str:
    return getattr(function, "__name__", repr(function))


def component(kind: str, value: Any, *args: Any) -> Any:
    """``value`` itself, or the component that its name or configuration stands for, made with ``args``."""
    if isinstance(value, str):
        from lunar_core.plugins import registry

        return registry.create(kind, value, *args)
    if isinstance(value, Mapping):
        from lunar_core.config import from_config

        config = dict(value)
        if not any(str(key).startswith("@") for key in config):
            name = config.pop("name", None)
            if name is None:
                raise HyperparameterError(
                    f"{kind}: the configuration {value!r} does not say which {kind}",
                    hint=f'{{"@{kind}": "name", ...}}',
                )
            config = {f"@{kind}": name, **config}
        return from_config(config, *args)
    if isinstance(value, type):
        return value(*args)
    return value


def loss_of(value: Any) -> Any:
    """The loss for a Loss, a name, a configuration or a function of (pred, target)."""
    loss = component("loss", value)
    if isinstance(loss, Loss) or callable(getattr(loss, "terms", None)):
        return loss
    if callable(loss):
        return FunctionLoss(loss)
    raise HyperparameterError(
        f"loss: expected a loss, its name or a function, got {loss!r}", hint='loss="cross_entropy"'
    )


def metrics_of(value: Any) -> dict[str, Metric]:
    """Metrics by the name of their figure: the registry name, or the class's in words; repeated ones get a number."""
    if isinstance(value, Mapping) and not any(str(key).startswith("@") for key in value):
        given: list[tuple[str | None, Any]] = list(value.items())
    else:
        given = [(None, item) for item in _list(value)]
    found: dict[str, Metric] = {}
    for name, item in given:
        metric = component("metric", item)
        if not isinstance(metric, Metric):
            raise HyperparameterError(
                f"metrics: expected a metric or its name, got {metric!r}", hint='metrics=["accuracy"]'
            )
        base = name or (item.rpartition("/")[2] if isinstance(item, str) else plugin_name(metric))
        unique, count = base, 1
        while unique in found or unique == "loss":
            count += 1
            unique = f"{base}_{count}"
        found[unique] = metric
    return found


def optimizers_of(value: Any, model: Any) -> list[Any]:
    """Optimizers from objects, names or configurations, which are made with the model's parameters.

    One that stands alone shares the model with those that its ``train_with`` options name.
    """
    items = _list(value)
    if len(items) == 1 and isinstance(items[0], (str, Mapping, type)) and _names_optimizers(model):
        rest = items[0]
        items = [Hybrid(model, rest=lambda params: component("optimizer", rest, params))]
    made = [component("optimizer", item, model.parameters()) for item in items]
    for item in made:
        missing = [name for name in ("step", "zero_grad") if not callable(getattr(item, name, None))]
        if missing:
            raise HyperparameterError(
                f"Trainer: optimizer has to be an optimizer, its name or configuration, got {item!r}, "
                f"which has no {' and no '.join(missing)}",
                hint='optimizer="adam"',
            )
    return made


def _names_optimizers(model: Any) -> bool:
    rules = [part._rules for part in model.modules() if part._rules is not None]
    return any(options.get("optimizer") is not None for own in rules for _, options in own.said)


def check_owned(optimizers: Sequence[Any], model: Any) -> None:
    """Raise HyperparameterError for an optimizer that has parameters, but none of the model's.

    One that does not list its parameters in ``groups`` is taken at its word.
    """
    own = {id(parameter) for parameter in model.parameters()}
    for optimizer in optimizers:
        if callable(getattr(optimizer, "bind", None)):
            optimizer.bind()
        listed = [p for group in getattr(optimizer, "groups", ()) for p in getattr(group, "params", ())]
        if listed and not any(id(parameter) in own for parameter in listed):
            raise HyperparameterError(
                f"fit(): none of the {len(listed)} parameters of {type(optimizer).__name__} belongs to the model",
                hint="make the optimizer with the parameters of the model that is trained: model.parameters()",
            )


def regularizers_of(value: Any) -> list[Regularizer]:
    """Regularizers from objects, names or configurations."""
    made = [component("regularizer", item) for item in _list(value)]
    for item in made:
        if not callable(getattr(item, "terms", None)):
            raise HyperparameterError(f"regularizers: expected a regularizer, got {item!r}")
    return made


def plugins_of(value: Any) -> list[Any]:
    """Hook plugins from objects, modules, names of callbacks or configurations."""
    return [component("callback", item) if isinstance(item, (str, Mapping)) else item for item in _list(value)]


def _list(value: Any) -> Sequence[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
