"""What a callback is: a component that takes part in a run by implementing hooks."""

from __future__ import annotations

from typing import ClassVar

from ..component import Component


class Callback(Component):
    """Base of all callbacks (kind ``"callback"``, group ``lunar.callbacks``).

    A subclass implements any of the hooks of :mod:`lunar_core.hookspecs` with any subset of their arguments;
    hyperparameters are fields, as in every component. A hook that is not implemented costs nothing::

        class WeightNoise(Callback):
            std: float = field(default=0.01, validator=non_negative)

            def lunar_after_step(self, step, ctx):
                for p in ctx.model.parameters():
                    p.data += self.std * ctx.rng("weight_noise").standard_normal(p.shape, p.dtype)

    The class attributes hold for all its hooks; ``@hookimpl(...)`` on a method says otherwise for one.
    """

    kind: ClassVar[str] = "callback"

    #: Where it runs among the others: control, editor, reader, logger or checkpoint. Readers and loggers only look.
    band: ClassVar[str] = "editor"

    #: Names of plugins of the same band to run before.
    before: ClassVar[tuple[str, ...]] = ()

    #: Names of plugins of the same band to run after.
    after: ClassVar[tuple[str, ...]] = ()

    #: Whether a reader may draw random numbers, so that the random state is put back after it (about 0.1 ms a call).
    draws: ClassVar[bool] = True
