"""Penalties on singular values and on angles between units.

A weight is read as a matrix with a row for each unit or filter. All choose parameters as
:class:`~lunar_regularizers.choosing.Weights` says.
"""

from __future__ import annotations

import numpy as np

from lunar_core import backend, ops
from lunar_core.component import field, one_of
from lunar_core.tensor import Tensor

from .choosing import Weights, as_matrix


class Spectral(Weights):
    """``strength / 2 * sum of sigma_max(W) ** 2``, sigma_max the largest singular value.

    Yoshida and Miyato, Spectral Norm Regularization for Improving the Generalizability of Deep Learning (2017),
    arXiv:1705.10941, equation 3. The singular value is exact where the paper iterates, and its gradient ``u v^T``.
    """

    def penalty(self, w: Tensor) -> Tensor:
        return ops.square(ops.svdvals(as_matrix(w))[0]) * 0.5


class Nuclear(Weights):
    """``strength * sum of all singular values``, the convex envelope of the rank.

    Fazel, Hindi and Boyd, A Rank Minimization Heuristic with Application to Minimum Order System Approximation (2001).
    """

    def penalty(self, w: Tensor) -> Tensor:
        return ops.svdvals(as_matrix(w)).sum()


class Orthogonal(Weights):
    """Units that are orthogonal and of length one.

    Bansal, Chen and Wang, Can We Gain More from Orthogonality Regularizations in Training Deep CNNs? (2018),
    arXiv:1810.09102. With G = W W^T - I (units in the rows, the paper's W transposed):

    - ``mode="soft"``: ``||G||_F^2`` (equation 2);
    - ``mode="double"``: that and the same of W^T W - I (equation 5), for weights with more units than inputs;
    - ``mode="coherence"``: the largest element of |G| (equation 6);
    - ``mode="srip"`` (the paper's best): the spectral norm of G (equation 8), exact where the paper takes two rounds of
      power iteration.
    """

    mode: str = field(default="soft", validator=one_of("soft", "double", "coherence", "srip"))

    def penalty(self, w: Tensor) -> Tensor:
        matrix = as_matrix(w)
        gram = self.gram(matrix)
        if self.mode == "coherence":
            return ops.absolute(gram).max()
        if self.mode == "srip":
            return ops.absolute(ops.eigvalsh(gram)).max()
        total = ops.square(gram).sum()
        return total if self.mode == "soft" else total + ops.square(self.gram(ops.swapaxes(matrix, 0, 1))).sum()

    def gram(self, matrix: Tensor) -> Tensor:
        """``M M^T - I``."""
        owner = backend.of(matrix.data)
        eye = owner.from_numpy(np.eye(matrix.shape[0], dtype=matrix.dtype), owner.device_of(matrix.data))
        return matrix @ ops.swapaxes(matrix, 0, 1) - Tensor(eye)
