"""Affine maps of the last axis: Dense and Linear."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.checks import require_floating
from lunar_layers.initializers import HeNormal, Zeros, as_initializer


class Dense(Layer):
    """Affine map of the last axis, ``y = x W^T + b``.

    Shapes: x (..., in_features) -> y (..., out_features); ``weight`` (out_features, in_features), ``bias``
    (out_features,), both laid out as PyTorch's. The input size is learned from the first call, whose dtype and device
    the parameters take, unless ``in_features`` says it.

    Weights start as :class:`~lunar_layers.initializers.HeNormal`, biases at zero; PyTorch starts both uniform within
    ``1 / sqrt(in_features)``. ``weight_init`` and ``bias_init`` take an initializer or the registry name of one.

    Raises:
        ShapeError: inputs whose last axis has another size.
        DTypeError: integer inputs.
    """

    out_features: int = field(validator=positive, doc="size of the last axis of the result")
    in_features: int | None = field(
        default=None, validator=positive, kw_only=True, doc="size of the last axis of the input; None learns it"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="add a learned offset")
    weight_init: Initializer = field(
        factory=HeNormal, converter=as_initializer, kw_only=True, doc="initializer of weight"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def input_spec(self) -> Spec | None:
        return None if self.in_features is None else Spec((1, self.in_features), modes.dtype)

    def build(self, x: Any) -> None:
        require_floating(type(self).__name__, x)
        if not x.shape or not x.shape[-1]:
            raise ShapeError(f"{type(self).__name__} expects inputs with at least one feature, got {tuple(x.shape)}")
        if self.in_features is not None and x.shape[-1] != self.in_features:
            raise self._misfit(x)
        self.in_features = x.shape[-1]
        self.weight = Parameter(self.weight_init((self.out_features, self.in_features)))  # (out, in)
        self.bias = Parameter(self.bias_init((self.out_features,))) if self.use_bias else None  # (out,)

    def forward(self, x: Any) -> Any:
        require_floating(type(self).__name__, x)
        if not x.shape or x.shape[-1] != self.in_features:
            raise self._misfit(x)
        return ops.linear(x, self.weight, self.bias)

    def _misfit(self, x: Any) -> ShapeError:
        return ShapeError(
            f"{type(self).__name__} expects inputs whose last axis is {self.in_features} "
            f"(weight is {(self.out_features, self.in_features)}), got {tuple(x.shape)}"
        )


class Linear(Dense):
    """:class:`Dense` with both sizes given, in PyTorch's order: ``Linear(in_features, out_features)``.

    The formula, the layout of the parameters and their start are those of ``Dense``; the parameters exist at once.
    """

    in_features: int = field(validator=positive, doc="size of the last axis of the input")
    out_features: int = field(validator=positive, doc="size of the last axis of the result")
    use_bias: bool = field(default=True, kw_only=True, doc="add a learned offset")
    weight_init: Initializer = field(
        factory=HeNormal, converter=as_initializer, kw_only=True, doc="initializer of weight"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")
