"""A small convolutional network for MNIST."""

from __future__ import annotations

from typing import Any

from lunar_activations.relu import ReLU
from lunar_core.component import field, positive
from lunar_core.contracts.model import Model
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.flatten import Flatten
from lunar_layers.pooling import MaxPool2D
from lunar_layers.sequential import Sequential


class MnistCNN(Model):
    """conv16 - pool - conv32 - pool - dense64 - dense: 3x3 "same" convolutions and 2x2 max pooling, ReLU throughout.

    Shapes: x (N, 1, 28, 28) -> logits (N, num_classes). Other channels and sizes work as well; at 28x28x1 and ten
    classes it has 105,866 parameters.
    """

    num_classes: int = field(default=10, validator=positive, doc="size of the result")

    def setup(self) -> None:
        self.layers = Sequential(
            Conv2D(16, 3, padding="same"), ReLU(), MaxPool2D(2),
            Conv2D(32, 3, padding="same"), ReLU(), MaxPool2D(2),
            Flatten(), Dense(64), ReLU(), Dense(self.num_classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.layers(x)
