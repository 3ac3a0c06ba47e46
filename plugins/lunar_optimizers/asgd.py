"""Averaged stochastic gradient descent."""

from __future__ import annotations

from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

from .entries import swap_state
from .hyperparameters import decayed, penalty, rate


class ASGD(Optimizer):
    """Gradient descent with a falling rate, which also keeps the average of the parameters from step ``t0`` on::

        eta = lr / (1 + lambd * lr * (t - 1))^alpha
        p = p * (1 - lambd * eta) - eta * g
        average = average + (p - average) / max(1, t - 1 - t0)

    Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging (1992), in the variant of
    ``torch.optim.ASGD`` (Bottou's). Until ``t0`` the average is the parameter itself.

    The averages are the state array ``average`` in ``state_dict()``; :meth:`swap_averages` exchanges them with the
    parameters, and a second call exchanges them back.
    """

    lr: float = rate(1e-2)
    lambd: float = field(default=1e-4, validator=non_negative, doc="decay of the parameters and of the step size")
    alpha: float = field(default=0.75, validator=non_negative, doc="power of the step size's decay")
    t0: float = field(default=1e6, validator=non_negative, doc="the step at which averaging starts")
    weight_decay: float = penalty()

    state = ("average",)

    @staticmethod
    def update(p, g, average, *, lr, lambd, alpha, t0, weight_decay, step):
        p, g = decayed(p, g, lr, weight_decay, False)
        eta = lr / (1 + lambd * lr * (step - 1)) ** alpha
        p = p * (1 - lambd * eta) - eta * g
        if step - 1 - t0 > 1:
            return p, average + (p - average) / (step - 1 - t0)
        return p, p

    def swap_averages(self) -> None:
        """Exchange the parameters that were updated with their averages."""
        swap_state(self, "average")
