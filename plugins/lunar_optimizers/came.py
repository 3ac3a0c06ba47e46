"""CAME."""

from __future__ import annotations

from typing import ClassVar

from lunar_core import backend
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.optimizer import Optimizer

from .arrays import rms, state_array
from .hyperparameters import decayed, moments, rate, shrinkage


def _rows(p):
    return state_array(p, p.shape[:-1] if p.ndim > 1 else (0,))


def _columns(p):
    return state_array(p, (*p.shape[:-2], p.shape[-1]) if p.ndim > 1 else (0,))


def _elements(p):
    return state_array(p, (0,) if p.ndim > 1 else p.shape)


def _root(row, column):
    """One over the root of the factored estimate."""
    scaled = row / row.mean(axis=-1, keepdims=True)
    xp = backend.of(row).xp
    return 1 / (xp.sqrt(scaled)[..., None] * xp.sqrt(column)[..., None, :])


class CAME(Optimizer):
    """Adafactor with momentum, whose steps are divided by how unsteady they were: a factored running mean of the squared
    difference between the step and its momentum::

        u = clipped(g / sqrt(v)),  v factored into rows and columns, decay beta2, clipped to a mean square of ``clip``
        m = beta1 * m + (1 - beta1) * u
        s = beta3 * s + (1 - beta3) * ((u - m)^2 + eps[1]),  factored too
        p = p * (1 - lr * weight_decay) - lr * m / sqrt(s)

    Luo et al., CAME: Confidence-guided Adaptive Memory Efficient Optimization (ACL 2023), arXiv:2307.02047,
    algorithm 2. As in the authors' code, arrays of one axis have no s and take the step m.
    """

    lr: float = rate(2e-4)
    betas: tuple[float, float, float] = moments(0.9, 0.999, 0.9999, doc="decay of momentum, squares and unsteadiness")
    eps: tuple[float, float] = field(
        default=(1e-30, 1e-16), validator=non_negative, doc="added to the squares and to the unsteadiness"
    )
    clip: float = field(default=1.0, validator=positive, doc="largest root mean square of a step")
    weight_decay: float = shrinkage()

    state: ClassVar = {"m": 0.0, "r": _rows, "c": _columns, "v": _elements, "s_r": _rows, "s_c": _columns}
    elementwise = False

    @staticmethod
    def update(p, g, m, r, c, v, s_r, s_c, *, lr, betas, eps, clip, weight_decay):
        xp = backend.of(g).xp
        p, g = decayed(p, g, lr, weight_decay, True)
        squared = g * g + eps[0]
        if p.ndim > 1:
            r = betas[1] * r + (1 - betas[1]) * squared.mean(axis=-1)
            c = betas[1] * c + (1 - betas[1]) * squared.mean(axis=-2)
            u = g * _root(r, c)
        else:
            v = betas[1] * v + (1 - betas[1]) * squared
            u = g / xp.sqrt(v)
        u = u / xp.maximum(1.0, rms(u) / clip)
        m = betas[0] * m + (1 - betas[0]) * u
        if p.ndim > 1:
            unsteady = (u - m) ** 2 + eps[1]
            s_r = betas[2] * s_r + (1 - betas[2]) * unsteady.mean(axis=-1)
            s_c = betas[2] * s_c + (1 - betas[2]) * unsteady.mean(axis=-2)
            return p - lr * m * _root(s_r, s_c), m, r, c, v, s_r, s_c
        return p - lr * m, m, r, c, v, s_r, s_c
