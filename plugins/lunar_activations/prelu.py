"""Rectifiers whose negative slope is learned or drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend
from lunar_core.component import field, positive
from lunar_core.contracts.activation import Activation
from lunar_core.errors import DTypeError, ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec

from . import functional
from .checks import at_least, at_most


class PReLU(Activation):
    """``x`` where ``x > 0``, else ``weight * x`` with a learned ``weight``; the slope at 0 is the weight.

    Shapes: x (N, C, ...) -> the same; ``weight`` (num_parameters,). By default there is one weight for each place on
    ``axis``, counted at the first call (the paper's channel-wise variant); ``num_parameters=1`` shares one weight
    (its channel-shared variant, and PyTorch's default), and another number fixes the size at once. The weights start
    at 0.25, take the dtype and device of the first input, and should be left out of weight decay, which draws them to
    the plain ReLU.

    Raises:
        ShapeError: ``axis`` is missing or has another size.
        DTypeError: integer inputs.

    Source: K. He et al., Delving Deep into Rectifiers, arXiv:1502.01852, section 2.1.
    """

    num_parameters: int | None = field(
        default=None, validator=positive, doc="number of weights; None counts the channels"
    )
    init: float = field(default=0.25, doc="the value that the weights start with")
    axis: int = field(default=1, kw_only=True, doc="the axis of the channels")

    def input_spec(self) -> Spec | None:
        if self.num_parameters is None:
            return None
        shape = [1] * (self.axis + 1 if self.axis >= 0 else -self.axis)
        shape[self.axis] = self.num_parameters
        return Spec(tuple(shape), modes.dtype)

    def build(self, x: Any) -> None:
        if getattr(x, "dtype", None) is None or x.dtype.kind in "biu":
            raise DTypeError(f"PReLU expects floating-point inputs, got {getattr(x, 'dtype', type(x).__name__)}")
        if self.num_parameters is None:
            if not -len(x.shape) <= self.axis < len(x.shape):
                raise ShapeError(
                    f"PReLU counts its weights on axis {self.axis}, which inputs of shape {tuple(x.shape)} do not have",
                    hint="PReLU(num_parameters=1) has one weight for all elements",
                )
            self.num_parameters = x.shape[self.axis]
        values = np.full(self.num_parameters, self.init, dtype=modes.dtype)
        self.weight = Parameter(backend.for_device(modes.device).from_numpy(values, modes.device))  # (num_parameters,)

    def forward(self, x: Any) -> Any:
        return functional.prelu(x, self.weight, self.axis)


class RReLU(Activation):
    """``x`` where ``x > 0``, else ``a * x``; in training ``a`` is uniform on ``[lower, upper)`` for each element.

    In evaluation ``a`` is the mean, ``(lower + upper) / 2``. The slopes come from the random stream "rrelu". The slope
    at 0 is ``a``. The defaults are PyTorch's, 1/8 and 1/3; the paper writes them as 1/a with a in [3, 8].

    Source: B. Xu et al., Empirical Evaluation of Rectified Activations in Convolutional Network, arXiv:1505.00853,
    section 2.4.
    """

    lower: float = field(default=1 / 8, validator=at_most("upper"), doc="least slope")
    upper: float = field(default=1 / 3, validator=at_least("lower"), doc="bound of the slopes")

    def forward(self, x: Any) -> Any:
        return functional.rrelu(x, self.lower, self.upper, self.training)
