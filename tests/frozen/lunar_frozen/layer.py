"""The FrozenLayer layer."""

from __future__ import annotations

from typing import Any

from lunar_core import Parameter, ops
from lunar_core.component import field
from lunar_core.contracts.layer import Layer
from lunar_core.ops.creation import full, zeros


class FrozenLayer(Layer):
    """A learned gate on each feature, ``y = x * sigmoid(weight * x + bias)``.

    Shapes: x (..., features) -> y (..., features); ``weight`` and ``bias`` (features,). The number of features is
    learned from the first call. Source: Ramachandran et al. 2017, arXiv:1710.05941 (Swish), with a learned gate for each
    feature.
    """

    gain: float = field(default=1.0, doc="value of every weight at the start")

    def build(self, x: Any) -> None:
        features = x.shape[-1]
        self.weight = Parameter(
            full((features,), self.gain)
        )  # of the dtype and on the device of x, as all that is made here
        self.bias = Parameter(zeros((features,)))

    def forward(self, x: Any) -> Any:
        return x * ops.sigmoid(self.weight * x + self.bias)
