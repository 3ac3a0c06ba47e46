"""Penalties on activations. All choose modules as :class:`~lunar_regularizers.listening.Activations` says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lunar_core import backend, ops
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.regularizer import Seen
from lunar_core.errors import ShapeError
from lunar_core.tensor import Tensor

from .listening import Activations


def as_features(owner: str, a: Tensor) -> Tensor:
    """(batch, features), all axes but the first flattened."""
    if a.ndim < 2:
        raise ShapeError(f"{owner}: expected activations (batch, ...), got shape {a.shape}")
    return a if a.ndim == 2 else a.reshape(a.shape[0], -1)


class Activity(Activations):
    """``strength * (l1 * sum(|a|) + l2 * sum(a ** 2)) / batch``.

    Keras' ``ActivityRegularization(l1, l2)`` and the ``activity_regularizer`` of its layers, which divide by the batch
    as well.
    """

    l1: float = field(default=0.0, validator=non_negative, doc="weight of the absolute values")
    l2: float = field(default=0.01, validator=non_negative, doc="weight of the squares")

    def penalty(self, a: Tensor) -> Tensor:
        n = a.shape[0] if a.ndim else 1
        return (ops.absolute(a).sum() * self.l1 + ops.square(a).sum() * self.l2) * (1.0 / n)


class Entropy(Activations):
    """``-strength * mean entropy of softmax(a)``: outputs that are too sure cost something.

    Pereyra et al., Regularizing Neural Networks by Penalizing Confident Output Distributions (2017), arXiv:1701.06548,
    the confidence penalty of section 2; the paper's best strengths are 0.1 to 1. Activations are logits, classes on the
    last axis.
    """

    strength: float = field(default=0.1, validator=non_negative, doc="beta")

    def penalty(self, a: Tensor) -> Tensor:
        logs = ops.log_softmax(a, axis=-1)
        return (ops.exp(logs) * logs).sum(axis=-1).mean()


class Variance(Activations):
    """``strength * mean over features of max(0, target - sqrt(Var + eps))``: no feature may collapse.

    Bardes, Ponce and LeCun, VICReg: Variance-Invariance-Covariance Regularization (2021), arXiv:2105.04906, equation 1,
    with its gamma 1 and epsilon 1e-4. The variance is over the batch and unbiased, as in the authors' code.

    Raises ShapeError for fewer than two examples.
    """

    target: float = field(default=1.0, validator=positive, doc="gamma, the standard deviation that is wanted")
    eps: float = field(default=1e-4, validator=positive, doc="added to the variance")

    def penalty(self, a: Tensor) -> Tensor:
        z = as_features("Variance", a)
        if z.shape[0] < 2:
            raise ShapeError(f"Variance: expected at least 2 examples, got shape {a.shape}")
        centred = z - z.mean(axis=0, keepdims=True)
        variance = ops.square(centred).sum(axis=0) * (1.0 / (z.shape[0] - 1))
        return ops.relu(self.target - ops.sqrt(variance + self.eps)).mean()


class Diversity(Activations):
    """``strength / 2 * (||C||_F^2 - ||diag(C)||^2)``, C the covariance of the features over the batch.

    Cogswell et al., Reducing Overfitting in Deep Networks by Decorrelating Representations (2015), arXiv:1511.06068,
    equation 2 (DeCov). C is divided by the batch size, as there.
    """

    def penalty(self, a: Tensor) -> Tensor:
        h = as_features("Diversity", a)
        centred = h - h.mean(axis=0, keepdims=True)
        c = ops.swapaxes(centred, 0, 1) @ centred * (1.0 / h.shape[0])
        owner = backend.of(c.data)
        off = owner.from_numpy(1.0 - np.eye(c.shape[0], dtype=c.dtype), owner.device_of(c.data))
        return ops.square(c * Tensor(off)).sum() * 0.5


class AttentionEntropy(Activations):
    """``strength * mean over rows of (log n - H(row))`` for attention weights (..., queries, n keys).

    Zhai et al., Stabilizing Transformer Training by Preventing Attention Entropy Collapse (2023), arXiv:2303.06296,
    whose section 3 defines the entropy H of attention rows and shows that it falls before training breaks down. The
    penalty is what a row lacks of the largest entropy, never negative. ``modules`` have to give rows that sum to one,
    such as the softmax inside of an attention layer; masked keys have weight zero.
    """

    strength: float = field(default=0.01, validator=non_negative, doc="what the penalty is multiplied by")

    def penalty(self, a: Tensor) -> Tensor:
        # a log a goes to 0 with a, and so that its gradient stays finite the logarithm is taken of 1 there.
        entropy = -(a * ops.log(ops.where(a > 0, a, 1.0))).sum(axis=-1)
        return (math.log(a.shape[-1]) - entropy).mean()


class InformationBottleneck(Activations):
    """``strength * mean over the batch of KL(N(mu, sigma ** 2) || N(0, 1))``, summed over the code.

    Alemi et al., Deep Variational Information Bottleneck (2016), arXiv:1612.00410, the second term of equation 17;
    ``strength`` is its beta, 1e-3 in most of the paper's figures. The chosen module gives (..., 2 K): K means and K
    numbers from which ``sigma = log(1 + exp(x - 5))``, the encoder of section 4.1. Drawing the code is the model's
    business.
    """

    strength: float = field(default=1e-3, validator=non_negative, doc="beta")

    def penalty(self, a: Tensor) -> Tensor:
        if a.ndim < 2 or a.shape[-1] % 2:
            raise ShapeError(f"InformationBottleneck: expected (batch, ..., 2 K), got shape {a.shape}")
        k = a.shape[-1] // 2
        mu, sigma = a[..., :k], ops.softplus(a[..., k:] - 5.0)
        divergence = (ops.square(mu) + ops.square(sigma) - 1.0) * 0.5 - ops.log(sigma)
        return divergence.sum() * (1.0 / a.shape[0])


class GraphLaplacian(Activations):
    """``strength / n ** 2 * sum_ij S_ij * ||a_i - a_j||^2``: neighbours among the inputs give similar outputs.

    Belkin, Niyogi and Sindhwani, Manifold Regularization (2006), section 4: ``2 / n ** 2 * trace(A^T L A)`` with
    the Laplacian L of the similarities ``S_ij = exp(-||x_i - x_j||^2 / (2 width^2))``, or 0 when more than
    ``neighbors`` others are nearer to both. The graph is made of the batch's inputs, flattened, and carries no gradient.
    ``width`` is by default the root mean square distance.
    """

    width: float | None = field(default=None, validator=positive, doc="of the Gaussian; default: RMS distance")
    neighbors: int | None = field(default=None, validator=positive, doc="nearest neighbours joined; default: all")

    def similarities(self, x: np.ndarray) -> np.ndarray:
        """S for inputs (n, features), zero on the diagonal."""
        x = x.reshape(len(x), -1).astype(np.float64)
        squares = (x * x).sum(axis=1)
        distances = np.maximum(squares[:, None] + squares[None] - 2 * x @ x.T, 0.0)
        np.fill_diagonal(distances, 0.0)
        n = len(x)
        spread = distances.sum() / max(1, n * (n - 1)) if self.width is None else self.width**2
        s = np.exp(-distances / (2 * spread)) if spread > 0 else np.ones_like(distances)
        np.fill_diagonal(s, 0.0)
        if self.neighbors is not None and self.neighbors < n - 1:
            np.fill_diagonal(distances, np.inf)
            rank = distances.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
            near = rank < self.neighbors
            s *= near | near.T
        return s

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        x = self.inputs_of(seen).data
        s = self.similarities(backend.of(x).to_numpy(x))
        laplacian = np.diag(s.sum(axis=1)) - s
        total: Any = 0.0
        for a in self.activations(seen):
            z = as_features("GraphLaplacian", a)
            owner = backend.of(z.data)
            matrix = Tensor(owner.from_numpy(laplacian.astype(z.dtype), owner.device_of(z.data)))
            total = total + (z * (matrix @ z)).sum() * (2.0 * self.strength / len(s) ** 2)
        return total, 1.0
