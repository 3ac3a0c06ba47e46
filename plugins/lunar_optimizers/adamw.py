"""Adam with decoupled weight decay."""

from __future__ import annotations

from lunar_core.component import field, in_range, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .adam import adam_step


class AdamW(Optimizer):
    """Adam with decoupled weight decay: ``p = p * (1 - lr * weight_decay)``, then Adam's step without a penalty.

    Loshchilov and Hutter, Decoupled Weight Decay Regularization (2017), arXiv:1711.05101, algorithm 2, in the variant
    of ``torch.optim.AdamW``: the decay is multiplied by the learning rate itself, so a schedule moves both.
    ``amsgrad`` as in :class:`~lunar_optimizers.adam.Adam`.
    """

    lr: float = field(default=1e-3, validator=non_negative, doc="step size")
    betas: tuple[float, float] = field(
        default=(0.9, 0.999), validator=in_range(0, 1, include_high=False), doc="decay of the first and second moment"
    )
    eps: float = field(default=1e-8, validator=non_negative, doc="added to the denominator")
    weight_decay: float = field(default=1e-2, validator=non_negative, doc="share of a parameter lost per unit of lr")
    amsgrad: bool = field(default=False, doc="divide by the largest second moment so far")

    state = ("m", "v", "v_max")

    @staticmethod
    def update(p, g, m, v, v_max, *, lr, betas, eps, weight_decay, amsgrad, step):
        if weight_decay:
            p = p * (1 - lr * weight_decay)
        return adam_step(p, g, m, v, v_max, lr, betas, eps, amsgrad, step)
