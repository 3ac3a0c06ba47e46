"""Weights that are left out at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lunar_core import backend, random
from lunar_core.component import field, in_range
from lunar_core.contracts.parametrization import Parametrization, parametrize, remove_parametrization
from lunar_core.contracts.regularizer import Regularizer
from lunar_core.errors import HyperparameterError
from lunar_core.tensor import Tensor

from .choosing import choose, nothing


class DropConnect(Regularizer):
    """Each weight is zero with probability ``rate`` in every training pass; the others are divided by ``1 - rate``.

    Wan et al., Regularization of Neural Networks using DropConnect (2013), in the inverted form: evaluation uses the
    mean network, where the paper draws from a Gaussian with its moments. One mask for the batch. It adds nothing to the
    loss: ``attach(model)`` makes the chosen weights compute themselves with a mask, drawn from the stream
    "drop_connect" whenever they are read in training, and gives a function that undoes it. ``patterns`` choose as
    :class:`~lunar_regularizers.choosing.Weights` says, without vectors.
    """

    rate: float = field(default=0.5, validator=in_range(0, 1, include_high=False), doc="share that is left out")
    patterns: tuple[str, ...] = field(default=("*",), doc="globs over dotted parameter names")

    def __attrs_post_init__(self) -> None:
        if not self.patterns:
            raise HyperparameterError("DropConnect: patterns is empty", hint='patterns=("*",) chooses all parameters')

    def attach(self, model: Any) -> Callable[[], None]:
        chosen = {id(p) for p in choose("DropConnect", model, self.patterns, False).values()}
        places = [
            (module, name)
            for module in list(model.modules())
            for name, value in list(vars(module).items())
            if id(value) in chosen
        ]
        for module, name in places:
            parametrize(module, name, Mask(self.rate))

        def detach() -> None:
            for module, name in places:
                remove_parametrization(module, name)

        return detach

    def terms(self, model: Any) -> tuple[Tensor, float]:  # type: ignore[override]
        """Nothing is added to the loss."""
        return nothing(model), 1.0


class Mask(Parametrization):
    """A weight with a random mask in training."""

    rate: float = field(default=0.5, validator=in_range(0, 1, include_high=False), doc="share that is left out")

    def forward(self, original: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return original
        owner = backend.of(original.data)
        kept = random.stream("drop_connect").next().random(original.shape) >= self.rate
        mask = (kept / (1.0 - self.rate)).astype(original.dtype)
        return original * Tensor(owner.from_numpy(mask, owner.device_of(original.data)))
