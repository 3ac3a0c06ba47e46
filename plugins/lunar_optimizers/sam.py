"""Sharpness-aware minimisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lunar_core.autograd import note_write
from lunar_core.component import field, non_negative
from lunar_core.errors import HyperparameterError

from .entries import Place, evaluated, needs, ready
from .wrapper import Wrapper


class SAM(Wrapper):
    """Steps from the gradient at the worst place nearby instead of the one at hand, which leads to flat minima::

        e = rho * g / |g|                                (|g| over all parameters)
        step with the gradient at p + e, from p

    Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization (ICLR 2021), arXiv:2010.01412,
    algorithm 1, p = 2. With ``adaptive``, e = rho * p^2 * g / | |p| * g |, which does not depend on the scale of a layer
    (ASAM: Kwon et al., ICML 2021, arXiv:2102.11600, equation 8 without the constant eta). rho is about 10 times larger
    then.

    ``step(closure)`` calls the closure twice; it clears the gradients, computes the loss, calls ``backward`` and
    returns the loss. The result is the loss at p. Raises HyperparameterError for a step without a closure.
    """

    rho: float = field(default=0.05, validator=non_negative, doc="distance of the worst place")
    adaptive: bool = field(default=False, doc="measure distance relative to the parameters (ASAM)")

    needs = "closure"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if needs(self.optimizer) != "gradients":
            raise HyperparameterError(
                f"SAM wraps optimizers that step by gradients, {type(self.optimizer).__name__} needs a "
                f"{needs(self.optimizer)}"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            raise HyperparameterError("SAM: step needs a closure", hint="opt.step(closure), see help(SAM)")
        loss = evaluated(closure)
        found = [(place, place.entry.data.copy(), self._scale(place)) for place in ready(self)]
        square = sum(float(((place.gradient * scale) ** 2).sum()) for place, _, scale in found)
        if square > 0:
            for place, kept, scale in found:
                place.entry.data[...] = kept + (self.rho / square**0.5) * scale * scale * place.gradient
                note_write(place.entry.data)
        try:
            evaluated(closure)
        finally:
            for place, kept, _ in found:
                place.entry.data[...] = kept
                note_write(place.entry.data)
        self.optimizer.step()
        self._count += 1
        return loss

    def _scale(self, place: Place) -> Any:
        return abs(place.entry.data.astype(place.buffer.state_dtype)) if self.adaptive else 1.0
