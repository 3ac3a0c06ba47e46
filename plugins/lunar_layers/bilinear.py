"""Bilinear: a form in two inputs."""

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
from lunar_layers.initializers import Uniform, Zeros, as_initializer


class Bilinear(Layer):
    """``y_k = a^T W_k b + bias_k``, a bilinear form in two inputs for each output.

    Shapes: a (..., in1_features), b (..., in2_features) with equal leading axes -> y (..., out_features); ``weight``
    (out_features, in1_features, in2_features), ``bias`` (out_features,), both laid out as ``torch.nn.Bilinear``'s. The
    input sizes are learned from the first call unless both are given.

    Weights start uniform within ``1 / sqrt(in1_features)``, as in PyTorch, unless ``weight_init`` says otherwise;
    biases at zero.

    Raises:
        ShapeError: inputs whose last axes have other sizes, or whose leading axes differ.
        DTypeError: integer inputs.
    """

    out_features: int = field(validator=positive, doc="size of the last axis of the result")
    in1_features: int | None = field(
        default=None, validator=positive, kw_only=True, doc="size of the first input's last axis; None learns it"
    )
    in2_features: int | None = field(
        default=None, validator=positive, kw_only=True, doc="size of the second input's last axis; None learns it"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="add a learned offset")
    weight_init: Initializer | None = field(
        default=None, converter=as_initializer, kw_only=True, doc="initializer of weight; None as said above"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.in1_features is not None and self.in2_features is not None:
            self.ensure_built(*(Spec((1, n), modes.dtype) for n in (self.in1_features, self.in2_features)))

    def build(self, a: Any, b: Any) -> None:
        self._check(a, b)
        self.in1_features, self.in2_features = a.shape[-1], b.shape[-1]
        bound = self.in1_features**-0.5
        start = Uniform(-bound, bound) if self.weight_init is None else self.weight_init
        self.weight = Parameter(start((self.out_features, self.in1_features, self.in2_features)))  # (out, in1, in2)
        self.bias = Parameter(self.bias_init((self.out_features,))) if self.use_bias else None  # (out,)

    def forward(self, a: Any, b: Any) -> Any:
        self._check(a, b)
        return ops.bilinear(a, b, self.weight, self.bias)

    def _check(self, a: Any, b: Any) -> None:
        for x in (a, b):
            require_floating("Bilinear", x)
        fits = all(
            len(x.shape) and x.shape[-1] and n in (None, x.shape[-1])
            for x, n in ((a, self.in1_features), (b, self.in2_features))
        )
        if not fits or tuple(a.shape[:-1]) != tuple(b.shape[:-1]):
            sizes = [str(n) if n else "any size" for n in (self.in1_features, self.in2_features)]
            raise ShapeError(
                f"Bilinear expects inputs whose last axes are {sizes[0]} and {sizes[1]} and whose other axes agree, "
                f"got {tuple(a.shape)} and {tuple(b.shape)}"
            )
