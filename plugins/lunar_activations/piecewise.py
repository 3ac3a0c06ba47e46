"""Activations of straight pieces: ReLU6, hard tanh, hard sigmoid, hard swish, threshold."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field
from lunar_core.contracts.activation import Activation

from . import functional
from .checks import greater_than, less_than


class ReLU6(Activation):
    """``min(max(x, 0), 6)``; the slope at both kinks is 0, as in PyTorch.

    Source: A. Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10, 2010, where the bound keeps early features
    sparse; made popular by MobileNet, where it suits low precision.
    """

    def forward(self, x: Any) -> Any:
        return functional.relu6(x)


class Hardtanh(Activation):
    """``min(max(x, min_val), max_val)``; the slope is 1 strictly between and 0 at the bounds, as in PyTorch.

    Source: R. Collobert, Large Scale Machine Learning, PhD thesis, Université Paris VI, 2004.
    """

    min_val: float = field(default=-1.0, validator=less_than("max_val"), doc="lower bound")
    max_val: float = field(default=1.0, validator=greater_than("min_val"), doc="upper bound")

    def forward(self, x: Any) -> Any:
        return functional.hardtanh(x, self.min_val, self.max_val)


class Hardsigmoid(Activation):
    """``min(max(x + 3, 0), 6) / 6``, straight from (-3, 0) to (3, 1); the slope at both kinks is 0.

    Source: A. Howard et al., Searching for MobileNetV3, arXiv:1905.02244, section 5.2; this is PyTorch's. The older
    one of M. Courbariaux et al. (BinaryConnect), with slope 1/5, is another function.
    """

    def forward(self, x: Any) -> Any:
        return functional.hardsigmoid(x)


class Hardswish(Activation):
    """``x * min(max(x + 3, 0), 6) / 6``; the slope is 0 at -3 and 1 at 3, as in PyTorch.

    Source: A. Howard et al., Searching for MobileNetV3, arXiv:1905.02244, section 5.2.
    """

    def forward(self, x: Any) -> Any:
        return functional.hardswish(x)


class Threshold(Activation):
    """``x`` where ``x > threshold``, else ``value``; the slope at the threshold is 0.

    ``Threshold(1.0, 0.0)`` is the thresholded rectifier of K. Konda, R. Memisevic and D. Krueger, Zero-bias
    Autoencoders, arXiv:1402.3337. The arguments are PyTorch's.
    """

    threshold: float = field(doc="inputs up to this one are replaced")
    value: float = field(doc="what they are replaced by")

    def forward(self, x: Any) -> Any:
        return functional.threshold(x, self.threshold, self.value)
