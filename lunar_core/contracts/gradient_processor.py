"""Gradient processor: what happens to the gradients between the backward pass and the step.

::

    class Sign(GradientProcessor):
        def process(self, grads):
            for g in grads.values():
                g[...] = backend.of(g).xp.sign(g)

    Trainer(..., plugins=[Sign()])          # or, in a loop of one's own:
    Sign().process({name: p.grad.data for name, p in model.named_parameters()})

It is a hook plugin: in a run it sees the gradients that the optimizer is about to see, after the Trainer's own
``clip_norm``, in the order in which the processors were given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..component import Component


class GradientProcessor(Component):
    """Base of gradient processors: write ``process(grads)``.

    A processor that also looks at the parameters says ``needs_parameters = True`` and writes
    ``process(grads, parameters)``. One with a state over the steps keeps it in ``state_dict`` and ``load_state_dict``.
    """

    kind: ClassVar[str] = "gradient_processor"

    #: Whether ``process`` takes the parameters' arrays as a second argument.
    needs_parameters: ClassVar[bool] = False

    def process(self, grads: dict[str, Any], *parameters: Mapping[str, Any]) -> None:
        """Change the arrays of ``grads`` (parameter name -> raw array, the live one) in place.

        With ``needs_parameters`` the second argument is parameter name -> raw array, to be read only.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no process()")

    def state_dict(self) -> dict[str, Any]:
        """What has to be kept for a run to go on exactly; nothing for most."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""

    def lunar_grads_ready(self, grads: dict[str, Any], ctx: Any) -> None:
        """Hook: process the gradients of a step."""
        self.run(grads, ctx)

    def run(self, grads: dict[str, Any], ctx: Any) -> None:
        """Process gradients of ``ctx.model``."""
        if self.needs_parameters:
            self.process(grads, {name: p.data for name, p in ctx.model.named_parameters() if name in grads})
        else:
            self.process(grads)
