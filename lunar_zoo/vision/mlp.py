"""Multilayer perceptron."""

from __future__ import annotations

from typing import Any

from lunar_activations.relu import ReLU
from lunar_core import ops
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.model import Model, template_of
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.sequential import Sequential


class MLP(Model):
    """Dense layers with an activation between them; the last layer gives logits.

    Shapes: x (N, ...), of which all but the batch axis is flattened -> y (N, num_classes).

    ``hidden`` lists the widths of the hidden layers, each followed by a copy of ``activation`` and, with ``dropout``
    above 0, a dropout layer. ``MLP(hidden=())`` is a linear classifier.
    """

    hidden: tuple[int, ...] = field(default=(64, 64), validator=positive, doc="widths of the hidden layers")
    num_classes: int = field(default=10, validator=positive, doc="size of the result")
    activation: Any = field(
        factory=ReLU, converter=template_of("activation"), doc="an activation, or the registry name of one"
    )
    dropout: float = field(
        default=0.0, validator=in_range(0, 1, include_high=False), doc="dropout after each hidden layer"
    )

    def setup(self) -> None:
        parts: list[Any] = []
        for width in self.hidden:
            parts += [Dense(width), self.activation()]
            if self.dropout:
                parts.append(Dropout(self.dropout))
        self.layers = Sequential(*parts, Dense(self.num_classes))

    def forward(self, x: Any) -> Any:
        return self.layers(ops.flatten(x, start_axis=1) if x.ndim > 2 else x)
