"""Smooth activations of one formula: SiLU, Mish, softplus, softsign, log-sigmoid."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, positive
from lunar_core.contracts.activation import Activation

from . import functional


class SiLU(Activation):
    """``x * sigmoid(beta * x)``: SiLU with ``beta = 1``, the default, and Swish in general.

    As ``beta`` grows it approaches ReLU.

    Source: S. Elfwing et al., arXiv:1702.03118 (SiLU); P. Ramachandran et al., Searching for Activation Functions,
    arXiv:1710.05941 (Swish; ``beta`` is a constant here, not learned).
    """

    beta: float = field(default=1.0, doc="steepness of the gate")

    def forward(self, x: Any) -> Any:
        return functional.silu(x, self.beta)


class Mish(Activation):
    """``x * tanh(log(1 + exp(x)))``, without overflow or cancellation.

    Source: D. Misra, Mish: A Self Regularized Non-Monotonic Activation Function, arXiv:1908.08681.
    """

    def forward(self, x: Any) -> Any:
        return functional.mish(x)


class Softplus(Activation):
    """``log(1 + exp(beta * x)) / beta``: a smooth, positive ReLU, without overflow.

    PyTorch gives ``x`` itself where ``beta * x > 20``; here the formula holds everywhere, which differs by 2e-9 at most.

    Source: C. Dugas et al., Incorporating Second-Order Functional Knowledge for Better Option Pricing, NIPS 2000.
    """

    beta: float = field(default=1.0, validator=positive, doc="sharpness of the bend")

    def forward(self, x: Any) -> Any:
        return functional.softplus(x, beta=self.beta)


class Softsign(Activation):
    """``x / (1 + |x|)``, between -1 and 1, which it approaches more slowly than tanh.

    Source: J. Turian, J. Bergstra and Y. Bengio, Quadratic Features and Deep Architectures for Chunking, NAACL 2009.
    """

    def forward(self, x: Any) -> Any:
        return functional.softsign(x)


class LogSigmoid(Activation):
    """``log(1 / (1 + exp(-x)))``, negative, close to ``x`` where that is very negative; without overflow."""

    def forward(self, x: Any) -> Any:
        return functional.log_sigmoid(x)
