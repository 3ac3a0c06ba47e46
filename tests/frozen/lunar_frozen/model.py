"""The FrozenModel model."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.model import Model
from lunar_layers.dense import Dense


class FrozenModel(Model):
    """A classifier of two hidden layers with a connection around the second.

    Shapes: x (N, ...), of which all but the batch axis is flattened -> y (N, num_classes), logits.
    Source: the shortcut of He et al. 2015, arXiv:1512.03385, between dense layers.
    """

    width: int = field(default=64, validator=positive, doc="units of each hidden layer")
    num_classes: int = field(default=10, validator=positive, doc="size of the result")

    def setup(self) -> None:
        self.first, self.second = Dense(self.width), Dense(self.width)
        self.head = Dense(self.num_classes)

    def forward(self, x: Any) -> Any:
        x = ops.relu(self.first(ops.flatten(x, start_axis=1)))
        return self.head(x + ops.relu(self.second(x)))
