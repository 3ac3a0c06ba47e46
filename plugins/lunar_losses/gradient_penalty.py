"""The gradient penalty of Wasserstein GANs."""

from __future__ import annotations

from typing import Any

import lunar_core as lc
from lunar_core import ops
from lunar_core.component import field, non_negative
from lunar_core.contracts.loss import Loss
from lunar_core.errors import GradientError
from lunar_core.tensor import Tensor
from lunar_losses.checks import constant, raw, same_shapes, several


class GradientPenalty(Loss):
    """``factor * (|gradient of the critic at x| - norm) ** 2``, which keeps a critic's slope near 1::

        penalty = GradientPenalty()
        x = penalty.between(real, fake)
        loss = penalty((critic(x), x))

    ``pred`` is ``(scores, x)``: what the critic says, (N, ...), and its inputs, (N, ...), which require a gradient. There
    is no target, and one that is given is not looked at. Losses are (N,); the length is the Euclidean one over all axes
    of a sample. It is differentiable, by second derivatives of the critic; a critic with batch norm, which mixes
    samples, does not fit. With ``one_sided`` slopes below ``norm`` are free.

    I. Gulrajani et al., Improved Training of Wasserstein GANs (2017), arXiv:1704.00028, equation 3 and algorithm 1.

    Raises:
        ShapeError: a prediction that is no pair.
        GradientError: inputs that require no gradient, or scores that do not depend on them.
    """

    factor: float = field(default=10.0, validator=non_negative, doc="weight of the penalty, the paper's lambda")
    norm: float = field(default=1.0, validator=non_negative, doc="length that gradients should have")
    one_sided: bool = field(default=False, doc="leave gradients alone that are shorter")

    def between(self, real: Any, fake: Any) -> Tensor:
        """A point on the line between each real sample and a fake one, drawn evenly; it requires a gradient.

        The n-th call of a process draws from the random stream "gradient_penalty".
        """
        real, fake = lc.as_tensor(real).detach(), lc.as_tensor(fake).detach()
        same_shapes("GradientPenalty", real=real, fake=fake)
        share = lc.random.stream("gradient_penalty").next().random((len(real),) + (1,) * (real.ndim - 1))
        return Tensor(raw(ops.lerp(fake, real, constant(real, share, real.dtype))), requires_grad=True)

    def elements(self, pred: Any, target: Any) -> tuple[Tensor, Any]:
        scores, x = several("GradientPenalty", pred, "scores", "x")
        if not x.requires_grad:
            raise GradientError(
                "GradientPenalty: the critic's inputs require no gradient", hint="x = penalty.between(real, fake)"
            )
        with lc.enable_grad():
            (gradient,) = lc.grad(ops.sum(scores), [x], create_graph=True, retain_graph=True)
        length = ops.norm(gradient.reshape(len(x), -1), axis=1)
        over = length - self.norm
        return self.factor * ops.square(ops.relu(over) if self.one_sided else over), None
