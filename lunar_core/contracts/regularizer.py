"""Regularizer: a penalty on a model, as a sum and a weight.

The training loop adds ``sum / weight`` of each regularizer to the loss of every step. What a regularizer needs beside
the model is said by ``looks_at``:

- ``"weights"``: nothing; ``terms(model)``.
- ``"activations"``: what modules gave in the last training pass. ``attach(model)`` makes it listen to them.
- ``"gradients"``: derivatives by the inputs or the parameters, for which it runs the model again on the inputs of the
  last training pass; some need the targets and the loss as well.
- ``"steps"``: nothing is added to the loss; ``project(model)`` is called after each optimizer step, and brings the
  weights back to where they belong. The Trainer does it; a loop of one's own calls it.

Those that look at activations or gradients take a :class:`Seen`, what the pass was about, as the second argument of
``terms``. Without it, they use the inputs and outputs that they heard since ``attach``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from ..component import Component
from ..tensor import Tensor


class Seen(NamedTuple):
    """A training pass: Tensors ``inputs``, ``outputs`` (in the graph), ``targets``, and ``loss(outputs, targets)``.

    ``loss`` gives the mean over the examples, a Tensor with one element.
    """

    inputs: Any = None
    outputs: Any = None
    targets: Any = None
    loss: Callable[[Any, Any], Tensor] | None = None


class Regularizer(Component):
    """Base of regularizers: write ``terms(model)``, or ``terms(model, seen=None)`` for more than weights."""

    kind: ClassVar[str] = "regularizer"

    #: What it needs beside the model: "weights" (nothing), "activations" or "gradients"; "steps" for a constraint.
    looks_at: ClassVar[str] = "weights"

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        """(penalty, weight) of ``model`` as it is now; differentiable in the model's parameters.

        One that looks at weights may leave ``seen`` out of its signature; it is not given.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no terms()")

    def project(self, model: Any) -> None:
        """Called after each optimizer step; for a constraint, which changes the parameters in place."""

    def attach(self, model: Any) -> Callable[[], None]:
        """Called once before the first training pass; gives a function that undoes it. Most have nothing to do."""
        return _nothing

    def __call__(self, model: Any, seen: Seen | None = None) -> Tensor:
        """The penalty that is added to the loss."""
        total, weight = self.terms(model) if seen is None else self.terms(model, seen)
        return total if weight == 1 else total / weight


def _nothing() -> None:
    """Undo nothing."""
