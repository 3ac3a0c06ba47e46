"""GaLore."""

from __future__ import annotations

from typing import ClassVar

from lunar_core import backend
from lunar_core.component import field, positive
from lunar_core.contracts.optimizer import Optimizer

from .arrays import nothing
from .hyperparameters import decayed, moments, rate, shrinkage, small


def _subspace(g, rank):
    """Orthonormal columns that span the leading singular directions of the shorter side."""
    left, _, right = backend.of(g).xp.linalg.svd(g, full_matrices=False)
    return right[:rank].T if g.shape[0] >= g.shape[1] else left[:, :rank]


class GaLore(Optimizer):
    """AdamW whose moments of a matrix live in the leading ``rank`` singular directions of a recent gradient::

        P = leading singular vectors of g, (columns, rank) or for wide matrices (rows, rank), every ``every`` steps
        r = g P  (wide: P^T g);  m, v: Adam's moments of r
        p = (p - lr * sqrt(1 - beta2^t) / (1 - beta1^t) * scale * (m / (sqrt(v) + eps)) P^T) * (1 - lr * weight_decay)

    Zhao et al., GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection (ICML 2024), arXiv:2403.03507,
    algorithm 2, as in the authors' code: the moments stay as they are when P changes. Arrays that are not matrices,
    or whose shorter side is no longer than ``rank``, are AdamW's, without ``scale``.
    """

    lr: float = rate(1e-2)
    rank: int = field(default=128, validator=positive, doc="singular directions that are kept")
    every: int = field(default=200, validator=positive, doc="steps between two changes of the directions")
    scale: float = field(default=0.25, validator=positive, doc="factor of steps in the subspace")
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-6)
    weight_decay: float = shrinkage()

    state: ClassVar = {"projection": nothing, "m": nothing, "v": nothing}
    elementwise = False

    @staticmethod
    def update(p, g, projection, m, v, *, lr, rank, every, scale, betas, eps, weight_decay, step):
        xp = backend.of(g).xp
        low, tall = g.ndim == 2 and min(g.shape) > rank, g.ndim == 2 and g.shape[0] >= g.shape[1]
        r = g
        if low:
            if (step - 1) % every == 0:
                projection = _subspace(g, rank)
            r = g @ projection if tall else projection.T @ g
        m = betas[0] * m + (1 - betas[0]) * r if step > 1 else (1 - betas[0]) * r
        v = betas[1] * v + (1 - betas[1]) * r * r if step > 1 else (1 - betas[1]) * r * r
        u = lr * (1 - betas[1] ** step) ** 0.5 / (1 - betas[0] ** step) * m / (xp.sqrt(v) + eps)
        if low:
            u = scale * (u @ projection.T if tall else projection @ u)
        p, g = decayed(p - u, g, lr, weight_decay, True)
        return p, projection, m, v
