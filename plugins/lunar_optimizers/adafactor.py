"""Adafactor."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.optimizer import Optimizer

from .arrays import rms, state_array
from .hyperparameters import decayed, rate, shrinkage, small


def _rows(p):
    return state_array(p, (*p.shape[:-1], 1) if p.ndim > 1 else (0,))


def _columns(p):
    return state_array(p, (*p.shape[:-2], 1, p.shape[-1]) if p.ndim > 1 else (0,))


def _elements(p):
    return state_array(p, (0,) if p.ndim > 1 else p.shape)


class Adafactor(Optimizer):
    """Adam without first moment whose second moment is the outer product of row and column means, so that the state of
    an (n, m) matrix takes n + m numbers; arrays of one axis keep theirs whole::

        rho = min(lr, 1 / sqrt(t));  alpha = max(least_scale, rms(p)) * rho;  b = t^beta2_decay
        r = (1 - b) * r + b * mean_columns(g^2);  c = (1 - b) * c + b * mean_rows(g^2);  v = r c / mean(r)
        u = g / sqrt(max(v, eps^2))
        p = p * (1 - lr * weight_decay) - alpha * u / max(1, rms(u) / clip)

    Shazeer and Stern, Adafactor (2018), arXiv:1804.04235, algorithms 4 and 5 with relative step sizes, in the variant
    of ``torch.optim.Adafactor``: ``eps`` is a floor (the dtype's epsilon if None) where the paper adds it to the
    square, and decay is decoupled. With more than two axes the last two are factored.
    """

    lr: float = rate(1e-2, "largest relative step size")
    beta2_decay: float = field(default=-0.8, validator=in_range(-1, 0), doc="power of t in the second moment's decay")
    eps: float | None = field(default=None, validator=non_negative, doc="floor of the second moment's root")
    least_scale: float = small(1e-3, "least size that a parameter counts as")
    clip: float = field(default=1.0, validator=positive, doc="largest root mean square of a step before scaling")
    weight_decay: float = shrinkage()

    state: ClassVar = {"r": _rows, "c": _columns, "v": _elements}
    elementwise = False

    @staticmethod
    def update(p, g, r, c, v, *, lr, beta2_decay, eps, least_scale, clip, weight_decay, step):
        xp = backend.of(g).xp
        eps = float(np.finfo(p.dtype).eps) if eps is None else eps
        alpha = xp.maximum(least_scale, rms(p)) * min(lr, 1 / step**0.5)
        p, g = decayed(p, g, lr, weight_decay, True)
        b, squared = step**beta2_decay, g * g
        if p.ndim > 1:
            r = r + b * (squared.mean(axis=-1, keepdims=True) - r)
            c = c + b * (squared.mean(axis=-2, keepdims=True) - c)
            estimate = r * c / xp.maximum(r.mean(axis=-2, keepdims=True), eps)
        else:
            estimate = v = v + b * (squared - v)
        u = g / xp.sqrt(xp.maximum(estimate, eps * eps))
        return p - (alpha / xp.maximum(1.0, rms(u) / clip)).astype(u.dtype) * u, r, c, v
