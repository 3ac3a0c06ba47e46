"""Weights of which a norm is a parameter or a constant."""

from __future__ import annotations

from typing import ClassVar

from lunar_core import backend, ops, random
from lunar_core.component import field, positive
from lunar_core.contracts.parametrization import Parametrization
from lunar_core.errors import HyperparameterError
from lunar_core.modes import no_grad
from lunar_core.module import Buffer
from lunar_core.tensor import Tensor


def check_axis(owner: str, axis: int, ndim: int) -> int:
    """``axis`` counted from the front."""
    if not -ndim <= axis < ndim:
        raise HyperparameterError(f"{owner}: axis must be in [{-ndim}, {ndim - 1}] for this parameter, got {axis}")
    return axis % ndim


class WeightNorm(Parametrization):
    """Length and direction apart: ``w = g * v / ||v||``.

    Salimans and Kingma, Weight Normalization (2016), arXiv:1602.07868, equation 2. The norm is over all axes but
    ``axis``, by default the first, so that each unit or filter has a length of its own; ``axis=None`` is one length for
    the whole. PyTorch's ``parametrizations.weight_norm``. The parts are g, with axes of size one, and v.
    """

    parts: ClassVar[tuple[str, ...]] = ("g", "v")

    axis: int | None = field(default=0, doc="the axis that is kept; None: one norm for all")

    def prepare(self, value: Tensor) -> None:
        if self.axis is not None:
            check_axis("WeightNorm", self.axis, value.ndim)

    def length(self, v: Tensor) -> Tensor:
        """The norm over all axes but ``axis``, which are kept with size one."""
        if self.axis is None:
            return ops.sqrt(ops.square(v).sum())
        kept = self.axis % v.ndim
        axes = tuple(i for i in range(v.ndim) if i != kept)
        return ops.sqrt(ops.square(v).sum(axis=axes, keepdims=True)) if axes else ops.absolute(v)

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v * (g / self.length(v))

    def right_inverse(self, value: Tensor) -> tuple[Tensor, Tensor]:
        return self.length(value), value


class SpectralNorm(Parametrization):
    """The weight divided by its largest singular value, so that the layer's Lipschitz constant is 1.

    Miyato et al., Spectral Normalization for Generative Adversarial Networks (2018), arXiv:1802.05957, algorithm 1. The
    weight is read as a matrix with ``axis`` in front and the others flattened. The value is ``u^T W v``, where u and v
    come from power iteration: 15 rounds at the start, ``iterations`` more each time the weight is read in training, and
    none in evaluation. They are buffers and carry no gradient. PyTorch's ``parametrizations.spectral_norm``; a vector
    is divided by its norm.

    The first u and v are drawn from the stream "init".
    """

    iterations: int = field(default=1, validator=positive, doc="rounds of power iteration for each reading in training")
    axis: int = field(default=0, doc="the axis of the outputs")
    eps: float = field(default=1e-12, validator=positive, doc="smallest norm that is divided by")

    def prepare(self, value: Tensor) -> None:
        check_axis("SpectralNorm", self.axis, value.ndim)
        if value.ndim < 2:
            return
        matrix = self.matrix(value)
        rng = random.stream("init").next()
        owner = backend.of(value.data)
        for name, n in zip(("u", "v"), matrix.shape):
            drawn = rng.standard_normal(n).astype(value.dtype)
            setattr(self, name, Buffer(owner.from_numpy(drawn, owner.device_of(value.data))))
        with no_grad():
            self.iterate(matrix.data, 15)

    def matrix(self, weight: Tensor) -> Tensor:
        """``weight`` as a matrix whose rows are its outputs."""
        return ops.moveaxis(weight, self.axis, 0).reshape(weight.shape[self.axis], -1)

    def iterate(self, matrix: object, rounds: int) -> None:
        """Power iteration from the raw ``matrix``; u and v become new arrays, since a graph may hold the old ones."""
        xp = backend.of(matrix).xp
        u, v = self.u.data, self.v.data
        for _ in range(rounds):
            u = matrix @ v  # type: ignore[operator]
            u = u / xp.maximum(xp.sqrt((u * u).sum()), self.eps)
            v = matrix.T @ u  # type: ignore[attr-defined]
            v = v / xp.maximum(xp.sqrt((v * v).sum()), self.eps)
        self.u.data, self.v.data = u, v

    def forward(self, original: Tensor) -> Tensor:
        if original.ndim < 2:
            return original / ops.maximum(ops.sqrt(ops.square(original).sum()), self.eps)
        matrix = self.matrix(original)
        if self.training:
            self.iterate(matrix.data, self.iterations)
        u, v = Tensor(self.u.data), Tensor(self.v.data)
        return original / (u * (matrix @ v)).sum()
