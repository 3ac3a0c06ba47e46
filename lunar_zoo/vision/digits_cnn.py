"""A small convolutional network for the 8x8 digits."""

from __future__ import annotations

from typing import Any

from lunar_activations.relu import ReLU
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.model import Model
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.flatten import Flatten
from lunar_layers.normalization import BatchNorm2D
from lunar_layers.pooling import MaxPool2D
from lunar_layers.sequential import Sequential


class DigitsCNN(Model):
    """conv16 - conv32 - pool - conv64 - pool - dropout - dense, each 3x3 convolution with batch normalisation and ReLU.

    Shapes: x (N, 1, 8, 8) -> logits (N, num_classes). Other channels and sizes from 4x4 on work as well; at 8x8x1 and
    ten classes it has 25,978 parameters. The convolutions have no bias, the normalisation after them has.
    """

    channels: tuple[int, int, int] = field(default=(16, 32, 64), validator=positive, doc="channels of the convolutions")
    num_classes: int = field(default=10, validator=positive, doc="size of the result")
    dropout: float = field(
        default=0.5, validator=in_range(0, 1, include_high=False), doc="dropout before the last layer"
    )

    def setup(self) -> None:
        self.layers = Sequential(
            *self._block(0), *self._block(1), MaxPool2D(2), *self._block(2), MaxPool2D(2),
            Flatten(), Dropout(self.dropout), Dense(self.num_classes),
        )  # fmt: skip

    def _block(self, i: int) -> list[Any]:
        return [Conv2D(self.channels[i], 3, padding="same", use_bias=False), BatchNorm2D(), ReLU()]

    def forward(self, x: Any) -> Any:
        return self.layers(x)
