"""Penalties on how outputs answer to inputs and parameters.

They run the model again on the inputs of the pass. Layers that look at the whole batch (batch normalisation) mix
examples, and the norms of Jacobians then contain what one example does to another.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from lunar_core import backend, ops, random
from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.regularizer import Seen
from lunar_core.errors import ShapeError, StateError
from lunar_core.functional import grad
from lunar_core.tensor import Tensor

from .choosing import choose
from .listening import Listening, rerun


def leaf(x: Tensor) -> Tensor:
    """The same values as a leaf of its own."""
    new = Tensor(x.data)
    new.requires_grad_()
    return new


def on_device(array: np.ndarray, like: Tensor) -> Tensor:
    """A host array as a Tensor of the dtype and device of ``like``."""
    owner = backend.of(like.data)
    return Tensor(owner.from_numpy(np.asarray(array, like.dtype), owner.device_of(like.data)))


class Sensitive(Listening):
    """Base of regularizers that run the model again."""

    looks_at: ClassVar[str] = "gradients"

    def again(self, model: Any, x: Tensor) -> Tensor:
        """The model's output for ``x``."""
        output = rerun(model, x)
        if not isinstance(output, Tensor):
            raise StateError(f"{type(self).__name__}: the model has to give one Tensor, got {type(output).__name__}")
        return output


class Jacobian(Sensitive):
    """``strength / 2 * mean over the batch of ||dy/dx||_F^2``, estimated along random directions.

    Hoffman, Roberts and Yaida, Robust Learning with Jacobian Regularization (2019), arXiv:1908.02729, algorithm 1: with
    ``projections`` unit vectors v of the C outputs, ``C / projections * ||d(v . y)/dx||^2``, which is right in the mean;
    one is the paper's default. ``projections=None`` takes all C axes, which is exact. The vectors are drawn from the
    stream "jacobian".
    """

    strength: float = field(default=0.01, validator=non_negative, doc="lambda_JR; the paper's 0.01 for MNIST")
    projections: int | None = field(default=1, validator=positive, doc="random directions; None: exact")

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        x = leaf(self.inputs_of(seen))
        y = self.again(model, x)
        y = y.reshape(y.shape[0], -1)
        n, c = y.shape
        if self.projections is None:
            directions = [np.broadcast_to(row, (n, c)) for row in np.eye(c)]
            scale = 1.0
        else:
            rng = random.stream("jacobian").next()
            drawn = rng.standard_normal((self.projections, n, c))
            directions = list(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))
            scale = c / self.projections
        total: Any = 0.0
        for v in directions:
            (g,) = grad((y * on_device(v, y)).sum(), x, create_graph=True, retain_graph=True)
            total = total + ops.square(g).sum()
        return total * (0.5 * self.strength * scale / n), 1.0


class Contractive(Sensitive):
    """``strength * mean over the batch of ||dh/dx||_F^2``, h the code of an encoder, exact.

    Rifai et al., Contractive Auto-Encoders: Explicit Invariance During Feature Extraction (2011), equation 6.
    ``encoder`` is the dotted name of the module that takes the model's input and gives the code; "" is the model
    itself. One backward pass for each number of the code.
    """

    strength: float = field(default=0.1, validator=non_negative, doc="lambda")
    encoder: str = field(default="", doc="dotted name of the module that makes the code")

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        modules = dict(model.named_modules())
        if self.encoder not in modules:
            raise StateError(
                f"Contractive: the model has no module {self.encoder!r}",
                hint=f"names are like {', '.join(list(modules)[1:5])}",
            )
        x = leaf(self.inputs_of(seen))
        h = self.again(modules[self.encoder], x)
        h = h.reshape(h.shape[0], -1)
        total: Any = 0.0
        for j in range(h.shape[1]):
            (g,) = grad(h[:, j].sum(), x, create_graph=True, retain_graph=True)
            total = total + ops.square(g).sum()
        return total * (self.strength / h.shape[0]), 1.0


class R1(Sensitive):
    """``strength / 2 * mean over the batch of ||d D(x)/dx||^2``, for a discriminator D on real data.

    Mescheder, Geiger and Nowozin, Which Training Methods for GANs do actually Converge? (2018), arXiv:1801.04406,
    equation 9, with gamma = 10 as there. D gives one number an example.
    """

    strength: float = field(default=10.0, validator=non_negative, doc="gamma")

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        x = leaf(self.inputs_of(seen))
        d = self.again(model, x)
        if d.size != x.shape[0]:
            raise ShapeError(f"R1: expected one output an example, got shape {d.shape} for {x.shape[0]} examples")
        (g,) = grad(d.sum(), x, create_graph=True)
        return ops.square(g).sum() * (0.5 * self.strength / x.shape[0]), 1.0


class Noise(Sensitive):
    """``strength * mean((f(x + e) - f(x)) ** 2) / std ** 2`` with normal noise e of standard deviation ``std``.

    For small noise this is the mean squared norm of the Jacobian over the outputs: Bishop, Training with Noise is
    Equivalent to Tikhonov Regularization (1995). The noise is drawn from the stream "noise_regularizer".
    """

    strength: float = field(default=0.01, validator=non_negative, doc="what the penalty is multiplied by")
    std: float = field(default=0.01, validator=positive, doc="standard deviation of the noise")

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        x = self.inputs_of(seen).detach()
        e = random.stream("noise_regularizer").next().standard_normal(x.shape) * self.std
        difference = self.again(model, x + on_device(e, x)) - self.again(model, x)
        return ops.square(difference).mean() * (self.strength / self.std**2), 1.0


class FisherTrace(Sensitive):
    """``strength * ||d/dw mean log p(y|x)||^2`` with y drawn from the model's own softmax.

    Jastrzebski et al., Catastrophic Fisher Explosion: Early Phase Fisher Matrix Impacts Generalization (2020),
    arXiv:2012.14193, equation 3, the penalty of the Fisher information's trace by the gradient of a mini-batch. The
    model gives logits (batch, classes); labels are drawn from the stream "fisher_trace". ``patterns`` choose
    parameters, biases included.
    """

    strength: float = field(default=0.1, validator=non_negative, doc="alpha")
    patterns: tuple[str, ...] = field(default=("*",), doc="globs over dotted parameter names")

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        logits = self.again(model, self.inputs_of(seen).detach())
        if logits.ndim != 2:
            raise ShapeError(f"FisherTrace: expected logits (batch, classes), got shape {logits.shape}")
        logs = ops.log_softmax(logits, axis=-1)
        p = np.exp(backend.of(logs.data).to_numpy(logs.data).astype(np.float64)).cumsum(axis=1)
        u = random.stream("fisher_trace").next().random((len(p), 1)) * p[:, -1:]
        labels = (p <= u).sum(axis=1).clip(max=p.shape[1] - 1)
        chosen = on_device(np.eye(p.shape[1])[labels], logs)
        parameters = list(choose("FisherTrace", model, self.patterns, True).values())
        gradients = grad((logs * chosen).sum() * (1.0 / len(p)), parameters, create_graph=True, allow_unused=True)
        return _squares(gradients, logs) * self.strength, 1.0


class HessianTrace(Sensitive):
    """``strength * mean over samples of v^T H v``, H the Hessian of the loss by the parameters, v of random signs.

    Hutchinson's estimator of the trace (1990), as a penalty in Liu et al., Regularizing Deep Neural Networks with
    Stochastic Estimators of Hessian Trace (2022), arXiv:2208.05924. The trace may be negative where the loss is not
    convex; it needs third derivatives of the model. ``terms`` needs targets and loss. The signs are drawn from the
    stream "hessian_trace".
    """

    strength: float = field(default=1e-3, validator=non_negative, doc="what the penalty is multiplied by")
    samples: int = field(default=1, validator=positive, doc="vectors v")
    patterns: tuple[str, ...] = field(default=("*",), doc="globs over dotted parameter names")

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        value = loss_of(self, model, self.inputs_of(seen).detach(), seen)
        parameters = list(choose("HessianTrace", model, self.patterns, True).values())
        first = grad(value, parameters, create_graph=True, allow_unused=True)
        pairs = [(p, g) for p, g in zip(parameters, first) if g is not None and g.node is not None]
        rng = random.stream("hessian_trace").next()
        total: Any = value * 0.0
        for _ in range(self.samples if pairs else 0):
            signs = [on_device(rng.choice([-1.0, 1.0], p.shape), p) for p, _ in pairs]
            product: Any = sum(((g * v).sum() for (_, g), v in zip(pairs, signs)), 0.0)
            second = grad(product, [p for p, _ in pairs], create_graph=True, retain_graph=True, allow_unused=True)
            for h, v in zip(second, signs):
                if h is not None:
                    total = total + (h * v).sum()
        return total * (self.strength / self.samples), 1.0


def loss_of(owner: Sensitive, model: Any, x: Tensor, seen: Seen | None) -> Tensor:
    """The loss of the pass for other inputs."""
    if seen is None or seen.targets is None or seen.loss is None:
        raise StateError(
            f"{type(owner).__name__} needs the targets and the loss of the pass",
            hint="terms(model, Seen(inputs, outputs, targets, loss))",
        )
    return seen.loss(owner.again(model, x), seen.targets)


def _squares(gradients: list[Any], like: Tensor) -> Tensor:
    total: Any = like.sum() * 0.0
    for g in gradients:
        if g is not None:
            total = total + ops.square(g).sum()
    return total
