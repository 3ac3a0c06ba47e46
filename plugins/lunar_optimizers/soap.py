"""SOAP."""

from __future__ import annotations

from typing import ClassVar

from lunar_core import backend
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.optimizer import Optimizer

from .arrays import nothing
from .axes import along, gram, matrix_axes, pack, unpack
from .hyperparameters import decayed, moments, rate, shrinkage, small


def _turned(g, bases, axes, back=False):
    for q, axis in zip(bases, axes):
        g = along(g, q if back else q.T, axis)
    return g


class SOAP(Optimizer):
    """AdamW in the eigenbasis of Shampoo's statistics::

        H_i = beta * H_i + (1 - beta) * gram matrix of g along axis i;  Q_i = eigenvectors of H_i
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * (g turned into the basis)^2
        u = (m turned into the basis / (sqrt(v) + eps)) turned back
        p = (p - lr * sqrt(1 - beta2^t) / (1 - beta1^t) * u) * (1 - lr * weight_decay)

    Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam (2024), arXiv:2409.11321, algorithm 3, as in the
    authors' code: the first gradient only sets up the basis, and every ``every`` steps one step of power iteration and a
    QR decomposition follow the statistics. Vectors, and axes longer than ``max_size``, stay in their own basis.
    ``shampoo_beta=None`` is beta2.
    """

    lr: float = rate(3e-3)
    betas: tuple[float, float] = moments(0.95, 0.95)
    shampoo_beta: float | None = field(
        default=None, validator=in_range(0, 1, include_high=False), doc="decay of the statistics; beta2 if None"
    )
    eps: float = small(1e-8)
    weight_decay: float = shrinkage(1e-2)
    every: int = field(default=10, validator=positive, doc="steps between two changes of the basis")
    max_size: int = field(default=10000, validator=positive, doc="longest axis that is turned")

    state: ClassVar = {"m": 0.0, "v": 0.0, "statistics": nothing, "bases": nothing}
    elementwise = False

    @staticmethod
    def update(
        p, g, m, v, statistics, bases, *, lr, betas, shampoo_beta, eps, weight_decay, every, max_size, step
    ):  # fmt: skip
        xp = backend.of(g).xp
        axes = matrix_axes(g.shape, max_size, vectors=False)
        decay = betas[1] if shampoo_beta is None else shampoo_beta
        sums = [
            decay * h + (1 - decay) * gram(g, axis) for h, axis in zip(unpack(statistics, g.shape, axes), axes)
        ]  # fmt: skip
        if step == 1:
            turns = [xp.linalg.eigh(h)[1][:, ::-1] for h in sums]
            return p, m, v, pack(sums, g), pack(turns, g)
        turns, count = unpack(bases, g.shape, axes), step - 1
        turned = _turned(g, turns, axes)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * turned * turned
        u = _turned(_turned(m, turns, axes) / (xp.sqrt(v) + eps), turns, axes, back=True)
        p = p - lr * (1 - betas[1] ** count) ** 0.5 / (1 - betas[0] ** count) * u
        p, g = decayed(p, g, lr, weight_decay, True)
        if count % every == 0:
            for i, axis in enumerate(axes):
                product = sums[i] @ turns[i]
                order = xp.argsort(-(turns[i] * product).sum(axis=0))
                v = xp.take(v, order, axis=axis)
                turns[i] = xp.linalg.qr(product[:, order])[0]
            bases = pack(turns, u)
        return p, m, v, pack(sums, u), bases
