"""Deep supervision: heads in the middle of a network with a loss of their own."""

from __future__ import annotations

from typing import Any

from lunar_core.component import field, non_negative
from lunar_core.contracts.layer import Layer
from lunar_core.contracts.loss import Loss
from lunar_core.errors import StateError
from lunar_layers.branches import is_module
from lunar_layers.building import run_once


def _as_loss(value: Any) -> Any:
    if isinstance(value, str):
        from lunar_core.plugins import registry

        return registry.create("loss", value)
    return value


class AuxiliaryHead(Layer):
    """Passes its input on; in training it also computes ``head(x)``, whose loss joins that of the model.

    It may stand anywhere in a model, in a Sequential too::

        Sequential(stage1, AuxiliaryHead(Sequential(GlobalAveragePool(), Dense(10))), stage2, Flatten(), Dense(10))

    The Trainer adds ``weight * loss(head(x), target)`` of every auxiliary head to the objective of each step, by itself
    and exactly, micro-batches and sample weights included; the figure "loss" stays that of the model's own outputs, and
    what each head adds is the figure "loss.auxiliary.path.of.the.head". In
    a loop of your own: ``objective = loss(outputs, target) + auxiliary_loss(model, loss, target)``.

    ``loss`` is the head's own, or the registry name of one; ``None`` is the model's. In evaluation the head is not
    computed. ``weight`` 0.3 is GoogLeNet's; it is an attribute, so a schedule may let it fade out.

    Source: C.-Y. Lee et al., Deeply-Supervised Nets, arXiv:1409.5185; C. Szegedy et al., Going Deeper with Convolutions,
    arXiv:1409.4842, section 5.

    Raises:
        StateError: the loss is asked for and no training pass has gone through the head.
    """

    head: Any = field(validator=is_module, repr=False, doc="what makes the auxiliary outputs of the input")
    weight: float = field(default=0.3, validator=non_negative, doc="the share of its loss in the objective")
    loss: Loss | None = field(
        default=None, converter=_as_loss, kw_only=True, doc="its own loss, or a name; None is the model's"
    )

    def __attrs_post_init__(self) -> None:
        self._held = _Held()
        super().__attrs_post_init__()

    def build(self, x: Any) -> None:
        run_once([self.head], self.head, x)

    def forward(self, x: Any) -> Any:
        if self.training:
            self._held.output = self.head(x)
        return x

    @property
    def waiting(self) -> bool:
        """Whether a training pass has gone through the head whose loss was not asked for yet."""
        return self._held.output is not None

    @property
    def output(self) -> Any:
        """What the head gave in the last training pass; StateError if that was used up, or there was none."""
        if not self.waiting:
            raise StateError(
                "AuxiliaryHead has no output", hint="it has one after a forward pass in training mode, until its loss"
            )
        return self._held.output

    def auxiliary_terms(self, loss: Any, target: Any, weight: Any = None) -> tuple[Any, float]:
        """(``weight`` times the sum of the losses, total weight) of the last training pass.

        ``loss`` is the model's, used where the head has none of its own; ``weight`` gives each sample's. The output is
        forgotten afterwards, so that nothing keeps its graph.
        """
        output, self._held.output = self.output, None
        total, size = (self.loss or loss).terms(output, target, weight)
        return total * self.weight, size


class _Held:
    """Keeps an output out of the module's parts; a copy of the module starts without one."""

    __slots__ = ("output",)

    def __init__(self) -> None:
        self.output: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held:
        return _Held()


def auxiliary_heads(model: Any) -> list[AuxiliaryHead]:
    """The auxiliary heads of ``model``, each once."""
    return [module for module in model.modules() if isinstance(module, AuxiliaryHead)]


def auxiliary_loss(model: Any, loss: Any, target: Any, weight: Any = None) -> Any:
    """The sum of ``head.weight * mean loss`` over the auxiliary heads of ``model``, for the last training pass.

    ``loss`` is a Loss, used for heads that have none of their own. Heads that the pass did not reach have no part in
    it, nor have those whose loss was had already; 0.0 if that leaves none.
    """
    total: Any = 0.0
    for head in auxiliary_heads(model):
        if not head.waiting:
            continue
        part, size = head.auxiliary_terms(loss, target, weight)
        total = total + (part / size if size else part)
    return total
