"""Ranger21."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lunar_core import backend
from lunar_core.component import field, in_range, non_negative, positive
from lunar_core.contracts.optimizer import Optimizer
from lunar_gradient_processors.arrays import unit_norms

from .entries import evaluated, ready, state_of
from .hyperparameters import moments, rate, shrinkage, small


class Ranger21(Optimizer):
    """AdamW with eight additions that were found to work together::

        g = clipped by unit (arXiv:2102.06171), centralised (arXiv:2004.01461), divided by its standard deviation
        v = beta2 * v + (1 - beta2) * g^2;  v_max = max(v_max, v)
        m_t = beta1^2 * m_(t-2) + (1 - beta1^2) * g
        u = ((1 + beta0) * m_t - beta0 * m_(t-1)) / sqrt((1 + beta0)^2 + beta0^2)           (positive-negative momentum)
        p = p * (1 - lr * weight_decay / sqrt(mean v_hat))                                  (stable weight decay)
        p = p * (1 - lr * 2 * norm_loss * (1 - 1 / (|p| + eps)))                            (norms by unit)
        p = p - lr / (1 - beta1^t) * u / softplus(sqrt(v_max / (1 - beta2^t)) + eps)
        every k steps:  p = slow = slow + alpha * (p - slow)                                (arXiv:1907.08610)

    Wright and Demeure, Ranger21: a synergistic deep learning optimizer (2021), arXiv:2106.13731, algorithm 1, as in the
    authors' code: mean v_hat is over all parameters and counts 1 more in the sum; the standard deviation is over arrays
    of more than two elements; softplus(x) = log(1 + exp(s x)) / s. Their warm-up and warm-down of the learning rate are
    schedulers' work, and not part of it.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.999)
    beta0: float = field(default=0.9, validator=in_range(0, 1), doc="weight of the negative momentum")
    eps: float = small(1e-8)
    weight_decay: float = shrinkage(1e-4)
    norm_loss: float = field(default=1e-4, validator=non_negative, doc="pull of each unit to the norm 1")
    clip: float = field(default=1e-2, validator=positive, doc="largest norm of a gradient per norm of the weights")
    centralize: bool = field(default=True, doc="take the mean from gradients of two axes and more")
    normalize: bool = field(default=True, doc="divide gradients by their standard deviation")
    softplus: float = field(default=50.0, validator=non_negative, doc="sharpness s; 0: no softplus")
    k: int = field(default=5, validator=positive, doc="steps between two of the slow weights")
    alpha: float = field(default=0.5, validator=in_range(0, 1), doc="how far the slow weights go")
    spread: float = field(default=1.0, init=False, config=False, doc="root of the mean of v_hat, at this step")

    state = ("odd", "even", "v", "v_max", "slow")
    elementwise = False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = evaluated(closure)
        total, count = 1.0, 0
        for place in ready(self):
            values, v = place.group.values, state_of(self, place, "v")
            p, beta2 = place.entry.data.astype(v.dtype, copy=False), values["betas"][1]
            g = shaped(p, place.gradient, values["clip"], values["centralize"], values["normalize"])
            v[...] = beta2 * v + (1 - beta2) * g * g
            total += float(v.sum()) / (1 - beta2 ** (place.updates + 1))
            count += v.size
        for group in self.groups:
            group.values["spread"] = (total / max(1, count)) ** 0.5
        super().step()
        return loss

    @staticmethod
    def update(
        p, g, odd, even, v, v_max, slow, *, lr, betas, beta0, eps, weight_decay, norm_loss, clip, centralize,
        normalize, softplus, k, alpha, spread, step,
    ):  # fmt: skip
        xp = backend.of(p).xp
        if step == 1:
            slow = p.copy()
        g = shaped(p, g, clip, centralize, normalize)
        p = p * (1 - lr * weight_decay / spread)
        p = p * (1 - lr * 2 * norm_loss * (1 - 1 / (unit_norms(p) + eps)))
        new, old = (odd, even) if step % 2 else (even, odd)
        new = betas[0] ** 2 * new + (1 - betas[0] ** 2) * g
        u = ((1 + beta0) * new - beta0 * old) / ((1 + beta0) ** 2 + beta0**2) ** 0.5
        v_max = xp.maximum(v_max, v)
        size = xp.sqrt(v_max) / (1 - betas[1] ** step) ** 0.5 + eps
        if softplus:
            size = xp.logaddexp(softplus * size, 0 * size) / softplus
        p = p - lr / (1 - betas[0] ** step) * u / size
        if step % k == 0:
            p = slow = slow + alpha * (p - slow)
        return p, *((new, even) if step % 2 else (odd, new)), v, v_max, slow


def shaped(p, g, clip, centralize, normalize):
    """The gradient after clipping, centralization and normalisation."""
    xp = backend.of(p).xp
    limit, size = clip * xp.maximum(unit_norms(p), 1e-3), xp.maximum(unit_norms(g), 1e-6)
    g = xp.where(size > limit, g * (limit / size), g)
    if centralize and g.ndim > 1:
        g = g - g.mean(axis=tuple(range(1, g.ndim)), keepdims=True)
    if normalize and g.size > 2:
        g = g / (g.std(ddof=1) + 1e-8)
    return g
