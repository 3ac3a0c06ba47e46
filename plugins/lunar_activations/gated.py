"""Gated linear units: one half of the features gates the other.

Shapes: x (..., 2 n, ...) -> (..., n, ...) along ``axis``, by default the last one. The first half is the value ``a``,
the second one the gate ``b``, in PyTorch's order for GLU. A layer of 2 n outputs before it holds the paper's two
matrices, V for the first n rows and W for the others.
"""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, one_of
from lunar_core.contracts.activation import Activation

from . import functional


class GLU(Activation):
    """``a * sigmoid(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis``: x (..., 2 n) -> (..., n).

    Source: Y. N. Dauphin et al., Language Modeling with Gated Convolutional Networks, arXiv:1612.08083, equation 1.

    Raises:
        ShapeError: the axis is missing or has an odd size.
    """

    axis: int = field(default=-1, doc="the axis that is halved")

    def forward(self, x: Any) -> Any:
        return functional.glu(x, self.axis)


class SwiGLU(Activation):
    """``a * silu(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis``: x (..., 2 n) -> (..., n).

    Checkpoints of fused layers that store the gate first (such as Phi-3's) need their halves exchanged.

    Source: N. Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202, equation 5, with beta 1 as in equation 6.

    Raises:
        ShapeError: the axis is missing or has an odd size.
    """

    axis: int = field(default=-1, doc="the axis that is halved")

    def forward(self, x: Any) -> Any:
        return functional.swiglu(x, self.axis)


class GEGLU(Activation):
    """``a * gelu(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis``: x (..., 2 n) -> (..., n).

    ``approximate`` is that of :class:`~lunar_activations.gelu.GELU`.

    Source: N. Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202, equation 5.

    Raises:
        ShapeError: the axis is missing or has an odd size.
    """

    axis: int = field(default=-1, doc="the axis that is halved")
    approximate: str = field(default="none", validator=one_of("none", "tanh"), doc="exact, or the tanh approximation")

    def forward(self, x: Any) -> Any:
        return functional.geglu(x, self.axis, self.approximate)


class ReGLU(Activation):
    """``a * relu(b)`` for the halves ``a``, ``b`` of ``x`` along ``axis``: x (..., 2 n) -> (..., n).

    Source: N. Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202, equation 5.

    Raises:
        ShapeError: the axis is missing or has an odd size.
    """

    axis: int = field(default=-1, doc="the axis that is halved")

    def forward(self, x: Any) -> Any:
        return functional.reglu(x, self.axis)
