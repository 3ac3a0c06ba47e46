"""Adam, and AMSGrad."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.optimizer import Optimizer


class Adam(Optimizer):
    """Adam: steps scaled by running moments of the gradient::

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps)

    Kingma and Ba, Adam: A Method for Stochastic Optimization (2014), arXiv:1412.6980, algorithm 1. ``eps`` is outside
    of the root, after the bias correction, as in the paper and in ``torch.optim.Adam``. Weight decay is an L2 penalty
    in the gradient; :class:`~lunar_optimizers.adamw.AdamW` decouples it.

    ``amsgrad`` divides by the largest v so far (Reddi, Kale, Kumar, On the Convergence of Adam and Beyond, 2018,
    arXiv:1904.09237), which PyTorch takes before the bias correction, and so does this.
    """

    lr: float = field(default=1e-3, validator=non_negative, doc="step size")
    betas: tuple[float, float] = field(
        default=(0.9, 0.999), validator=in_range(0, 1, include_high=False), doc="decay of the first and second moment"
    )
    eps: float = field(default=1e-8, validator=non_negative, doc="added to the denominator")
    weight_decay: float = field(default=0.0, validator=non_negative, doc="L2 penalty, added to the gradient")
    amsgrad: bool = field(default=False, doc="divide by the largest second moment so far")

    state = ("m", "v", "v_max")

    @staticmethod
    def update(p, g, m, v, v_max, *, lr, betas, eps, weight_decay, amsgrad, step):
        if weight_decay:
            g = g + weight_decay * p
        return adam_step(p, g, m, v, v_max, lr, betas, eps, amsgrad, step)


def adam_step(p, g, m, v, v_max, lr, betas, eps, amsgrad, step):
    """Adam's new (p, m, v, v_max), with both bias corrections moved into two numbers.

    ``m / c1 / (sqrt(v / c2) + eps)`` is ``m * (sqrt(c2) / c1) / (sqrt(v) + eps * sqrt(c2))`` (the end of section 2 of
    the paper), which spares a pass over the parameters.
    """
    beta1, beta2 = betas
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    if amsgrad:
        v_max = np.maximum(v_max, v)
    root = np.sqrt(1 - beta2**step)
    denominator = np.sqrt(v_max if amsgrad else v) + eps * root
    return p - (lr * root / (1 - beta1**step)) * m / denominator, m, v, v_max
