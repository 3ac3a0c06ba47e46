"""The feed-forward part of a Transformer block."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from lunar_core.component import field, in_range, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import LunarError, ShapeError
from lunar_core.modes import modes
from lunar_core.op import Spec
from lunar_layers.checks import require_floating
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.initializers import XavierUniform, Zeros, as_initializer
from lunar_layers.parts import make_part, part

_PROBE = 5040  # divides by every number up to 10


class FeedForward(Layer):
    """``linear2(dropout(activation(linear1(x))))``, each token by itself.

    Shapes: x (..., features) -> y (..., features); ``linear1`` (rows, features), ``linear2`` (features,
    hidden_features), where rows is hidden_features times what the activation takes for one feature: 1, or 2 for gates
    (``"swiglu"``, ``"geglu"``, ``"reglu"``, ``"glu"``: the first half of the rows is the value, the second the gate).

    ``activation`` is one, its registry name or its configuration; it sees rows (tokens, hidden_features). By default
    ``hidden_features`` is 4 times the features, for gates 8/3 of them rounded up to a multiple of 8, which has the same
    number of weights. Weights start Xavier uniform, biases at zero.

    Source: A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762, equation 2; the gates N. Shazeer, GLU
    Variants Improve Transformer, arXiv:2002.05202, equation 6.

    Raises:
        ShapeError: inputs whose last axis has another size.
        DTypeError: integer inputs.
    """

    hidden_features: int | None = field(
        default=None, validator=positive, doc="width between the two maps; None follows from the input's"
    )
    activation: Any = field(default="relu", converter=part("activation"), doc="an activation, or its registry name")
    dropout: float = field(
        default=0.0, validator=in_range(0, 1, include_high=False), kw_only=True, doc="dropout between the two maps"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="add learned offsets")
    in_features: int | None = field(
        default=None, validator=positive, kw_only=True, doc="size of the last axis; None learns it"
    )
    weight_init: Initializer = field(
        factory=XavierUniform, converter=as_initializer, kw_only=True, doc="initializer of the weights"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of biases")

    def __attrs_post_init__(self) -> None:
        self.act = make_part("activation", self.activation)
        self.drop = Dropout(self.dropout) if self.dropout else None
        super().__attrs_post_init__()

    def input_spec(self) -> Spec | None:
        return None if self.in_features is None else Spec((1, self.in_features), modes.dtype)

    def build(self, x: Any) -> None:
        self._check(x)
        self.in_features = x.shape[-1]
        taken = taken_for_one(self.act)
        hidden = self.hidden_features
        if hidden is None:
            hidden = 4 * self.in_features if taken == 1 else 8 * math.ceil(8 * self.in_features / (3 * 8))
        inits = {"use_bias": self.use_bias, "weight_init": self.weight_init, "bias_init": self.bias_init}
        self.hidden_features = hidden
        self.linear1 = Dense(taken * hidden, in_features=self.in_features, **inits)
        self.linear2 = Dense(self.in_features, in_features=hidden, **inits)

    def forward(self, x: Any) -> Any:
        self._check(x)
        rows = x.reshape((-1, x.shape[-1])) if x.ndim != 2 else x
        y = self.act(self.linear1(rows))
        if self.drop is not None:
            y = self.drop(y)
        y = self.linear2(y)
        return y.reshape(x.shape) if x.ndim != 2 else y

    def _check(self, x: Any) -> None:
        require_floating(type(self).__name__, x)
        if not x.shape or not x.shape[-1] or self.in_features not in (None, x.shape[-1]):
            expected = "at least one feature" if self.in_features is None else f"a last axis of {self.in_features}"
            raise ShapeError(f"{type(self).__name__} expects inputs with {expected}, got {tuple(x.shape)}")


def taken_for_one(activation: Any) -> int:
    """How many features ``activation`` takes for each that it gives: 2 for a gate, 1 for most."""
    probe = copy.deepcopy(activation).eval()
    try:
        width = probe(np.zeros((2, _PROBE), np.float32)).shape[-1]
    except LunarError:  # sized for its layer already: its own error will tell if that does not fit
        return 1
    return max(_PROBE // width, 1)
