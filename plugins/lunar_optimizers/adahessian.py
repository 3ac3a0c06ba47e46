"""AdaHessian."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, in_range

from .hyperparameters import decayed, moments, rate, shrinkage, small
from .second_order import SecondOrder


class AdaHessian(SecondOrder):
    """Adam with the diagonal of the Hessian in place of the gradient in the second moment::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * D^2               (D is estimated; v waits while the estimate is not fresh)
        p = p * (1 - lr * weight_decay) - lr * (m / (1 - beta1^t)) / ((v / (1 - beta2^t))^(power / 2) + eps)

    Yao et al., ADAHESSIAN: An Adaptive Second Order Optimizer for Machine Learning (AAAI 2021), arXiv:2006.00719,
    algorithm 1. Of convolution kernels, arrays of four axes, D is averaged over the last two in absolute value
    (``spatial_average``), as in the authors' code. See :class:`~lunar_optimizers.second_order.SecondOrder` for
    the closure that ``step`` needs, ``every`` and ``samples``.
    """

    lr: float = rate(0.1)
    betas: tuple[float, float] = moments(0.9, 0.999)
    power: float = field(default=1.0, validator=in_range(0, 1), doc="1: the Hessian's size; 0: none of it")
    eps: float = small(1e-8)
    weight_decay: float = shrinkage()
    spatial_average: bool = field(default=True, doc="average the estimate over the positions of a kernel")

    state = ("hessian", "m", "v")

    def refine(self, estimate: Any) -> Any:
        if self.spatial_average and estimate.ndim == 4:
            return abs(estimate).mean(axis=(2, 3), keepdims=True)
        return estimate

    @staticmethod
    def update(p, g, hessian, m, v, *, lr, betas, power, eps, weight_decay, fresh, step):
        p, g = decayed(p, g, lr, weight_decay, True)
        m = betas[0] * m + (1 - betas[0]) * g
        if fresh:
            v = betas[1] * v + (1 - betas[1]) * hessian * hessian
        size = (v / (1 - betas[1] ** step)) ** (power / 2) + eps
        return p - lr / (1 - betas[0] ** step) * m / size, hessian, m, v
