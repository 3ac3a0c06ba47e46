"""Muon."""

from __future__ import annotations

from typing import ClassVar

from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.fusion import fused

from .adam import adam_step
from .arrays import norm, state_array
from .hyperparameters import decayed, fraction, moments, rate, shrinkage, small

_adam = fused(adam_step)

#: Coefficients of the quintic iteration.
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalized(x, coefficients, iterations, eps):
    """About the nearest matrix with orthonormal rows or columns, by Newton-Schulz iterations.

    ``x`` of shape (n, m) -> the same shape. The default coefficients bring singular values to between 0.7 and 1.2, not to 1.
    """
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / (norm(wide) + eps)
    a, b, c = coefficients
    for _ in range(iterations):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T


def _squares(p):
    return state_array(p, (0,) if p.ndim > 1 else p.shape)


class Muon(Optimizer):
    """Matrices move along their orthogonalised momentum: all directions of a step have about the same size::

        m = beta * m + (1 - beta) * g
        u = (1 - beta) * g / (1 - beta^t) + beta * m / (1 - beta^(t+1))      (nesterov=False: m / (1 - beta^t))
        p = p * (1 - lr * weight_decay) - lr * scale * orthogonalized(u)

    Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024), with the bias correction of optax.
    Arrays of more than two axes are matrices of (first axis, the rest). ``scale`` is sqrt(max(1, rows / columns)), or,
    with ``match_rms``, match_rms * sqrt(max(rows, columns)), 0.2 of which gives AdamW's step size (Liu et al., Muon is
    Scalable for LLM Training, 2025, arXiv:2502.16982). All is computed in the dtype of the parameter's state;
    PyTorch iterates in bfloat16.

    Arrays of fewer than two axes are trained by AdamW with ``adam_*`` (``adam_lr=None``: ``lr``). Embeddings and output
    layers are matrices too but train better with AdamW: give them to one by
    :class:`~lunar_optimizers.hybrid.Hybrid`.
    """

    lr: float = rate(2e-2)
    beta: float = fraction(0.95, "decay of the momentum")
    nesterov: bool = field(default=True, doc="look ahead along the momentum")
    iterations: int = field(default=5, validator=positive, doc="Newton-Schulz iterations")
    coefficients: tuple[float, float, float] = field(default=QUINTIC, doc="of the iteration's polynomial")
    eps: float = small(1e-8)
    weight_decay: float = shrinkage()
    match_rms: float | None = field(default=None, validator=positive, doc="root mean square of a step per unit of lr")
    adam_lr: float | None = field(default=None, validator=non_negative, doc="AdamW's step size; lr if None")
    adam_betas: tuple[float, float] = moments(0.9, 0.999)
    adam_weight_decay: float = shrinkage()

    state: ClassVar = {"m": 0.0, "v": _squares}
    elementwise = False

    @staticmethod
    def update(
        p, g, m, v, *, lr, beta, nesterov, iterations, coefficients, eps, weight_decay, match_rms,
        adam_lr, adam_betas, adam_weight_decay, step,
    ):  # fmt: skip
        if p.ndim < 2:
            lr = lr if adam_lr is None else adam_lr
            p, g = decayed(p, g, lr, adam_weight_decay, True)
            return _adam(p, g, m, v, v, lr, adam_betas, eps, False, step)[:3]
        p, g = decayed(p, g, lr, weight_decay, True)
        m = beta * m + (1 - beta) * g
        ahead = m / (1 - beta**step)
        if nesterov:
            ahead = beta / (1 - beta ** (step + 1)) * m + (1 - beta) / (1 - beta**step) * g
        rows, columns = p.shape[0], p.size // p.shape[0]
        u = orthogonalized(ahead.reshape(rows, columns), coefficients, iterations, eps).reshape(p.shape)
        scale = max(1, rows / columns) ** 0.5 if match_rms is None else match_rms * max(rows, columns) ** 0.5
        return p - lr * scale * u, m, v
