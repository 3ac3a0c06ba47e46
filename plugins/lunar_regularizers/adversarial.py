"""Penalties at inputs that were moved on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from lunar_core import backend, ops, random
from lunar_core.component import field, non_negative, one_of, positive
from lunar_core.contracts.regularizer import Seen
from lunar_core.functional import grad
from lunar_core.tensor import Tensor

from .listening import rerun
from .sensitivity import Sensitive, leaf, loss_of, on_device


class Adversarial(Sensitive):
    """``strength`` times what the model does at inputs that were moved to hurt it.

    - ``method="fgsm"`` (default): the loss at ``x + eps * sign(dL/dx)``. Goodfellow, Shlens and Szegedy, Explaining and
      Harnessing Adversarial Examples (2014), arXiv:1412.6572, section 6; the paper's ``alpha J + (1 - alpha) J_adv`` is
      this with ``strength = (1 - alpha) / alpha`` up to a factor. It needs the targets and the loss.
    - ``method="vat"``: ``mean KL(p(x) || p(x + r))``, r of length ``eps`` an example, in the direction in which it grows
      most, by ``iterations`` rounds of the power method with differences of size ``xi``. Miyato et al., Virtual
      Adversarial Training (2017), arXiv:1704.03976, algorithm 1. The model gives logits with the classes on the last
      axis; no targets are needed, so that unlabelled inputs will do. p(x) is taken as a constant. The first direction
      is drawn from the stream "vat".
    """

    method: str = field(default="fgsm", validator=one_of("fgsm", "vat"))
    eps: float = field(default=0.1, validator=non_negative, doc="how far: of each element (fgsm), in all (vat)")
    xi: float = field(default=1e-6, validator=positive, doc="vat: size of the differences; larger in float32")
    iterations: int = field(default=1, validator=positive, doc="vat: rounds of the power method")

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        x = leaf(self.inputs_of(seen))
        value = self.fgsm(model, x, seen) if self.method == "fgsm" else self.vat(model, x)
        return value * self.strength, 1.0

    def fgsm(self, model: Any, x: Tensor, seen: Seen | None) -> Tensor:
        """The loss at the moved inputs."""
        (g,) = grad(loss_of(self, model, x, seen), x)
        xp = backend.of(g.data).xp
        return loss_of(self, model, Tensor(x.data + xp.sign(g.data) * x.dtype.type(self.eps)), seen)

    def vat(self, model: Any, x: Tensor) -> Tensor:
        """The divergence at the moved inputs."""
        clean = ops.log_softmax(rerun(model, x.detach()), axis=-1).detach()
        d = on_device(random.stream("vat").next().standard_normal(x.shape), x)
        d = Tensor(unit(d.data))
        xi = max(self.xi, 100 * float(np.finfo(x.dtype).eps))
        for _ in range(self.iterations):
            r = leaf(d)
            (g,) = grad(divergence(clean, rerun(model, x.detach() + r * xi)), r)
            d = Tensor(unit(g.data))
        return divergence(clean, rerun(model, x.detach() + d * self.eps))


def divergence(logs: Tensor, logits: Tensor) -> Tensor:
    """The mean over the rows of ``KL(exp(logs) || softmax(logits))``."""
    return (ops.exp(logs) * (logs - ops.log_softmax(logits, axis=-1))).sum(axis=-1).mean()


def unit(array: Any) -> Any:
    """Each example of a raw array divided by its L2 norm; zeros stay."""
    xp = backend.of(array).xp
    flat = array.reshape(len(array), -1)
    flat = flat / xp.maximum(xp.abs(flat).max(axis=1, keepdims=True), np.finfo(array.dtype).tiny)  # squares underflow
    sizes = xp.sqrt((flat * flat).sum(axis=1, keepdims=True))
    return (flat / xp.where(sizes > 0, sizes, array.dtype.type(1))).reshape(array.shape)
