"""L2 penalty."""

from __future__ import annotations

import fnmatch
from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative
from lunar_core.contracts.regularizer import Regularizer
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.ops.creation import zeros
from lunar_core.tensor import Tensor


class L2(Regularizer):
    """``strength / 2 * sum(w ** 2)`` over the chosen parameters, so that its gradient is ``strength * w``.

    With plain SGD it is the same as ``weight_decay=strength``; with Adam it is not what AdamW does, since the gradient
    of the penalty passes through Adam's scaling. Keras' ``L2(l)`` is this with ``strength = 2 * l``.

    Chosen are the trainable parameters whose dotted name matches one of the glob ``patterns``, or lies below a module
    that does. Parameters with fewer than two axes are left out, which are biases and the scales and shifts of
    normalisation layers, unless ``include_vectors``.

    Raises:
        StateError: a pattern that matches no parameter of the model.
    """

    strength: float = field(default=1e-4, validator=non_negative, doc="gradient per unit of weight")
    patterns: tuple[str, ...] = field(default=("*",), doc="globs over dotted parameter names")
    include_vectors: bool = field(default=False, doc="count biases and normalisation parameters too")

    def __attrs_post_init__(self) -> None:
        if not self.patterns:
            raise HyperparameterError("L2: patterns is empty", hint='patterns=("*",) chooses all parameters')

    def chosen(self, model: Any) -> dict[str, Any]:
        """The parameters that are penalised, by name."""
        named = dict(model.named_parameters())
        names: set[str] = set()
        for pattern in self.patterns:
            hits = [n for n in named if fnmatch.fnmatchcase(n, pattern) or fnmatch.fnmatchcase(n, pattern + ".*")]
            if not hits:
                hint = f"names are like {', '.join(list(named)[:4])}" if named else "the model has no parameters"
                raise StateError(f"L2: no parameter matches {pattern!r}", hint=hint)
            names.update(hits)
        return {
            name: parameter
            for name, parameter in named.items()
            if name in names and parameter.requires_grad and (self.include_vectors or parameter.ndim > 1)
        }

    def terms(self, model: Any) -> tuple[Tensor, float]:
        """(penalty, 1.0); the penalty is 0 when nothing is chosen."""
        total: Any = None
        for parameter in self.chosen(model).values():
            squares = ops.square(parameter).sum()
            total = squares if total is None else total + squares
        return (zeros(()) if total is None else total * (0.5 * self.strength)), 1.0
