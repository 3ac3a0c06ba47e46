"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lunar_core.component import Factory, field, hyperparameter_error
from lunar_core.contracts.loss import Loss
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.suggest import did_you_mean
from lunar_core.tensor import Tensor


class Composite(Loss):
    """``sum over names of weights[name] * losses[name]``, each term the mean over its own total weight::

        Composite({"segment": CrossEntropy(), "overlap": Dice()}, weights={"overlap": 0.5})

    Every term sees the same ``pred`` and ``target``; of a dict of predictions, or of targets, it gets the entry of its
    name, as do the auxiliary heads of a deeply supervised model. A term without an entry in ``weights`` counts 1. A term
    that weighs nothing in a batch, such as labels that are all ignored, adds nothing.

    After a call ``parts`` holds sum and weight of each term, without its factor; the Trainer logs them as
    ``loss.segment`` and ``loss.overlap``, exact over batches of any size. The weight of the whole is that of the first
    term, so the whole is exact over uneven batches too where the terms' weights are in proportion, and else nearly so.

    Shapes are those of the terms. ``reduction`` is "mean" or "sum", the latter times the weight of the whole; the
    terms' own does not matter.

    Raises:
        HyperparameterError: no losses, weights of others, or the reduction "none".
        ShapeError: a dict of predictions or targets without a term's name.
    """

    losses: dict[str, Loss] = field(doc="the terms by name")
    weights: dict[str, float] = field(default=Factory(dict), doc="factors of the terms; 1 where nothing is said")

    def __attrs_post_init__(self) -> None:
        if not self.losses:
            raise hyperparameter_error(self, "losses", self.losses, "at least one loss by its name")
        for name in self.weights:
            if name not in self.losses:
                raise HyperparameterError(
                    f"Composite: weights has {name!r}, which is none of {', '.join(self.losses)}",
                    hint=did_you_mean(name, self.losses) or None,
                )
        if self.reduction == "none":
            raise hyperparameter_error(self, "reduction", "none", "mean or sum: the terms' elements do not match")
        self.parts = {}

    def terms(self, pred: Any, target: Any = None, weight: Any = None) -> tuple[Tensor, float]:
        """(the weighted sum of the terms' means times the weight, the weight of the first term that has one)."""
        found = {
            name: loss.terms(_own(name, "predictions", pred), _own(name, "targets", target), weight)
            for name, loss in self.losses.items()
        }
        self.parts = {name: (total.detach(), size) for name, (total, size) in found.items()}
        for name, loss in self.losses.items():  # a composite among the terms has terms of its own
            self.parts.update({f"{name}.{inner}": part for inner, part in loss.parts.items()})
        base = next((size for _, size in found.values() if size), 0.0)
        whole: Any = None
        for name, (total, size) in found.items():
            term = total * (self.weights.get(name, 1.0) * (base / size if size else 1.0))
            whole = term if whole is None else whole + term
        return whole, base


def _own(name: str, what: str, values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    if name not in values:
        raise ShapeError(f"Composite: the {what} have {', '.join(map(str, values))}, but nothing for the term {name!r}")
    return values[name]
