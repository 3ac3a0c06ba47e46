"""What the regularizers of weights share: the choice of parameters, the sum over them."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, non_negative
from lunar_core.contracts.regularizer import Regularizer
from lunar_core.dtypes import is_floating
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.ops.creation import zeros
from lunar_core.selecting import fits
from lunar_core.tensor import Tensor


def choose(owner: str, model: Any, patterns: tuple[str, ...], vectors: bool) -> dict[str, Any]:
    """The trainable parameters that a glob of ``patterns`` names, or that lie below a module it names.

    Parameters with fewer than two axes are left out unless ``vectors``. Raises StateError for a pattern that matches
    no parameter of the model.
    """
    named = dict(model.named_parameters())
    names: set[str] = set()
    for pattern in patterns:
        hits = [n for n in named if fits(n, pattern)]
        if not hits:
            hint = f"names are like {', '.join(list(named)[:4])}" if named else "the model has no parameters"
            raise StateError(f"{owner}: no parameter matches {pattern!r}", hint=hint)
        names.update(hits)
    return {n: p for n, p in named.items() if n in names and p.requires_grad and (vectors or p.ndim > 1)}


def nothing(model: Any) -> Tensor:
    """A zero where the parameters of ``model`` are."""
    for parameter in model.parameters():
        return zeros((), dtype=parameter.dtype if is_floating(parameter.dtype) else None, device=parameter.device)
    return zeros(())


class Weights(Regularizer):
    """Base of penalties that are sums over parameters: write ``penalty(w)``.

    Chosen are the trainable parameters whose dotted name matches one of the glob ``patterns``, or lies below a module
    that does. Parameters with fewer than two axes are left out, which are biases and the scales and shifts of
    normalisation layers, unless ``include_vectors``.

    Raises:
        StateError: a pattern that matches no parameter of the model.
    """

    strength: float = field(default=1e-4, validator=non_negative, doc="what the penalty is multiplied by")
    patterns: tuple[str, ...] = field(default=("*",), doc="globs over dotted parameter names")
    include_vectors: bool = field(default=False, doc="count biases and normalisation parameters too")

    def __attrs_post_init__(self) -> None:
        if not self.patterns:
            name = type(self).__name__
            raise HyperparameterError(f"{name}: patterns is empty", hint='patterns=("*",) chooses all parameters')

    def chosen(self, model: Any) -> dict[str, Any]:
        """The parameters that are penalised, by name."""
        return choose(type(self).__name__, model, self.patterns, self.include_vectors)

    def penalty(self, w: Tensor) -> Tensor:
        """The penalty on one parameter before it is multiplied by ``strength``."""
        raise NotImplementedError(f"{type(self).__name__} defines no penalty()")

    def terms(self, model: Any) -> tuple[Tensor, float]:  # type: ignore[override]
        """(penalty, 1.0); the penalty is 0 when nothing is chosen."""
        total: Any = None
        for parameter in self.chosen(model).values():
            part = self.penalty(parameter)
            total = part if total is None else total + part
        return (nothing(model) if total is None else total * self.strength), 1.0


def as_matrix(w: Tensor) -> Tensor:
    """(out, everything else): a row for each unit or filter."""
    return w if w.ndim == 2 else w.reshape(w.shape[0], -1) if w.ndim > 2 else w.reshape(1, -1)
