"""LAMB."""

from __future__ import annotations

from lunar_core import backend
from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .arrays import trust_ratio
from .hyperparameters import moments, rate, small


class LAMB(Optimizer):
    """Adam with decoupled weight decay, each array's step scaled to the norm of the parameter::

        u = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * p
        p = p - lr * |p| / |u| * u                                           (ratio 1 where a norm is 0)

    You et al., Large Batch Optimization for Deep Learning: Training BERT in 76 minutes (ICLR 2020), arXiv:1904.00962,
    algorithm 2 with phi(z) = z and bias correction, as in optax. ``adapt=False`` switches the ratio off, for a group of
    biases for instance. NVIDIA's and PyTorch ports that clip the gradient or phi differ.
    """

    lr: float = rate(1e-3)
    betas: tuple[float, float] = moments(0.9, 0.999)
    eps: float = small(1e-6)
    weight_decay: float = field(default=0.0, validator=non_negative, doc="weight of the parameter in its own step")
    adapt: bool = field(default=True, doc="scale steps to the norm of the parameter")

    state = ("m", "v")
    elementwise = False

    @staticmethod
    def update(p, g, m, v, *, lr, betas, eps, weight_decay, adapt, step):
        xp = backend.of(g).xp
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        u = m / (1 - betas[0] ** step) / (xp.sqrt(v / (1 - betas[1] ** step)) + eps) + weight_decay * p
        return p - lr * (trust_ratio(p, u) if adapt else 1.0) * u, m, v
