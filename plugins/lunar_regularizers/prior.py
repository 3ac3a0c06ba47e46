"""Distance of a distribution over weights from a prior."""

from __future__ import annotations

from typing import Any

from lunar_core import ops
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.regularizer import Regularizer
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.tensor import Tensor


class KLToPrior(Regularizer):
    """``strength * KL(N(mu, sigma ** 2) || N(0, prior_std ** 2))`` summed over all weights that are distributions.

    Blundell et al., Weight Uncertainty in Neural Networks (2015), arXiv:1505.05424, the complexity cost of equation 2
    for a Gaussian prior, in closed form, with ``sigma = log(1 + exp(rho))`` as in section 3.2. A weight is a
    distribution when a module has a pair of parameters of one shape whose names end in ``mean`` and ``scale``. With a
    loss that is a mean over the n training examples, ``strength = 1 / n`` is the evidence lower bound.

    Raises:
        StateError: no such pair in the model, or a mean without its scale.
    """

    strength: float = field(default=1e-4, validator=non_negative, doc="1 / number of training examples for the ELBO")
    prior_std: float = field(default=1.0, validator=positive, doc="standard deviation of the prior")
    mean: str = field(default="_mu", doc="ending of the names of means")
    scale: str = field(default="_rho", doc="ending of the names of the parameters rho")

    def __attrs_post_init__(self) -> None:
        if not self.mean or not self.scale or self.mean == self.scale:
            raise HyperparameterError(
                f"KLToPrior: mean and scale must be two different endings, got {self.mean!r}, {self.scale!r}"
            )

    def terms(self, model: Any) -> tuple[Tensor, float]:  # type: ignore[override]
        named = dict(model.named_parameters())
        means = [name for name in named if name.endswith(self.mean)]
        if not means:
            raise StateError(
                f"KLToPrior: no parameter's name ends in {self.mean!r}", hint=f"names are like {', '.join(named)}"[:200]
            )
        total: Any = 0.0
        for name in means:
            partner = name[: -len(self.mean)] + self.scale
            if partner not in named:
                raise StateError(f"KLToPrior: {name} has no partner {partner!r}")
            mu, sigma = named[name], ops.softplus(named[partner])
            ratio = sigma * (1.0 / self.prior_std)
            squares = ops.square(mu * (1.0 / self.prior_std)) + ops.square(ratio)
            total = total + ((squares - 1.0) * 0.5 - ops.log(ratio)).sum()
        return total * self.strength, 1.0
